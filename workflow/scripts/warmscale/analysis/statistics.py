"""Statistics over seeds: frame -> frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from .inference.divergence import divergence_interval

CONFIDENCE = 0.95


KNOWN = ("known_n", "known_mean", "known_sd", "known_diverged")
"""Columns of a row that stands for a whole cell, of which only these are known; empty in a row of one run."""


def summary(frame: pd.DataFrame, by: Sequence[str], value: str, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Mean over seeds of every cell, with the t-interval of the mean.

    frame (rows: runs of cells): by..., value, and maybe KNOWN
    -> (rows: cells, in the order of the frame): by..., n, mean, sd, ci_low, ci_high, in units of the value.
    Empty values are not counted; one value has a mean, but no sd and no interval.
    """
    keys = list(by)
    cells = frame.groupby(keys, sort=False, dropna=False)[value].agg(n="count", mean="mean", sd="std").reset_index()
    if len(known := _known(frame)):
        given = cells.merge(known.drop_duplicates(keys)[[*keys, *KNOWN]], on=keys, how="left", sort=False)
        replaced = (cells["n"] == 0) & given["known_n"].notna()
        cells["n"] = cells["n"].where(~replaced, given["known_n"]).astype(int)
        cells["mean"] = cells["mean"].where(~replaced, given["known_mean"])
        cells["sd"] = cells["sd"].where(~replaced, given["known_sd"])
    n = cells["n"].to_numpy(dtype=float)
    # Student 1908: mean ± t(n - 1) * sd / sqrt(n)
    quantile = stats.t.ppf((1 + confidence) / 2, np.where(n > 1, n - 1, np.nan))
    half = quantile * cells["sd"].to_numpy(dtype=float) / np.sqrt(np.where(n > 1, n, np.nan))
    return cells.assign(ci_low=cells["mean"] - half, ci_high=cells["mean"] + half)


def geometric_summary(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """The same of values above 0 on their logarithms: geometric means, whose intervals do not reach 0.

    sd is of the natural logarithms.
    """
    logs = np.log(frame[value].where(frame[value] > 0).astype(float))
    found = summary(frame.assign(**{value: logs}), by, value)
    return found.assign(**{name: np.exp(found[name]) for name in ("mean", "ci_low", "ci_high")})


def cells(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """What became of the seeds of every cell, and the summary of those with a result.

    frame (rows: points): by..., seed, state, value, and maybe KNOWN
    -> (rows: cells): by..., seeds, diverged, failed, pending, summarised, n, mean, sd, ci_low, ci_high,
    divergence_low, divergence_high (Clopper & Pearson 1934, of the share of runs with a result that diverged).
    Diverged runs have a result, the chance level; pending means not finished and not failed; summarised is 1 where
    no single run is known.
    """
    keys = list(by)
    marks = frame[keys].assign(
        seeds=1,
        diverged=(frame["state"] == "diverged").astype(int),
        failed=(frame["state"] == "failed").astype(int),
        pending=(~frame["state"].isin(["finished", "diverged", "failed"])).astype(int),
        summarised=0,
    )
    if len(known := _known(frame)):
        marks.loc[known.index, "diverged"] = known["known_diverged"].fillna(0).astype(int)
        marks.loc[known.index, "seeds"] = known["known_n"].astype(int) + marks.loc[known.index, "diverged"]
        marks.loc[known.index, ["pending", "summarised"]] = (0, 1)
    counts = marks.groupby(keys, sort=False, dropna=False).sum().reset_index()
    results = counts["seeds"] - counts["failed"] - counts["pending"]
    bounds = [divergence_interval(*pair, CONFIDENCE) for pair in zip(counts["diverged"], results, strict=True)]
    counts["divergence_low"], counts["divergence_high"] = zip(*bounds, strict=True) if bounds else ((), ())
    return counts.merge(summary(frame, keys, value), on=keys, how="left", sort=False)


def _known(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that stand for a whole cell."""
    return frame[frame["known_n"].notna()] if "known_n" in frame else frame.iloc[:0]
