"""The record of each attempt at a run: how it began, how it ended, of what class that was. Standard library only."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cluster.hosts import host_at_fault, named
from ..cluster.lsf import hosts_of_job
from ..cluster.walltime import job_id, node_name
from ..records import StateFolder, append_line, read_json, read_lines, write_json
from .endings import LATE_SEC, Exit, ending_of
from .policy import why_given_up

ENDED_BY = {
    "TERM_RUNLIMIT": "walltime",
    "TIMEOUT": "walltime",
    "DEADLINE": "walltime",
    "TERM_MEMLIMIT": "out_of_memory",
    "TERM_SWAP": "out_of_memory",
    "OUT_OF_MEMORY": "out_of_memory",
}
"""Failure class of a job that its scheduler ended with these words."""
BY_ITS_HOST = (
    None,  # killed from outside, and the scheduler does not say that it was its doing
    "TERM_ZOMBIE",
    "TERM_UNKNOWN",
    "TERM_EXTERNAL_SIGNAL",
    "TERM_REMOVE_HUNG_JOB",
    "TERM_PRE_EXEC_FAIL",
    "TERM_CWD_NOTEXIST",
    "NODE_FAIL",
    "BOOT_FAIL",
    "LAUNCH_FAILED",
)
"""Words for ends by which another host may do better."""


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
    ending = ending_of(state, attempt, exited, settings)
    lost_host = host_at_fault(ending, attempt, os.environ)
    host, _ = ending.pop("host", None), ending.pop("peers", None)
    hosts = {"rank_host": host and named(host, hosts_of_job(os.environ)), "lost_host": lost_host}
    record = {**attempt, "ended": time.time(), "steps_done": steps_done(state), **ending, **hosts}
    record = _append(state, record)
    for left_over in (state.attempt, state.stop, state.meeting(attempt["number"])):
        left_over.unlink(missing_ok=True)
    return record


def record_lost(state: StateFolder) -> dict[str, Any] | None:
    """Give an attempt whose parent was killed its line: it ended when it was last heard of."""
    if not state.attempt.exists():
        return None
    lost = unrecorded(state)
    record = _append(state, lost) if lost else None
    for left_over in (state.attempt, state.stop):
        left_over.unlink(missing_ok=True)
    return record


def unrecorded(state: StateFolder) -> dict[str, Any] | None:
    """What is known of an attempt whose parent was killed, or goes on, and that has no line yet."""
    lost = read_json(state.attempt)
    if lost is None or lost["number"] <= len(read_lines(state.attempts)):
        return None
    heard = max((read_json(state.progress) or {}).get("time", 0.0), lost["started"])
    told = _told_by_scheduler(state, lost, "ended_by")
    late = lost.get("deadline") and heard > lost["deadline"] - LATE_SEC
    record = {
        **lost,
        "ended": heard,
        "steps_done": steps_done(state),
        "state": "killed",
        "failure_class": ENDED_BY.get(told, "walltime" if late else "node"),
        "failure": f"killed with its parent on {lost['host']}{f' ({told})' if told else ''}",
        "rank": None,
    }
    only = lost.get("node") if lost["nodes"] == 1 else _told_by_scheduler(state, lost, "lost_hosts")
    return record | {"lost_host": only if told in BY_ITS_HOST and is_of_a_host(record) else None}


def record_unstarted(
    state: StateFolder, *, job: str | None, node: str | None, nodes: int, failure_class: str, failure: str
) -> dict[str, Any]:
    """Record what only the master knows of a batch job: that nothing of ours began in it, or why it was ended."""
    now, done = time.time(), steps_done(state)
    told = _told_by_scheduler(state, {"job_id": job}, "ended_by")
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
            "lost_host": node if failure_class == "node" and told in BY_ITS_HOST else None,
        },
    )


def is_of_a_host(attempt: Mapping[str, Any]) -> bool:
    """Whether an attempt that failed may do better on other hosts."""
    return attempt.get("failure_class") in ("node", "communication")


def _told_by_scheduler(state: StateFolder, lost: Mapping[str, Any], what: str) -> str | None:
    """What the scheduler said of the end of an attempt's job, where the master heard of it."""
    return ((read_json(state.job) or {}).get(what) or {}).get(lost.get("job_id"))


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
