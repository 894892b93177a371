"""A rival of the report's interval of the best warmup: it assumes one peak, and nothing else of the curve.

Suppose the peak lies in a gap between two levels. Then no level farther out is better than the end of the gap on its
side. The gap is excluded if some of its nearest levels are, by one-sided comparisons (Welch) with Bonferroni's
correction: the inversion of a test, as Hsu's comparisons with the best (1984) with the ordering of Mack & Wolfe (1981).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from warmscale.analysis.inference.cell import Cell
from warmscale.analysis.inference.kinds import better

RIVALS = 3
"""Neighbours on each side that the end of a gap is compared with."""

Ends = tuple[float, float]


def gap_p(cells: Sequence[Cell]) -> np.ndarray:
    """(levels - 1,) the smallest alpha at which each gap between two levels is shown not to hold the peak."""

    def p_values(loser: int, winners: range) -> list[float]:
        found = (better([cells[winner]], [cells[loser]]).p_support for winner in winners)
        return [1.0 if p is None else float(p) for p in found]

    count = len(cells)
    left = [p_values(at, range(max(at - RIVALS, 0), at)) for at in range(count)]
    right = [p_values(at, range(at + 1, min(at + 1 + RIVALS, count))) for at in range(count)]
    gaps = [left[gap] + right[gap + 1] for gap in range(count - 1)]
    return np.array([min(1.0, len(own) * min(own)) for own in gaps])


def peak_ends(levels: Sequence[float], excluded_at: np.ndarray, alpha: float) -> Ends:
    """Ends of the gaps that may hold the peak; NaN where an outermost gap is among them, or none."""
    held = np.flatnonzero(excluded_at > alpha)
    if not held.size or held[0] < 1 or held[-1] > len(excluded_at) - 2:
        return math.nan, math.nan
    return float(levels[held[0]]), float(levels[held[-1] + 1])


def slope_ends(log_sizes: np.ndarray, ends: Sequence[Ends]) -> Ends:
    """Smallest and largest slope of the lines that pass through an interval of levels at every size; NaN without one.

    One line serves all sizes if its slope serves every two of them (intervals that meet in pairs have a point in
    common), so the pairs decide. The intervals hold together with probability 1 - alpha if each errs with
    1 - (1 - alpha)^(1 / sizes) (Šidák 1967).
    """
    low, high = np.log(np.array(ends)).T
    first, second = np.nonzero(log_sizes[:, None] < log_sizes)
    run = log_sizes[second] - log_sizes[first]
    return float(np.max((low[second] - high[first]) / run)), float(np.min((high[second] - low[first]) / run))
