"""Which runs have published nothing, and what is known of them from their private state. Standard library only."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from ..lease import holder_of
from ..monitoring.runs import RunStatus, read_run
from ..records import StateFolder, read_json, read_lines, read_rows

STATE_IN_TABLES = {"lost?": "paused", "queued": "pending", "finished": "pending", "diverged": "pending"}
"""Where tables have another word: there a run with a result has published it."""


def is_published(folder: Path) -> bool:
    """Whether a run has published all its files: run.json comes last, but whoever deletes has an order of his own."""
    return all((folder / name).exists() for name in ("run.json", "epochs.csv", "steps.csv"))


def is_measured(folder: Path) -> bool:
    """The same of a measurement."""
    return all((folder / name).exists() for name in ("measurement.json", "steps.csv"))


def unpublished_run(results: Path, run_id: str, now: float) -> dict[str, Any]:
    """A record like run.json, as far as there is one; `failure` says in words how the run stands.

    `job` is the batch job that the run was last submitted as, or None.
    """
    state, status = StateFolder(results / "state" / run_id), read_run(str(results), run_id, {}, now)
    killed = status.state == "running" and _has_no_process(state)
    attempts, going_on = read_lines(state.attempts), read_json(state.attempt)
    table_state = "paused" if killed else STATE_IN_TABLES.get(status.state, status.state)
    if going_on:
        attempts.append({**going_on, "state": "killed" if killed else table_state, "rank": None})
    return {
        "run_id": run_id,
        "state": table_state,
        "failure_class": status.failure_class,
        "failure": f"was killed, {_place(status)}" if killed else _words(status),
        "epochs_done": len(read_rows(state.epochs)),
        "attempts": attempts,
        "job": read_json(state.job),
    }


def _words(status: RunStatus) -> str:
    """How a run without a published result stands."""
    return {
        "pending": "never started",
        "queued": f"submitted as job {status.job_id}, never started",
        "running": _place(status),
        "lost?": f"no sign of life for {status.silent_sec or 0:.0f} s, {_place(status)}",
        "paused": f"{status.failure or 'stopped'}, {_place(status)}",
        "failed": status.failure or "no message",
    }.get(status.state, f"{status.state}, not published yet")


def _place(status: RunStatus) -> str:
    total = f" of {status.total_steps:,}" if status.total_steps else ""
    return f"at step {status.steps_done:,}{total}"


def _has_no_process(state: StateFolder) -> bool:
    """Whether the process that carries a run out is gone, as far as this host can tell."""
    holder = holder_of(state.lease) or read_json(state.attempt) or {}
    is_here = holder.get("host") == socket.gethostname() and "pid" in holder
    return is_here and not Path(f"/proc/{holder['pid']}").exists()
