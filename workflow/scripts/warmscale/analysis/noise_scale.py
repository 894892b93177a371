"""The gradient noise scale of every cell, and the steps that it took to the target: frames -> rows.

The noise scale tr(Sigma) / |G|^2 predicts the critical mini-batch size: far below it, twice the mini-batch takes half
the steps; far above it, larger ones save none (McCandlish et al. 2018).
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ..study import Study
from ..study.metric import Metric
from .gradient_frames import run_cells
from .inference.ratio import mean_ratio, ratio_interval
from .optima import SIZE
from .tables import Tables

NOISE_COLUMNS = (
    "experiments", SIZE, "batchnorm_batch_size", "worker_batch_size", "level", "runs", "n", "noise_scale", "ci_low",
    "ci_high", "confidence", "first_epoch", "last_epoch", "gradient_sq", "gradient_noise", "metric", "target",
    "reached", "steps_to_target", "steps_low", "steps_high", "reason",
)  # fmt: skip
ESTIMATES = ("gradient_noise", "gradient_sq")
"""Columns of epochs: what is divided, and what it is divided by."""
ONE_PASS = "the mini-batch goes through the model in one pass: there is nothing to compare it with"
NOT_MEASURED = "not measured"
NOISE_BELOW_ZERO = "the estimated noise of the gradient is below 0"
NOTHING_ABOVE_ZERO = "the estimated squared length of the expected gradient is not above 0"


def noise_rows(study: Study, tables: Tables) -> list[dict[str, Any]]:
    """A row a cell, NOISE_COLUMNS; none of replayed results.

    Both estimates are averaged over the epochs up to that in which a run reaches the target, all if it does not, and
    over seeds; then divided. n: runs that have both. steps_to_target: the median over runs, infinite where that run
    did not reach it, with the fewest and the most.
    """
    if study.is_replayed:
        return []
    cells, _ = run_cells(tables.runs)
    if cells.empty:
        return []
    config = study.config
    cells = cells.join(per_run(tables.epochs, config.metric, config.target), on="run_id")
    rows = []
    for _, own in cells.groupby([SIZE, "level"], sort=False):
        columns = [SIZE, "batchnorm_batch_size", "worker_batch_size", "level"]
        row = own.iloc[0][columns].to_dict() | {"runs": len(own), "confidence": config.confidence}
        row["experiments"] = ";".join(dict.fromkeys(";".join(own["experiments"]).split(";")))
        row |= {"metric": config.metric.name, "target": config.target}
        rows.append(row | _noise(own, config.confidence) | ({} if config.target is None else _steps(own)))
    return rows


def per_run(epochs: pd.DataFrame, metric: Metric, target: float | None) -> pd.DataFrame:
    """What the epochs of each run up to the target come to, all of them where there is none or it is not reached.

    epochs (rows: run, epoch) -> (index: run_id): norm (empty where nothing was measured), steps (updates until the end
    of the first epoch at the target; empty where it is not reached), and of both estimates <estimate>_mean, _first and
    _last, over the measured epochs.
    """
    epochs = epochs.sort_values("epoch", kind="stable")
    is_reached = metric.sign * epochs[metric.name] >= metric.sign * (math.inf if target is None else target)
    ends = epochs[is_reached & (target is not None)].groupby("run_id")[["epoch", "step"]].first()
    until = epochs[epochs["epoch"] <= epochs["run_id"].map(ends["epoch"]).astype(float).fillna(math.inf)]
    measured = until.dropna(subset=[*ESTIMATES]).groupby("run_id")[[*ESTIMATES]].agg(["mean", "first", "last"])
    measured.columns = [f"{name}_{what}" for name, what in measured.columns]
    norm = epochs.groupby("run_id")["gradient_norm"].first().rename("norm")
    return norm.to_frame().join([measured, ends["step"].rename("steps").astype(float)])


def _noise(own: pd.DataFrame, confidence: float) -> dict[str, Any]:
    """The noise scale of a cell: up to the target, in the first measured epoch, and in the last one."""
    measured = own.dropna(subset=[f"{name}_mean" for name in ESTIMATES])
    if measured.empty:
        return {"n": 0, "reason": ONE_PASS if own["norm"].notna().any() else NOT_MEASURED}
    both = {what: [measured[f"{name}_{what}"] for name in ESTIMATES] for what in ("mean", "first", "last")}
    noise, sq = both["mean"]
    low, high = ratio_interval(noise, sq, confidence)
    found = {
        "n": len(measured),
        "gradient_sq": sq.mean(),
        "gradient_noise": noise.mean(),
        "noise_scale": mean_ratio(noise, sq),
        "ci_low": low,
        "ci_high": high,
        "first_epoch": mean_ratio(*both["first"]),
        "last_epoch": mean_ratio(*both["last"]),
    }
    if math.isnan(found["noise_scale"]):
        return found | {"reason": NOTHING_ABOVE_ZERO}
    return found | ({"reason": NOISE_BELOW_ZERO} if found["n"] > 1 and math.isnan(high) else {})


def _steps(own: pd.DataFrame) -> dict[str, Any]:
    """Updates that the runs of a cell took to the target."""
    steps = sorted(own["steps"].fillna(math.inf))
    low, high = steps[(len(steps) - 1) // 2], steps[len(steps) // 2]
    return {
        "reached": int(own["steps"].notna().sum()),
        "steps_to_target": high if math.isinf(high) else (low + high) / 2,  # no mean of one is infinite
        "steps_low": steps[0],
        "steps_high": steps[-1],
    }
