"""From the private state of a run to its published files, each by an atomic rename. Standard library only."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..records import (
    EPOCH_COLUMNS,
    MEASURED_COLUMNS,
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
    """Write run.json, epochs.csv and steps.csv of a run that has an outcome or has failed.

    Of a measurement: measurement.json and steps.csv.
    """
    if "throughput" in content:
        write_atomic(published / "steps.csv", _whole_rows(state.steps, MEASURED_COLUMNS))
        write_json(published / "measurement.json", measurement_record(run_id, content, state))
        return
    write_atomic(published / "epochs.csv", _whole_rows(state.epochs, EPOCH_COLUMNS))
    write_atomic(published / "steps.csv", _whole_rows(state.steps, STEP_COLUMNS))
    write_json(published / "run.json", run_record(run_id, content, state))
    outcome = read_json(state.outcome)
    if outcome and not outcome.get("weights_kept"):
        shutil.rmtree(state.checkpoints, ignore_errors=True)


def run_record(run_id: str, content: Mapping[str, Any], state: StateFolder) -> dict[str, Any]:
    """What is known of a run: content, outcome, where and with what it was trained."""
    attempts = read_lines(state.attempts)
    unfinished = {
        "diverged_step": None,
        "epochs_done": len(read_rows(state.epochs)),
        "steps_done": attempts[-1].get("steps_done", 0) if attempts else 0,
        "images_seen": max((int(row["images_seen"]) for row in read_rows(state.epochs)), default=0),
    }
    return {"run_id": run_id, "content": content} | _ending(state, attempts, unfinished)


def measurement_record(measurement_id: str, content: Mapping[str, Any], state: StateFolder) -> dict[str, Any]:
    """What is known of a measurement but for its times: content, outcome, where and with what it was measured."""
    ending = _ending(state, read_lines(state.attempts), {"steps_done": 0})
    return {"measurement_id": measurement_id, "content": content} | ending


def _ending(state: StateFolder, attempts: Sequence[Mapping[str, Any]], unfinished: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome, or where there is none how the last attempt ended and what is `unfinished`, and what led there."""
    last = attempts[-1] if attempts else {"state": "pending", "failure_class": None, "failure": None}
    outcome = read_json(state.outcome) or {"state": last["state"], **unfinished}
    failed = outcome["state"] == "failed"
    return {
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


def _whole_rows(path: Path, columns: tuple[str, ...]) -> str:
    """The rows of a file, without a last one that a crash cut off; a header alone where there are none."""
    return rows_to_csv(read_rows(path), columns)
