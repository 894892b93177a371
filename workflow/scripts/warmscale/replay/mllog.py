"""Runs from logs of MLPerf training, a run a file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import at
from .mllog_lines import Log, as_number, read_lines, read_log
from .names import is_accuracy
from .paths import Found
from .records import Gathered, RawRun, name_of, state_of

COLUMNS = {
    "global_batch_size": "mini_batch_size",
    "opt_name": "optimizer.name",
    "submission_org": "org",
    "submission_platform": "device_name",
    "submission_benchmark": "benchmark",
    "model_bn_span": "batchnorm_batch_size",
    "label_smoothing": "label_smoothing",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
}
OF_OPTIMIZER = {
    "learning_rate_warmup_epochs": "warmup_epochs",
    "learning_rate_warmup_steps": "warmup_steps",
    "base_learning_rate": "peak_lr",  # MLPerf's base rate is the one that warmup leads to
    "end_learning_rate": "end_lr",
    "weight_decay": "optimizer.weight_decay",
    "momentum": "optimizer.momentum",
    "learning_rate_decay_poly_power": "decay.power",
    "learning_rate_decay_steps": "decay_steps",
    "learning_rate_decay_boundary_epochs": "decay.epochs",
}
"""Ends of keys that begin with the optimizer, `lars_opt_`, with `opt_`, or with neither."""
OF_RUN = ("device_name", "org", "status")
NOT_TOP1 = re.compile("top[-_]?5|train", re.IGNORECASE)


def read_mllogs(files: Sequence[Found], gathered: Gathered) -> None:
    """Add the runs of these logs, or what is wrong with them.

    Accuracies are top-1, in fractions, and become percent. time_min is from run_start to run_stop; an aborted run has
    its accuracies and no time; a log without run_stop is a failed run.
    """
    seen: dict[tuple[str, ...], str] = {}
    aborted = 0
    for file in files:
        lines = read_lines(file, gathered)
        if not lines:
            continue
        name = name_of(file.path)
        if (first := seen.setdefault(tuple(text for _, text in lines), name)) != name:
            gathered.problems.append(f"{at(name)}: is the same log as {first}: take one of them out")
            continue
        problems: list[str] = []
        log = read_log(name, lines, problems)
        gathered.problems += problems
        gathered.runs += [] if problems else [_run(file, log, gathered)]
        aborted += log.status == "aborted"
    if aborted:
        gathered.notes.append(f"mllog: {aborted} aborted {'run has' if aborted == 1 else 'runs have'} no time_min")


def _run(file: Found, log: Log, gathered: Gathered) -> RawRun:
    metrics = gathered.wanted.metrics
    names = [name for name in metrics if is_accuracy(name) and not NOT_TOP1.search(name)] or ["top1"]
    curve = [
        {"epoch": int(epoch) if epoch == int(epoch) else epoch}
        | {name: 100 * (1 - fraction if "err" in name.lower() else fraction) for name in names}
        for epoch, fraction in sorted(log.accuracies.items())
    ]
    minutes = (log.stop_ms - log.start_ms) / 60_000
    columns = _columns(log.values)
    seed = as_number(log.values.get("seed"))
    return RawRun(
        source=name_of(file.path),
        settings=file.levels | {name: value for name, value in columns.items() if name not in OF_RUN},
        state=_state(log, curve, names[0]),
        metrics={"time_min": minutes if log.status == "success" and minutes > 0 else math.nan},
        epochs=curve,
        seed=int(seed) if seed is not None and seed >= 0 and seed == int(seed) else None,
        extra={name: columns[name] for name in OF_RUN if name in columns}
        | ({"status": log.status} if log.status else {}),
        where=at(name_of(file.path)),
        kind="mllog",
    )


def _state(log: Log, curve: Sequence[Mapping], metric: str) -> str:
    if log.status is None or not curve:
        return "failed"
    return state_of(curve[-1][metric])


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a run from the keys of its log."""
    found = {column: values[key] for key, column in COLUMNS.items() if key in values}
    optimizer = values.get("opt_name")
    for end, column in OF_OPTIMIZER.items():
        exact = [key for key in (f"{optimizer}_opt_{end}", f"opt_{end}", end) if key in values]
        others = [key for key in values if key.endswith(f"opt_{end}") and not key.startswith("duplicate_")]
        if exact or others:
            found[column] = values[exact[0] if exact else others[-1]]
    return {column: _level(value) for column, value in found.items() if value is not None}


def _level(value: Any) -> Any:
    """A value as a level: text, number or truth value; lists as text."""
    if isinstance(value, str):
        return value.strip() or None
    return value if isinstance(value, bool | int | float) else json.dumps(value)
