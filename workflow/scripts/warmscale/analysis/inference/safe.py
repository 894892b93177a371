"""Level of Welch's test for any spreads: from its p-value to one that holds its level.

Welch's t with Satterthwaite's degrees of freedom keeps its level only roughly: with 3 runs a cell and one spread ten
times the other, a one-sided test at 0.005 errs in 0.85 % of studies. So decisions use g(p), the largest chance over all
spreads that normal cells of equal means give a p-value of at most p.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.stats import qmc

Array = NDArray[np.float64]

LOG_LEVELS = np.linspace(math.log(1e-10), math.log(0.5), 36)
"""Logs of the Welch p-values in the table; no safe p-value is below that of the smallest."""
SMALLEST = math.exp(LOG_LEVELS[0])
STEP = 0.75
"""At most, between nodes of the integral over a share, in logits."""
REST_NODES = 32
"""Quasi-random nodes for how the cells beside the dominating one share their part."""


def safe_p(p: float, dofs: tuple[int, ...]) -> float:
    """g of a one-sided Welch p-value; dofs: n - 1 of each cell of the contrast."""
    if len(dofs) < 2 or p >= 0.5:
        return p
    logs = _log_sizes(tuple(sorted(dofs)))
    return max(p, math.exp(np.interp(math.log(max(p, SMALLEST)), LOG_LEVELS, logs)))


def welch_p(alpha: float, dofs: tuple[int, ...]) -> float:
    """The Welch p-value whose safe p-value is alpha; 0 where none is that small."""
    if len(dofs) < 2 or alpha >= 0.5:
        return alpha
    logs = _log_sizes(tuple(sorted(dofs)))
    if alpha <= 0 or math.log(alpha) < logs[0]:
        return 0.0
    return min(alpha, math.exp(np.interp(math.log(alpha), logs, LOG_LEVELS)))


@lru_cache(maxsize=4096)
def _log_sizes(dofs: tuple[int, ...]) -> Array:
    """log g at LOG_LEVELS; dofs in ascending order.

    The largest size is searched where one cell dominates the variance of the contrast and the others share the rest,
    equally or as the squares of their degrees of freedom. For two cells these are all spreads; for more, a random
    search over spreads found none that is worse by more than a hundredth of the size.
    """
    powers = (0,) if dofs[0] == dofs[-1] or len(dofs) == 2 else (0, 2)
    first_of_each = [cell for cell in range(len(dofs)) if dofs.index(dofs[cell]) == cell]
    sizes = [_sizes(dofs, cell, power) for cell in first_of_each for power in powers]
    return np.maximum.accumulate(np.maximum(np.log(np.max(sizes, axis=0)), LOG_LEVELS))


def _sizes(dofs: tuple[int, ...], dominating: int, power: int) -> Array:
    """Largest size at each of LOG_LEVELS over the weight of one cell in the variance of the contrast.

    Given the shares of the cells in the sum of their chi-squares, t is Student's with the total degrees of freedom,
    times a known factor: the shares are independent of the sum.
    """
    first, total = dofs[dominating], sum(dofs)
    rest = np.delete(np.array(dofs, dtype=float), dominating)
    logits, chances = _share(first / 2, (total - first) / 2)
    inner = _dirichlet(tuple(rest)) * rest**power / (rest**power).sum()  # (nodes, cells - 1)
    weights = np.arange(-3.0, 4 + 26 / first, 0.5)[:, None, None]  # logits of the dominating cell's weight
    a = special.expit(weights) * special.expit(logits)[:, None] / first
    parts = special.expit(-weights) * special.expit(-logits)[:, None]
    b = parts * (inner / rest).sum(axis=1)
    squares = a**2 / first + parts**2 * (inner**2 / rest**3).sum(axis=1)
    dof = (a + b) ** 2 / squares  # (weights, shares, nodes)
    factor = np.sqrt(total * (a + b))
    return np.array([(_tail(total, dof, factor, p).mean(axis=2) @ chances).max() for p in np.exp(LOG_LEVELS)])


def _tail(total: int, dof: Array, factor: Array, p: float) -> Array:
    """Chance that t exceeds its critical value, given the shares."""
    return special.stdtr(total, special.stdtrit(dof, p) * factor)


def _share(a: float, b: float) -> tuple[Array, Array]:
    """Nodes (as logits) and weights of the trapezoidal rule for Beta(a, b), which is as good as exact on this scale."""
    step = min(STEP, 0.5 * math.sqrt(1 / a + 1 / b))  # of its standard deviation where it is narrow
    centre = math.log(a / b)
    logits = np.arange(centre - min(46 / a, 300.0) - 1, centre + min(46 / b, 300.0) + 1, step)
    logs = a * special.log_expit(logits) + b * special.log_expit(-logits) - special.betaln(a, b)
    return logits, step * np.exp(logs)


@lru_cache(maxsize=256)
def _dirichlet(dofs: tuple[float, ...]) -> Array:
    """Quasi-random shares (nodes, cells) of chi-squares in their sum."""
    if len(dofs) == 1:
        return np.ones((1, 1))
    uniform = qmc.Sobol(len(dofs), rng=1).random(REST_NODES)
    drawn = special.gammaincinv(np.array(dofs) / 2, uniform)
    return drawn / drawn.sum(axis=1, keepdims=True)
