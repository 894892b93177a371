"""Rank tests that hold for any two distributions, from two runs on: for cells with runs that diverged.

A diverged run is worse than any that converged, and two of them tie. The statistic is the mean of a kernel in [0, 1]
over all ways to draw one run from each cell. It is an average, over orders of the runs, of means of n independent
kernels, n the smallest number of runs (Hoeffding 1963). So it is below Binomial(n, share) / n in the convex order, and

    P(U >= u) <= min over whole h < n u of E max(B - h, 0) / (n u - h),   B ~ Binomial(n, share).

The exact p-value of Mann and Whitney holds for equal distributions only, not for equal chances to win: not for a
constant cell against one that diverges half of the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from .cell import Cell

Array = NDArray[np.float64]

TINY = 1e-9
"""Shares are sums of fractions: what is this near to a whole number of wins is that number."""


def has_diverged(cells: Sequence[Cell]) -> bool:
    """Whether a comparison of these cells needs a rank test."""
    return any(cell.diverged for cell in cells)


def can_rank(cells: Sequence[Cell]) -> bool:
    """Whether every run is known and every cell has at least two."""
    return all(cell.runs >= 2 and (cell.values is not None or cell.n == 0) for cell in cells)


def scores(cell: Cell, sign: int) -> Array:
    """Runs so that larger is better; -inf: diverged."""
    return np.concatenate([sign * np.array(cell.values or (), dtype=float), np.full(cell.diverged, -np.inf)])


def wins(a: Array, b: Array, margin: float = 0.0) -> float:
    """Share of pairs in which a is better than b by more than the margin; ties count half."""
    left, right = (a - margin)[:, None], b[None, :]
    return float(((left > right) + 0.5 * (left == right)).mean())


def p_share(share: float, n: int, null: float = 0.5) -> float:
    """Largest chance of a share this large where the true one is at most `null`; n: runs of the smallest cell."""
    above = n * share - np.arange(n)
    reached = above > TINY
    if not reached.any():
        return 1.0
    return float(min(1.0, (_excess(n, null)[reached] / above[reached]).min()))


def critical_share(alpha: float, n: int) -> float:
    """Smallest share with a p-value of at most alpha against one half; above 1 where there is none."""
    if alpha <= 0:
        return math.inf
    return float((np.arange(n) + np.maximum(_excess(n, 0.5) / alpha, TINY)).min() / n)


def lower_share(share: float, n: int, alpha: float) -> float:
    """Lower bound of the true share: the one against which the p-value is alpha; 0 where every one is possible."""
    if alpha <= 0 or p_share(share, n, TINY) > alpha:
        return 0.0
    return float(optimize.brentq(lambda null: p_share(share, n, null) - alpha, TINY, 1.0, xtol=1e-10))


def upper_share(share: float, n: int, alpha: float) -> float:
    """The upper bound."""
    return 1 - lower_share(1 - share, n, alpha)


def _excess(n: int, null: float) -> Array:
    """E max(B - h, 0) for h = 0 .. n - 1, B ~ Binomial(n, null)."""
    return _excess_of_half(n) if null == 0.5 else _tail_sums(n, null)


@lru_cache(maxsize=1024)
def _excess_of_half(n: int) -> Array:
    return _tail_sums(n, 0.5)


def _tail_sums(n: int, null: float) -> Array:
    return np.cumsum(special.bdtrc(np.arange(n), n, null)[::-1])[::-1]  # bdtrc: P(B > h)
