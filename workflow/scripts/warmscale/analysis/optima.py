"""The metric along warmup, and where it is best: a row of the table for every mini-batch size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..study import Study
from ..study.metric import Metric
from .catalogue import exponents_of
from .inference.cell import Cell, pooled_sd
from .inference.optimum import Optimum, optimum
from .observations import Observations
from .observed_cells import CannotTestError, NotThereError

WARMUP, SIZE = "warmup_epochs", "mini_batch_size"
FEWEST_LEVELS = 3
"""Fewer have no optimum between them."""

OPTIMUM_COLUMNS = (
    "experiment", "factor", "of", "size", "cell", "metric", "scaling", "levels", "n",
    "optimum", "ci_low", "ci_high", "bracketed", "best_level", "plausible_levels", "levels_to_add", "reason",
    "optimum_steps", "steps_low", "steps_high", "increment_per_step", "increment_low", "increment_high",
)  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """The metric along a factor, everything else held."""

    experiment: str
    size: float
    """Value of what the optimum may be a power of; NaN where rows do not have it."""
    label: str
    """What else tells it from other curves of the experiment."""
    scaling: str
    """Rule of the learning rate; empty where rows do not say."""
    levels: tuple[float, ...]
    cells: tuple[Cell, ...]
    rows: pd.DataFrame


def curves(observations: Observations, metric: Metric, experiment: str, factor: str, of: str) -> list[Curve]:
    """The curves of an experiment along a factor, one for each combination of all else; raises NotThereError."""
    groups = observations.levels_of(experiment, factor, metric)
    numbers = [_number(group.level) for group in groups]
    if any(number is None for number in numbers):
        raise CannotTestError(f"{factor} has levels in {experiment} that are no numbers")
    labels = dict.fromkeys(key for group in groups for key in group.keys)
    found = []
    for label in labels:
        pairs = [
            (number, cell)
            for number, group in zip(numbers, groups, strict=True)
            for key, cell in zip(group.keys, group.cells, strict=True)
            if key == label
        ]
        rows = pd.concat([group.rows[group.rows["key"] == label] for group in groups])
        sizes = rows[of].dropna().unique() if of in rows else []
        size = _number(sizes[0]) if len(sizes) == 1 else None
        levels, cells = zip(*pairs, strict=True)
        found.append(Curve(experiment, math.nan if size is None else size, label, _scaling(rows), levels, cells, rows))
    return sorted(found, key=lambda curve: (math.inf if math.isnan(curve.size) else curve.size, curve.label))


def optimum_rows(study: Study, observations: Observations) -> list[dict[str, Any]]:
    """A row for every curve along warmup, or along what an exponent is claimed of, with three levels or more."""
    axes = dict.fromkeys([(WARMUP, SIZE), *((wanted.factor, wanted.of) for wanted in exponents_of(study))])
    rows = []
    for factor, of in axes:
        for experiment, factors in observations.factors.items():
            if factor not in factors:
                continue
            try:
                found = curves(observations, study.config.metric, experiment, factor, of)
            except (NotThereError, CannotTestError):
                continue  # claims about it say why
            around = pooled_sd([cell for curve in found for cell in curve.cells])
            rows += [
                _optimum_row(study, curve, factor, of, around) for curve in found if len(curve.levels) >= FEWEST_LEVELS
            ]
    return rows


def _optimum_row(study: Study, curve: Curve, factor: str, of: str, spread: float) -> dict[str, Any]:
    metric = study.config.metric
    alpha, longest = 1 - study.config.confidence, longest_warmup(curve) if factor == WARMUP else math.inf
    found = optimum(curve.levels, curve.cells, sign=metric.sign, alpha=alpha, spread=spread, longest=longest)
    row = {
        "experiment": curve.experiment,
        "factor": factor,
        "of": of,
        "size": curve.size,
        "cell": curve.label,
        "metric": metric.name,
        "scaling": curve.scaling,
        "levels": ";".join(f"{level:g}" for level in curve.levels),
        "n": min(cell.runs for cell in curve.cells),
        "optimum": found.value,
        "ci_low": found.low,
        "ci_high": found.high,
        "bracketed": "yes" if found.bracketed else "no",
        "best_level": found.best,
        "plausible_levels": ";".join(f"{level:g}" for level in found.plausible),
        "levels_to_add": ";".join(f"{level:g}" for level in found.levels_to_add),
        "reason": found.reason,
    }
    return row | (_in_steps(study, curve, found) if factor == WARMUP else {})


def longest_warmup(curve: Curve) -> float:
    """No warmup is longer than training, as far as that is known."""
    epochs = curve.rows["epochs"].dropna() if "epochs" in curve.rows else []
    return float(min(epochs)) if len(epochs) else math.inf


def _in_steps(study: Study, curve: Curve, found: Optimum) -> dict[str, float]:
    """An optimum in steps, and the rate that is added at each of them; empty where rows do not tell.

    A ramp from the start rate to the peak rate over so many steps adds (peak - start) / steps at each.
    """
    a_epoch = _steps_an_epoch(study, curve)
    if a_epoch is None:
        return {}
    ends = {"optimum_steps": found.value, "steps_low": found.low, "steps_high": found.high}
    row = {name: epochs * a_epoch for name, epochs in ends.items()}
    rise = _rise(curve.rows)
    if rise is None:
        return row
    per_step = [rise / steps if steps > 0 else math.inf for steps in row.values()]
    return row | dict(zip(("increment_per_step", "increment_high", "increment_low"), per_step, strict=True))


def _steps_an_epoch(study: Study, curve: Curve) -> float | None:
    rows = curve.rows
    if {"total_steps", "total_epochs"} <= set(rows) and rows["total_steps"].notna().any():
        return float((rows["total_steps"] / rows["total_epochs"]).dropna().median())
    images = study.config.replay.num_train_images if study.is_replayed else None
    return images / curve.size if images and curve.size > 0 else None


def _rise(rows: pd.DataFrame) -> float | None:
    """How far warmup raises the rate: from its start to the peak."""
    if "peak_lr" not in rows or rows["peak_lr"].isna().all():
        return None
    peak = float(rows["peak_lr"].dropna().iloc[0])
    start = (
        rows["warmup_start"].dropna().iloc[0]
        if "warmup_start" in rows and rows["warmup_start"].notna().any()
        else "zero"
    )
    if start == "base_lr":
        return peak - float(rows["base_lr"].iloc[0])
    return peak if start == "zero" else peak * (1 - float(start))


def _scaling(rows: pd.DataFrame) -> str:
    """The rule of the learning rate, as rows have it: its name, with the exponent of a power."""
    named = ["lr_scaling.rule", *(str(name) for name in rows if "scaling" in str(name)), "lr_rule"]
    column = next((name for name in named if name in rows), None)
    rules = rows[column].dropna().unique() if column else []
    if len(rules) != 1:
        return "; ".join(map(str, rules))
    if rules[0] == "power" and "lr_scaling.exponent" in rows:
        return f"power {rows['lr_scaling.exponent'].iloc[0]:g}"
    return str(rules[0])


def _number(level: Any) -> float | None:
    try:
        return None if isinstance(level, bool) else float(level)
    except (TypeError, ValueError):
        return None
