"""Chance of the tests of welch.py to establish a claim with n runs in every cell, all of one spread."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .safe import welch_p

Array = NDArray[np.float64]
Matrix = tuple[tuple[float, ...], ...]
"""A row a test, a column a cell: the contrasts that must all be established."""

SMALLEST_EFFECT = 0.5
"""Of a claim that is given none: the difference, in units of the metric, that its power is computed for."""
DRAWS = 4000
"""Simulated studies: the standard error of a power of 0.8 is 0.006."""
SHARES = 24
"""Nodes of the integral over the share of one cell in the sum of squares."""
LARGE = 30.0
"""Noncentrality from which on the chance is integrated here: scipy's nctdtr is NaN from about 38 on."""
NORMAL_NODES = 40
"""Nodes of that integral, all of them within 12 of its middle."""


def in_sds(value: float, spread: float) -> float:
    """The value in standard deviations; NaN where there is no spread."""
    return value / spread if spread > 0 else math.nan


def one_cell(effect: float, n: int, alpha: float) -> float:
    """Power of Student's t for a mean that is `effect` standard deviations beyond the bound."""
    critical = -special.stdtrit(n - 1, alpha)
    return float(_chance_above(critical, n - 1, effect * math.sqrt(n)))


def two_cells(effect: float, n: int, alpha: float) -> float:
    """Power of the safe Welch test for a difference that is `effect` standard deviations beyond the bound.

    Given the share of a cell in the sum of squares, t is noncentral t with 2 n - 2 degrees of freedom, and
    Satterthwaite's degrees of freedom are known; so this is an expectation over the share, which is Beta.
    """
    critical, weights = _critical_given_share(n, alpha)
    return float(weights @ _chance_above(critical, 2 * n - 2, effect * math.sqrt(n / 2)))


def _chance_above(critical: Array | float, dof: int, noncentrality: float) -> Array:
    """Chance that noncentral t is above its critical values, which are positive."""
    if not noncentrality >= LARGE:
        return 1 - special.nctdtr(dof, noncentrality, critical)
    # t = (z + noncentrality) / sqrt(chi2 / dof): the chance that chi2 is small enough, on average over the normal z
    nodes, weights = np.polynomial.hermite_e.hermegauss(NORMAL_NODES)
    reach = np.divide.outer(noncentrality + nodes, critical)
    return weights / weights.sum() @ special.chdtr(dof, dof * reach**2)


@lru_cache(maxsize=4096)
def _critical_given_share(n: int, alpha: float) -> tuple[Array, Array]:
    """Critical values of t and their probabilities; with equal weights the estimated variance is the pooled one."""
    nodes, weights = special.roots_jacobi(SHARES, (n - 3) / 2, (n - 3) / 2)
    share = (1 + nodes) / 2
    dof = (n - 1) / (share**2 + (1 - share) ** 2)
    return -special.stdtrit(dof, welch_p(alpha, (n - 1, n - 1))), weights / weights.sum()


def contrasts(matrix: Matrix, effect: float, n: int, alpha: float) -> float:
    """Power to establish all rows where each is `effect` standard deviations beyond its bound."""
    if len(matrix) == 1 and len(matrix[0]) == 1:
        return one_cell(effect, n, alpha)
    if matrix == ((1.0, -1.0),):
        return two_cells(effect, n, alpha)
    return float(np.searchsorted(_needed_effects(matrix, n, alpha), effect) / DRAWS)


def within(matrix: Matrix, offset: float, margin: float, n: int, alpha: float) -> float:
    """Power to establish that one contrast is within the margin of 0 where it is at the offset, both in sds."""
    estimates, halves = _estimates(matrix, n, alpha)
    return float(np.mean(np.abs(estimates + offset) + halves < margin))


@lru_cache(maxsize=1024)
def _needed_effects(matrix: Matrix, n: int, alpha: float) -> Array:
    """Smallest effect with which each simulated study establishes all rows, sorted."""
    estimates, halves = _estimates(matrix, n, alpha)
    return np.sort((halves - estimates).max(axis=1))


@lru_cache(maxsize=1024)
def _estimates(matrix: Matrix, n: int, alpha: float) -> tuple[Array, Array]:
    """Estimates of true zeros, and what the test adds on one side (draws, tests)."""
    random = np.random.default_rng(20_240_607)
    coefficients = np.array(matrix)
    means = random.standard_normal((DRAWS, coefficients.shape[1])) / math.sqrt(n)
    variances = random.chisquare(n - 1, means.shape) / (n - 1) / n
    total = variances @ coefficients.T**2
    dof = total**2 * (n - 1) / (variances**2 @ coefficients.T**4)
    levels = [welch_p(alpha, (n - 1,) * np.count_nonzero(row)) for row in coefficients]
    return means @ coefficients.T, -special.stdtrit(dof, np.array(levels)) * np.sqrt(total)
