"""From the private state of a run to its published files, each by an atomic rename. Standard library only."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..records import (
    EPOCH_COLUMNS,
    STEP_COLUMNS,
    StateFolder,
    read_json,
    read_lines,
    read_rows,
    rows_to_csv,
    write_atomic,
    write_json,
)


def publish(run_id: str, content: Mapping[str, Any], state: StateFolder, published: Path) -> None:
    """Write run.json, epochs.csv and steps.csv of a run that has an outcome or has failed."""
    write_atomic(published / "epochs.csv", _whole_rows(state.epochs, EPOCH_COLUMNS))
    write_atomic(published / "steps.csv", _whole_rows(state.steps, STEP_COLUMNS))
    write_json(published / "run.json", run_record(run_id, content, state))
    outcome = read_json(state.outcome)
    if outcome and not outcome.get("weights_kept"):
        shutil.rmtree(state.checkpoints, ignore_errors=True)


def run_record(run_id: str, content: Mapping[str, Any], state: StateFolder) -> dict[str, Any]:
    """What is known of a run: content, outcome, where and with what it was trained."""
    attempts = read_lines(state.attempts)
    last = attempts[-1] if attempts else {"state": "pending", "failure_class": None, "failure": None}
    outcome = read_json(state.outcome) or {
        "state": last["state"],
        "diverged_step": None,
        "epochs_done": len(read_rows(state.epochs)),
        "steps_done": last.get("steps_done", 0),
        "images_seen": max((int(row["images_seen"]) for row in read_rows(state.epochs)), default=0),
    }
    failed = outcome["state"] == "failed"
    return {
        "run_id": run_id,
        "content": content,
        **outcome,
        "failure_class": last["failure_class"] if failed else None,
        "failure": last["failure"] if failed else None,
        "advice": last.get("advice") if failed else None,
        "attempts": attempts,
        # wall-clock time of its nodes, whatever else ran beside it
        "node_hours": sum(map(_node_seconds, attempts)) / 3600,
        **(read_json(state.environment) or {}),
    }


def _node_seconds(attempt: Mapping[str, Any]) -> float:
    return attempt.get("nodes", 1) * (attempt["ended"] - attempt["started"])


def _node_seconds(attempt: Mapping[str, Any]) -> float:
    return attempt.get("nodes", 1) * (attempt["ended"] - attempt["started"])


def _whole_rows(path: Path, columns: tuple[str, ...]) -> str:
    """The rows of a file, without a last one that a crash cut off; a header alone where there are none."""
    return rows_to_csv(read_rows(path), columns)
