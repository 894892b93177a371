"""The table of throughput measurements: what a step takes, and how much of that is communication."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..records import read_rows
from ..study import Study
from ..study.recipe import arithmetic
from ..study.throughput import Measurement
from .published import write_described
from .unpublished import is_measured, unpublished_run

TEXT, WHOLE, NUMBER, YES_OR_NO = pa.string(), pa.int64(), pa.float64(), pa.bool_()
THROUGHPUT = pa.schema(
    [
        ("measurement_id", TEXT),
        ("experiments", TEXT),  # ;-joined
        ("model", TEXT),
        ("image_size", WHOLE),  # pixels a side
        ("precision", TEXT),
        ("device_name", TEXT),
        ("nodes", WHOLE),
        ("ranks_per_node", WHOLE),
        ("ranks", WHOLE),
        ("workers", WHOLE),
        ("worker_batch_size", WHOLE),
        ("batchnorm_batch_size", WHOLE),  # images that go through BatchNorm together
        ("mini_batch_size", WHOLE),
        ("workers_per_rank", WHOLE),
        ("data", TEXT),  # synthetic or dataset
        ("repeat", WHOLE),  # from 1
        ("engine", TEXT),
        ("zero_stage", WHOLE),
        ("workers_per_pass", WHOLE),
        ("channels_last", YES_OR_NO),
        ("compile", TEXT),
        ("cuda_graphs", YES_OR_NO),
        ("deterministic", YES_OR_NO),
        ("state", TEXT),
        ("failure_class", TEXT),
        ("steps", WHOLE),  # whole ones that were timed
        ("step_sec", NUMBER),  # median over steps, as all that follow
        ("step_sec_low", NUMBER),  # 10th percentile
        ("step_sec_high", NUMBER),  # 90th percentile
        ("images_per_sec", NUMBER),  # mini_batch_size / step_sec
        ("computation_sec", NUMBER),  # a step without averaging gradients; empty at ZeRO stage 1
        ("communication_sec", NUMBER),  # averaging alone; empty on one rank and at ZeRO stage 1
        ("exposed_sec", NUMBER),  # what averaging adds to a step: step_sec - computation_sec, below 0 too
        ("computation_to_communication", NUMBER),  # computation_sec / communication_sec
        ("overlap", NUMBER),  # 1 - exposed_sec / communication_sec, of noise also outside 0 to 1
        ("data_wait_sec", NUMBER),  # of a step, that the first rank waits for images
        ("parameters", WHOLE),
        ("gradient_bytes", WHOLE),  # of one rank
        ("all_reduces", WHOLE),  # of gradients, a step; empty at ZeRO stage 1
        ("node_hours", NUMBER),  # with all that is not timed
        ("attempts", WHOLE),
        ("mixed_devices", YES_OR_NO),  # an experiment of it was measured on devices of several names
    ]
)
CHOSEN_HERE = ("workers_per_pass", "channels_last", "compile", "cuda_graphs")
"""What the trainer made of `auto`; empty where it did not come so far."""
OF_RECORD = ("device_name", "state", "failure_class", "parameters", "gradient_bytes", "all_reduces", "node_hours")
LOW, HIGH = 10, 90
"""Percentiles."""


def no_measurements() -> pd.DataFrame:
    """The table of a study without any."""
    return THROUGHPUT.empty_table().to_pandas()


def make_throughput_table(study: Study, results: Path, folder: Path) -> None:
    """Write throughput.csv and .parquet: a row a measurement of the study, whatever became of it."""
    write_described(throughput_rows(study, results), THROUGHPUT, folder / "throughput")


def throughput_rows(study: Study, results: Path) -> list[dict[str, Any]]:
    """The rows of the table, of what is published under results/<study>; columns that nothing is known of may lack."""
    now = time.time()
    rows = [_row(each, study.config.dataset.image_size, results, now) for each in study.measurements.values()]
    mixed = _with_several_devices(rows)
    return [row | {"mixed_devices": not mixed.isdisjoint(row["experiments"].split(";"))} for row in rows]


def _with_several_devices(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Names of the experiments whose measurements are not of one device: device auto may find another one each time."""
    devices: dict[str, set[str]] = {}
    for row in rows:
        for name in row["experiments"].split(";") if row.get("device_name") else ():
            devices.setdefault(name, set()).add(row["device_name"])
    return {name for name, found in devices.items() if len(found) > 1}


def _row(measurement: Measurement, image_size: int, results: Path, now: float) -> dict[str, Any]:
    published = results / "throughput" / measurement.measurement_id
    if is_measured(published):
        record, steps = json.loads((published / "measurement.json").read_bytes()), read_rows(published / "steps.csv")
    else:
        record, steps = unpublished_run(results, measurement.measurement_id, now), []
    row = described(measurement, image_size) | {name: record.get(name) for name in OF_RECORD}
    row |= {name: value for name, value in (record.get("speed") or {}).items() if name in CHOSEN_HERE}
    row |= {"deterministic": record.get("deterministic", row["deterministic"]), "attempts": len(record["attempts"])}
    return row | timed(steps, ranks=row["ranks"], mini_batch_size=row["mini_batch_size"])


def described(measurement: Measurement, image_size: int) -> dict[str, Any]:
    """What is known of a measurement before it is made, as columns of the table."""
    asked, recipe, where = measurement.content["throughput"], measurement.recipe, measurement.where
    chosen = {name: None if asked[name] == "auto" else asked[name] for name in CHOSEN_HERE}
    return {
        "measurement_id": measurement.measurement_id,
        "experiments": ";".join(measurement.experiments),
        "model": recipe.model,
        "image_size": image_size,
        "precision": arithmetic(recipe.precision, recipe.tf32),
        "nodes": where.nodes,
        "ranks_per_node": where.ranks_per_node,
        "ranks": where.ranks,
        "workers": recipe.workers,
        "worker_batch_size": measurement.worker_batch_size,
        "batchnorm_batch_size": recipe.batchnorm_batch_size,
        "mini_batch_size": recipe.mini_batch_size,
        "workers_per_rank": recipe.workers // where.ranks,
        **{name: asked[name] for name in ("data", "repeat", "engine", "zero_stage", "deterministic")},
        **chosen,
    }


def timed(steps: Sequence[Mapping[str, str]], *, ranks: int, mini_batch_size: int) -> dict[str, Any]:
    """Columns of the table that follow from rows of steps.csv; none of what was not timed."""
    sec = {kind: _column(steps, kind, "sec") for kind in ("step", "computation", "communication")}
    if not len(sec["step"]):
        return {"steps": 0}
    step, computation, communication = (_median(values) for values in sec.values())
    waits = _column(steps, "step", "data_wait_sec")
    return {
        "steps": len(sec["step"]),
        "step_sec": step,
        "step_sec_low": float(np.percentile(sec["step"], LOW)),
        "step_sec_high": float(np.percentile(sec["step"], HIGH)),
        "images_per_sec": mini_batch_size / step,
        "computation_sec": computation,
        "communication_sec": communication,
        "data_wait_sec": _median(waits),
        **_shares(step, computation, communication, ranks),
    }


def _shares(step: float, computation: float | None, communication: float | None, ranks: int) -> dict[str, float]:
    """How averaging and the rest of a step lie beside and under each other."""
    if computation is None:
        return {}
    if ranks == 1 or not communication:
        return {"exposed_sec": 0.0}  # there is nothing to average: a difference of two medians is noise
    exposed = step - computation  # its sign is kept: a mean of what was cut off at 0 is too large
    return {
        "exposed_sec": exposed,
        "computation_to_communication": computation / communication,
        "overlap": 1 - exposed / communication,
    }


def _column(steps: Sequence[Mapping[str, str]], kind: str, name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in steps if row["kind"] == kind and row[name]])


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None
