"""How an attempt ended, from how its processes did and what its ranks left. Standard library only."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..records import StateFolder, read_json
from .memory_advice import after_kill, situation_of
from .signals import STOP_SIGNALS

LATE_SEC = 60.0
"""A parent that was last heard of so shortly before its deadline, or after it, was killed at the walltime."""


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
    lost_host: str | None
    """Where the part of a launcher ended in failure before those of other hosts; None where that cannot be told."""
    last_words: str
    """The last line that a launcher printed, or a rank that did not come to its own log."""


def ending_of(
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
    elif reason["failure_class"] is None and exited.lost_host:
        why = f"what was started on {exited.lost_host} ended first: {exited.last_words}"
        reason = _because("node", why) | {"host": exited.lost_host}
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
