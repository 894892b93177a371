"""Writes published measurements without timing a step, as the contract of the records has them."""

from __future__ import annotations

from pathlib import Path

from warmscale.records import MEASURED_COLUMNS, rows_to_csv, write_atomic, write_json
from warmscale.study.throughput import Measurement

STEPS = 4


def publish_measurement(
    results: Path,
    measurement: Measurement,
    state: str = "finished",
    *,
    computation_sec: float = 0.1,
    communication_sec: float = 0.05,
    **changed: object,
) -> None:
    """Publish a measurement in which every step takes equally long; `changed` are fields of measurement.json."""
    folder = results / "throughput" / measurement.measurement_id
    communication = communication_sec if measurement.where.ranks > 1 else 0.0
    sec = {"step": computation_sec + communication, "computation": computation_sec, "communication": communication}
    rows = [
        {"kind": kind, "number": number, "sec": value, "data_wait_sec": 0.0}
        for kind, value in sec.items()
        for number in range(1, STEPS + 1)
        if value
    ]
    write_atomic(folder / "steps.csv", rows_to_csv(rows if state == "finished" else [], MEASURED_COLUMNS))
    record = {
        "measurement_id": measurement.measurement_id,
        "content": dict(measurement.content),
        "state": state,
        "failure_class": "node" if state == "failed" else None,
        "failure": "the node went away" if state == "failed" else None,
        "device": "cpu",
        "device_name": "A processor, 2 cores",
        "deterministic": True,
        "parameters": 1000,
        "gradient_bytes": 4000,
        "all_reduces": 1,
        "node_hours": 0.01,
        "attempts": [{"number": 1, "started": 1767323045.5, "ended": 1767323081.5, "state": state, "steps_done": 10}],
        "speed": {"workers_per_pass": 1, "channels_last": False, "compile": "none", "cuda_graphs": False},
    }
    write_json(folder / "measurement.json", record | changed)
