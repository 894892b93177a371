"""Chance of the tests of ranks.py to establish a claim: simulated, with the shares of diverged runs seen so far."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .ranks import critical_share

Array = NDArray[np.float64]

DRAWS = 200
"""Simulated studies: the standard error of a power of 0.8 is 0.03."""


def all_won(
    shifts: Sequence[float], diverged: Sequence[float], tests: Sequence[Sequence[tuple[int, int]]], n: int, alpha: float
) -> float:
    """Power to establish in each test that its first cells are better than its second ones, on average of its pairs.

    shifts: true means of the cells in standard deviations, larger is better; diverged: chance of a run to diverge.
    """
    critical = critical_share(alpha, n) - 1e-9
    if critical > 1:
        return 0.0
    runs = _runs(shifts, diverged, n)
    won = [np.mean([_wins(runs[:, a], runs[:, b]) for a, b in pairs], axis=0) >= critical for pairs in tests]
    return float(np.all(won, axis=0).mean())


def all_near(
    shifts: Sequence[float],
    diverged: Sequence[float],
    pairs: Sequence[tuple[int, int]],
    margin: float,
    n: int,
    alpha: float,
) -> float:
    """Power to establish that each side wins against the other once the margin is added to it."""
    critical = critical_share(alpha, n) - 1e-9
    if critical > 1:
        return 0.0
    runs = _runs(shifts, diverged, n)
    won = [
        np.mean([_wins(runs[:, left] + margin, runs[:, right]) for left, right in order], axis=0) >= critical
        for order in (pairs, [(b, a) for a, b in pairs])
    ]
    return float(np.all(won, axis=0).mean())


def all_above(shifts: Sequence[float], diverged: Sequence[float], n: int, alpha: float) -> float:
    """Power to establish that runs are above 0, on average of the cells."""
    share = (_runs(shifts, diverged, n) > 0).mean(axis=(1, 2))
    return float(np.mean(share >= critical_share(alpha, n) - 1e-9))


def _runs(shifts: Sequence[float], diverged: Sequence[float], n: int) -> Array:
    """Simulated runs (draws, cells, n)."""
    normal, uniform = _drawn(len(shifts), n)
    return np.where(uniform < np.array(diverged)[:, None], -np.inf, normal + np.array(shifts)[:, None])


def _wins(a: Array, b: Array) -> Array:
    """Share of pairs that a wins (draws)."""
    left, right = a[:, :, None], b[:, None, :]
    return ((left > right) + 0.5 * (left == right)).mean(axis=(1, 2))


@lru_cache(maxsize=256)
def _drawn(cells: int, n: int) -> tuple[Array, Array]:
    random = np.random.default_rng(20_240_607)
    return random.standard_normal((DRAWS, cells, n)), random.random((DRAWS, cells, n))
