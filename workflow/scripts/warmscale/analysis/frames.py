"""The tables that figures of accuracy are drawn from: frames -> frame."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from .statistics import summary
from .tables import Tables


def final_frame(points: pd.DataFrame, runs: pd.DataFrame, names: Sequence[str], metric: str) -> pd.DataFrame:
    """Metric of every point of an experiment, with the summary of its cell.

    points (rows: points of the experiment), runs (rows: runs)
    -> (rows: points): level, factors, seed, run_id, state, metric_rule, metric, n, mean, sd, ci_low, ci_high, and KNOWN
    if one of them is known as a summary only.
    """
    if "known_metric" in points:
        points = points[points["known_metric"].isna() | (points["known_metric"] == metric)].drop(columns="known_metric")
    frame = points.merge(runs[["run_id", "state", "metric_rule", metric]], on="run_id", how="left", sort=False)
    keys = ["level", *names]
    return frame.merge(summary(frame, keys, metric), on=keys, how="left", sort=False)


def curves_frame(
    points: pd.DataFrame, tables: Tables, names: Sequence[str], metric: str, chance: float
) -> pd.DataFrame:
    """Metric over epochs of every point of an experiment that has a result, with the summary of cell and epoch.

    -> (rows: point, epoch): level, factors, seed, run_id, state, epoch, metric, measured, diverged (runs of the cell,
    up to this epoch), n, mean, sd, ci_low, ci_high.
    From the epoch in which it diverged to the end, a run is at chance level and not measured, as its final metric is.
    Points without a result have one row without an epoch.
    """
    runs = tables.runs[["run_id", "state", "total_epochs"]]
    result = runs[runs["state"].isin(["finished", "diverged"])]
    measured = tables.epochs.loc[tables.epochs[metric].notna(), ["run_id", "epoch", metric]]
    measured = measured[measured["run_id"].isin(result["run_id"])].assign(measured=True)
    diverged = result[result["state"] == "diverged"]
    rows = pd.concat([measured, _at_chance(diverged, measured, metric, chance)], ignore_index=True)
    frame = points.merge(runs[["run_id", "state"]], on="run_id", how="left", sort=False)
    frame = frame.merge(rows, on="run_id", how="left", sort=False)
    frame["measured"] = frame["measured"].eq(True)
    keys = ["level", *names, "epoch"]
    at_chance = frame["epoch"].notna() & ~frame["measured"]
    frame["diverged"] = at_chance.groupby([frame[key] for key in keys], dropna=False).transform("sum")
    return frame.merge(summary(frame.dropna(subset=["epoch"]), keys, metric), on=keys, how="left", sort=False)


def _at_chance(diverged: pd.DataFrame, measured: pd.DataFrame, metric: str, chance: float) -> pd.DataFrame:
    """Rows for the epochs that diverged runs did not complete; at least the last one."""
    last = measured.groupby("run_id")["epoch"].max()
    rows = [
        (run_id, epoch, chance, False)
        for run_id, total in zip(diverged["run_id"], diverged["total_epochs"], strict=True)
        for epoch in range(min(int(last.get(run_id, 0)), total - 1) + 1, total + 1)
    ]
    types = {"run_id": measured["run_id"].dtype, "epoch": measured["epoch"].dtype, metric: float, "measured": bool}
    return pd.DataFrame(rows, columns=list(types)).astype(types)
