"""Statistics over seeds: frame -> frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95


def summary(frame: pd.DataFrame, by: Sequence[str], value: str, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Mean over seeds of every cell, with the t-interval of the mean.

    frame (rows: runs of cells): by..., value
    -> (rows: cells, in the order of the frame): by..., n, mean, sd, ci_low, ci_high, in units of the value.
    Empty values are not counted; one value has a mean, but no sd and no interval.
    """
    cells = frame.groupby(list(by), sort=False, dropna=False)[value].agg(n="count", mean="mean", sd="std").reset_index()
    n = cells["n"].to_numpy(dtype=float)
    # Student 1908: mean ± t(n - 1) * sd / sqrt(n)
    quantile = stats.t.ppf((1 + confidence) / 2, np.where(n > 1, n - 1, np.nan))
    half = quantile * cells["sd"].to_numpy(dtype=float) / np.sqrt(np.where(n > 1, n, np.nan))
    return cells.assign(ci_low=cells["mean"] - half, ci_high=cells["mean"] + half)


def cells(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """What became of the seeds of every cell, and the summary of those with a result.

    frame (rows: points): by..., seed, state, value
    -> (rows: cells): by..., seeds, diverged, failed, pending, n, mean, sd, ci_low, ci_high.
    Diverged runs have a result, the chance level; pending means not finished and not failed.
    """
    keys = list(by)
    marks = frame[keys].assign(
        seeds=1,
        diverged=(frame["state"] == "diverged").astype(int),
        failed=(frame["state"] == "failed").astype(int),
        pending=(~frame["state"].isin(["finished", "diverged", "failed"])).astype(int),
    )
    counts = marks.groupby(keys, sort=False, dropna=False).sum().reset_index()
    return counts.merge(summary(frame, keys, value), on=keys, how="left", sort=False)
