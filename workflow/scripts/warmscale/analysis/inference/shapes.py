"""Where a curve has its peak, as a distribution: over the noise of its points and over its shape between them.

Two descriptions of the curve are averaged, each by how well it explains the points (Bayesian model averaging): a
parabola plus a Gaussian process, smooth or rough, in the logarithm of the level (Rasmussen & Williams 2006, chapters 2
and 5); and a power of the distance to the peak, another on each side, which has kinks and asymmetry. Neither ever
counts less than a quarter. Calibration: docs/optimum.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

PARTS = 10
"""Points of the grid in each gap between two levels."""
DRAWS = 2000
"""Curves drawn from the Gaussian processes."""
KERNELS = (("matern52", 2.0), ("matern52", 4.0), ("matern32", 2.0), ("exponential", 4.0))
"""Kinds of deviation from a parabola, and their length in doublings of the level."""
SIZES = (0.05, 0.15, 0.4, 1.0)
"""Standard deviations of the deviation, in ranges of the points."""
POWERS = (0.75, 1.0, 1.5, 2.0, 3.0)
"""Of the distance to the peak, in doublings, on each side: from a cusp to a flat top."""
EQUAL_SHARE = 0.5
"""Of curves with the same power on both sides, before the points."""
TREND_SDS, SIDE_SDS = np.array([3.0, 2.1, 1.5]), np.array([3.0, 1.0, 1.0])
"""Prior spread of the coefficients of the parabola and of the powers, in ranges of the points."""
LEAST_SHARE = 0.25
"""Of either description, whatever the points say: a few points tell shapes apart badly."""
SEED = 2026
JITTER = 1e-8
"""Variance, in ranges of the points, that keeps covariances positive definite."""


@dataclass(frozen=True, eq=False)
class Scale:
    """The axis on which curves are described: log2(level + smallest positive level), which has no log of 0."""

    shift: float
    points: Array
    """(levels,)"""
    grid: Array
    """(gaps * PARTS + 1,) where a peak may be; the levels among them."""

    def level(self, place: Array | float) -> Array:
        """From the axis back to the unit of the levels."""
        return np.maximum(np.exp2(place) - self.shift, 0.0)


@lru_cache(maxsize=256)
def scale_of(levels: tuple[float, ...]) -> Scale:
    """The axis for ascending levels, of which one at least is above 0."""
    shift = next(level for level in levels if level > 0)
    points = np.log2(np.array(levels) + shift)
    inner = [np.linspace(*gap, PARTS, endpoint=False) for gap in pairwise(points)]
    return Scale(shift, points, np.concatenate([*inner, points[-1:]]))


def peak_weights(levels: tuple[float, ...], means: Sequence[float], variances: Sequence[float]) -> Array:
    """(grid,) probability of each place to be the peak; variances: of the means."""
    scale = scale_of(levels)
    y, noise = _in_ranges(np.array(means, dtype=float), np.array(variances, dtype=float))
    process, log_process = _of_processes(scale, y, noise)
    powers, log_powers = _of_powers(scale, y, noise)
    share = float(np.clip(1 / (1 + np.exp(np.clip(log_process - log_powers, -50, 50))), LEAST_SHARE, 1 - LEAST_SHARE))
    return share * powers + (1 - share) * process


def chance_beyond(
    levels: tuple[float, ...], means: Sequence[float], variances: Sequence[float], beyond: Array
) -> float:
    """Bound on the share of curves that peak at some places, however few are drawn; beyond: (grid,) which places.

    A curve that peaks at one of them is higher there than at every other place, so the chance is at most the sum over
    these places of the chance to be higher than the other place that makes it least.
    """
    scale = scale_of(levels)
    y, noise = _in_ranges(np.array(means, dtype=float), np.array(variances, dtype=float))
    evidence, curve, covariance = _posteriors(scale, y, noise)
    lead = curve[:, beyond, None] - curve[:, None, ~beyond]
    spread = np.diagonal(covariance, axis1=1, axis2=2)
    both = spread[:, beyond, None] + spread[:, None, ~beyond] - 2 * covariance[:, beyond][:, :, ~beyond]
    higher = ndtr(lead / np.sqrt(np.maximum(both, JITTER))).min(axis=2).sum(axis=1)
    return float(np.exp(evidence - np.logaddexp.reduce(evidence)) @ np.minimum(higher, 1.0))


def _in_ranges(means: Array, variances: Array) -> tuple[Array, Array]:
    """Points around 0 in units of their range, and their variances."""
    size = max(np.ptp(means), 2 * math.sqrt(variances.mean()), 1e-12)
    return (means - means.mean()) / size, np.maximum(variances / size**2, 1e-8)


def _of_processes(scale: Scale, y: Array, noise: Array) -> tuple[Array, float]:
    """Shares of drawn curves that peak at each place of the grid, and the log evidence."""
    evidence, means, covariances = _posteriors(scale, y, noise)
    total = np.logaddexp.reduce(evidence)
    ends = np.round(np.cumsum(np.exp(evidence - total)) * DRAWS).astype(int)
    peaks, normals = np.zeros(len(scale.grid)), _normals(len(scale.grid))
    for mean, covariance, first, last in zip(means, covariances, [0, *ends[:-1]], ends, strict=True):
        if first < last:
            root = np.linalg.cholesky(covariance + JITTER * np.eye(len(mean)))
            drawn = mean + normals[first:last] @ root.T
            peaks += np.bincount(drawn.argmax(axis=1), minlength=len(peaks))
    return peaks / peaks.sum(), float(total - math.log(len(evidence)))


def _posteriors(scale: Scale, y: Array, noise: Array) -> tuple[Array, Array, Array]:
    """Of each kind of Gaussian process, given noisy points (Rasmussen & Williams 2006, algorithm 2.1).

    -> (kinds,) log evidence less a constant, (kinds, grid) means, (kinds, grid, grid) covariances.
    """
    among, across, grid = _priors(tuple(scale.points), tuple(scale.grid))
    factor = np.linalg.cholesky(among + np.diag(noise))
    white, solved = np.linalg.solve(factor, y[:, None])[..., 0], np.linalg.solve(factor, across)
    evidence = -0.5 * (white**2).sum(axis=1) - np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    turned = solved.swapaxes(1, 2)
    return evidence, (turned @ white[..., None])[..., 0], grid - turned @ solved


@lru_cache(maxsize=16)
def _normals(places: int) -> Array:
    """(DRAWS, places) the same at every call: the same runs give the same interval."""
    return np.random.default_rng(SEED).standard_normal((DRAWS, places))


@lru_cache(maxsize=64)
def _priors(points: tuple[float, ...], grid: tuple[float, ...]) -> tuple[Array, Array, Array]:
    """A parabola plus each kind and size of deviation: covariances of such curves.

    -> (kinds, levels, levels) among points, (kinds, levels, grid) of points with the grid, (kinds, grid, grid).
    """
    x, g = np.array(points), np.array(grid)

    def covariances(one: Array, other: Array) -> Array:
        trends = [np.vander(z - x.mean(), 3, increasing=True) * TREND_SDS for z in (one, other)]
        apart = one[:, None] - other
        deviations = [size**2 * _kernel(kind, apart, length) for kind, length in KERNELS for size in SIZES]
        return trends[0] @ trends[1].T + np.array(deviations)

    return covariances(x, x), covariances(x, g), covariances(g, g)


def _kernel(kind: str, distance: Array, length: float) -> Array:
    """Matérn's covariance with smoothness 5/2, 3/2 and 1/2."""
    d = np.abs(distance) / length
    if kind == "matern52":
        return (1 + math.sqrt(5) * d + 5 / 3 * d**2) * np.exp(-math.sqrt(5) * d)
    return (1 + math.sqrt(3) * d) * np.exp(-math.sqrt(3) * d) if kind == "matern32" else np.exp(-d)


def _of_powers(scale: Scale, y: Array, noise: Array) -> tuple[Array, float]:
    """Probability of each place to be the peak of a curve that falls as a power on each side, and the log evidence."""
    evidence, falls = _evidence_of_powers(scale, y, noise)
    at_each = np.logaddexp.reduce(evidence + falls + _log_shares_of_powers()[:, None], axis=0)
    total = np.logaddexp.reduce(at_each)
    return np.exp(at_each - total), float(total - math.log(len(at_each)))


def _evidence_of_powers(scale: Scale, y: Array, noise: Array) -> tuple[Array, Array]:
    """(pairs of powers, grid) log evidence less a constant, and what it gains where both sides do fall.

    For each place and pair of powers the curve is linear in its height and its two falls.
    """
    design = _power_design(tuple(scale.points), tuple(scale.grid))  # (pairs, grid, 3, levels)
    precision = (design / noise) @ design.swapaxes(-1, -2) + np.diag(SIDE_SDS**-2.0)
    pull = design @ (y / noise)
    covariance = np.linalg.inv(precision)
    mean = (covariance @ pull[..., None])[..., 0]
    sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    falls = np.log(np.maximum(4 * ndtr(mean / sd)[..., 1:].prod(axis=-1), 1e-300))  # a quarter before the points
    evidence = 0.5 * ((pull * mean).sum(axis=-1) - (y**2 / noise).sum() - np.linalg.slogdet(precision)[1])
    return evidence - np.log(SIDE_SDS).sum() - 0.5 * np.log(noise).sum(), falls


def _log_shares_of_powers() -> Array:
    """(pairs of powers,) before the points: EQUAL_SHARE for those that are equal together."""
    equal, count = np.eye(len(POWERS)).ravel(), len(POWERS)
    return np.log(np.where(equal, EQUAL_SHARE / count, (1 - EQUAL_SHARE) / (count**2 - count)))


@lru_cache(maxsize=64)
def _power_design(points: tuple[float, ...], grid: tuple[float, ...]) -> Array:
    """(pairs of powers, grid, 3, levels) height, and falls on the left and on the right of each place."""
    offset = np.array(points) - np.array(grid)[:, None]
    left, right = ([-(np.maximum(side * offset, 0.0) ** power) for power in POWERS] for side in (-1, 1))
    height = np.ones_like(offset)
    return np.stack([np.stack([height, *sides], axis=1) for sides in product(left, right)])
