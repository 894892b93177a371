"""The record of each attempt at a run: how it began, how it ended, of what class that was. Standard library only."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cluster.walltime import job_id, node_name
from ..records import StateFolder, append_line, read_json, read_lines, write_json
from .memory_advice import after_kill, situation_of
from .policy import why_given_up
from .signals import STOP_SIGNALS

LATE_SEC = 60.0
"""A parent that was last heard of so shortly before its deadline, or after it, was killed at the walltime."""

ENDED_BY = {
    "TERM_RUNLIMIT": "walltime",
    "TIMEOUT": "walltime",
    "DEADLINE": "walltime",
    "TERM_MEMLIMIT": "out_of_memory",
    "TERM_SWAP": "out_of_memory",
    "OUT_OF_MEMORY": "out_of_memory",
}
"""Failure class of a job that its scheduler ended with these words."""


@dataclass(frozen=True)
class Exit:
    """How the processes of an attempt ended."""

    codes: Sequence[int]
    died: Mapping[int, int]
    """{rank: signal} of ranks that were killed, and not from here; empty where a launcher stands in between."""
    stop_requested: bool
    timed_out: bool
    """They did not pause in time, and were killed from here."""
    lacked_memory: bool
    """The kernel killed processes for want of memory meanwhile, or the launcher's last words are of that."""
    last_words: str
    """The last line that a launcher printed, or a rank that did not come to its own log."""


def begin(
    state: StateFolder, *, nodes: int, ranks: int, deadline: float | None, lease: Path, **facts: Any
) -> dict[str, Any]:
    """Record that an attempt goes on, for the ranks and for other readers, and return it; `facts` are added."""
    state.failure.unlink(missing_ok=True)  # not `stop`: this attempt may have been asked already
    if progress := read_json(state.progress):  # its state is the last attempt's
        write_json(state.progress, {**progress, "state": "running"})
    attempt = {
        "number": len(read_lines(state.attempts)) + 1,
        "started": time.time(),
        "host": socket.gethostname(),
        "node": node_name(os.environ),
        "pid": os.getpid(),
        "job_id": job_id(os.environ),
        "nodes": nodes,
        "world_size": ranks,
        "steps_before": steps_done(state),
        "deadline": deadline,
        "lease": str(lease.resolve()),
        **facts,
    }
    write_json(state.attempt, attempt)
    return attempt


def end(state: StateFolder, attempt: Mapping[str, Any], exited: Exit, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Record how an attempt with these settings of the trainer ended, and return the record."""
    ending = _ending(state, attempt, exited, settings)
    record = {**attempt, "ended": time.time(), "steps_done": steps_done(state), **ending}
    record = _append(state, record)
    for left_over in (state.attempt, state.stop, state.meeting(attempt["number"])):
        left_over.unlink(missing_ok=True)
    return record


def record_lost(state: StateFolder) -> dict[str, Any] | None:
    """Give an attempt whose parent was killed its line: it ended when it was last heard of."""
    lost = read_json(state.attempt)
    if lost is None:
        return None
    record = None
    if lost["number"] > len(read_lines(state.attempts)):
        heard = max((read_json(state.progress) or {}).get("time", 0.0), lost["started"])
        told = _told_by_scheduler(state, lost)
        late = lost.get("deadline") and heard > lost["deadline"] - LATE_SEC
        ending = {
            "state": "killed",
            "failure_class": ENDED_BY.get(told, "walltime" if late else "node"),
            "failure": f"killed with its parent on {lost['host']}{f' ({told})' if told else ''}",
            "rank": None,
        }
        record = _append(state, {**lost, "ended": heard, "steps_done": steps_done(state), **ending})
    for left_over in (state.attempt, state.stop):
        left_over.unlink(missing_ok=True)
    return record


def record_unstarted(
    state: StateFolder, *, job: str | None, node: str | None, nodes: int, failure_class: str, failure: str
) -> dict[str, Any]:
    """Record what only the master knows of a batch job: that nothing of ours began in it, or why it was ended."""
    now, done = time.time(), steps_done(state)
    return _append(
        state,
        {
            "number": len(read_lines(state.attempts)) + 1,
            "started": now,
            "ended": now,
            "host": socket.gethostname(),
            "node": node,
            "job_id": job,
            "nodes": nodes,
            "world_size": 0,
            "steps_before": done,
            "steps_done": done,
            "state": "killed",
            "failure_class": failure_class,
            "failure": failure,
            "rank": None,
        },
    )


def _told_by_scheduler(state: StateFolder, lost: Mapping[str, Any]) -> str | None:
    """Why the scheduler ended the job of an attempt, where the master heard of it."""
    return (read_json(state.job) or {}).get("ended_by", {}).get(lost.get("job_id"))


def lost_to_walltime(attempt: Mapping[str, Any]) -> bool:
    """Whether an attempt was ended by the walltime before it had saved anything."""
    return attempt.get("failure_class") == "walltime" and attempt["steps_done"] <= attempt["steps_before"]


def steps_done(state: StateFolder) -> int:
    """Updates in the newest checkpoint or in the outcome."""
    latest = read_json(state.outcome) or read_json(state.checkpoints / "latest.json") or {}
    return latest.get("steps_done", latest.get("step", 0))


def _append(state: StateFolder, record: dict[str, Any]) -> dict[str, Any]:
    """Add the line of an attempt; one that is the last of its run is a failure."""
    if record["state"] not in ("finished", "diverged") and (
        reason := why_given_up([*read_lines(state.attempts), record])
    ):
        record = {**record, "state": "failed", "failure_class": record["failure_class"] or "unknown", "failure": reason}
    append_line(state.attempts, record)
    return record


def _ending(
    state: StateFolder, attempt: Mapping[str, Any], exited: Exit, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """State of the run after an attempt, with class, reason and rank of what went wrong, and what is known of it."""
    nothing = {"failure_class": None, "failure": None, "rank": None}
    if outcome := read_json(state.outcome):
        return {"state": outcome["state"], **nothing}
    reason = {name: value for name, value in (read_json(state.failure) or nothing).items() if name != "trying"}
    if (read_json(state.progress) or {}).get("state") == "paused":
        reason = {**nothing, "failure_class": _pause(attempt, exited)}
    elif reason["failure_class"] == "out_of_memory":
        pass
    elif exited.lacked_memory and reason["failure_class"] in (None, "communication"):
        speed = (read_json(state.environment) or {}).get("speed", {})
        known = {"workers_per_pass": speed.get("workers_per_pass", 1)}
        situation = situation_of(read_json(state.content), settings, attempt["world_size"], **known)
        reason = after_kill([*exited.died], situation)
    elif exited.timed_out:
        reason = _because("walltime", "the ranks did not pause in time, and were killed")
    elif killed := _killed(exited):  # what the other ranks say then, follows from it
        names = ", ".join(f"rank {rank} by {signal.Signals(number).name}" for rank, number in killed.items())
        reason = _because("node", f"killed: {names}", min(killed))
    elif exited.stop_requested and reason["failure_class"] in (None, "communication"):  # before they heard of it
        reason = {**nothing, "failure_class": _pause(attempt, exited)}
    elif reason["failure_class"] is None:
        reason = _because("unknown", f"ended with exit codes {list(exited.codes)}: {exited.last_words}")
    return {"state": "paused", **reason}


def _killed(exited: Exit) -> dict[int, int]:
    """Ranks that were killed, but for those that a request to stop met before they could hear it."""
    return {
        rank: number for rank, number in exited.died.items() if not (exited.stop_requested and number in STOP_SIGNALS)
    }


def _because(failure_class: str, failure: str, rank: int | None = None) -> dict[str, Any]:
    return {"failure_class": failure_class, "failure": failure, "rank": rank}


def _pause(attempt: Mapping[str, Any], exited: Exit) -> str | None:
    """Class of a pause: the walltime where no one asked for it, or shortly before it."""
    deadline = attempt["deadline"]
    return "walltime" if deadline and (not exited.stop_requested or time.time() > deadline - LATE_SEC) else None
