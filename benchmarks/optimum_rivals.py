"""Rivals of the report's intervals of the best warmup and its exponent: parabolas, and an oracle.

- delta: a parabola in log(w + w1) by least squares over all runs, its vertex with the delta method;
- bootstrap: the same vertex over seeds drawn anew within cells, percentiles;
- oracle: knows the curve but for its place and level, and all spreads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from planted_optima import Truth
from scipy import stats

ALPHA = 0.05
DRAWS = 400
"""Of the bootstrap."""

Intervals = tuple[np.ndarray, np.ndarray]
"""(simulations,) lower and upper ends; NaN where not bracketed."""


def delta(truth: Truth, values: np.ndarray) -> Intervals:
    """Of an optimum; values: (simulations, levels, n), without the lowest levels if their runs diverged."""
    vertex, error, dof = _vertices(truth, values)
    half = stats.t.ppf(1 - ALPHA / 2, dof) * error
    return _within_grid(truth, vertex - half, vertex + half)


def bootstrap(truth: Truth, values: np.ndarray, rng: np.random.Generator) -> Intervals:
    """Of an optimum, likewise."""
    return _within_grid(truth, *_percentiles(_vertices_anew(truth, values, rng)))


def delta_slopes(log_sizes: np.ndarray, planted: Sequence[Truth], drawn: Sequence[np.ndarray]) -> Intervals:
    """Of an exponent: least squares over vertices, weighted by their errors."""
    found = [_vertices(truth, values) for truth, values in zip(planted, drawn, strict=True)]
    vertex, error = (np.stack([own[index] for own in found], axis=-1) for index in (0, 1))
    with np.errstate(invalid="ignore", over="ignore"):
        level = _levels(planted, vertex)
        weights = (error * np.exp(vertex) / level) ** -2
        estimate, information = slopes(log_sizes, np.log(level), weights)
        half = stats.t.ppf(1 - ALPHA / 2, found[0][2]) / np.sqrt(information)
    return estimate - half, estimate + half


def bootstrap_slopes(
    log_sizes: np.ndarray, planted: Sequence[Truth], drawn: Sequence[np.ndarray], rng: np.random.Generator
) -> Intervals:
    """Of an exponent: percentiles of unweighted slopes."""
    # (simulations, draws, sizes)
    vertex = np.stack([_vertices_anew(*own, rng) for own in zip(planted, drawn, strict=True)], axis=-1)
    with np.errstate(invalid="ignore", over="ignore"):
        level = _levels(planted, vertex)
        return _percentiles(slopes(log_sizes, np.log(level), np.ones_like(level))[0])


def oracle(truth: Truth, values: np.ndarray) -> Intervals:
    """Likelihood ratio over the place of the known curve, its level unknown, its spreads known."""
    peaks, misfit = _misfits(truth, values)
    held = misfit - misfit.min(axis=1, keepdims=True) <= stats.chi2.ppf(1 - ALPHA, 1)
    first, last = held.argmax(axis=1), len(peaks) - 1 - held[:, ::-1].argmax(axis=1)
    half_a_step = math.sqrt(peaks[1] / peaks[0])
    return peaks[first] / half_a_step, peaks[last] * half_a_step


def oracle_slopes(log_sizes: np.ndarray, planted: Sequence[Truth], drawn: Sequence[np.ndarray]) -> Intervals:
    """Of an exponent: likeliest places, with the errors that Cramér and Rao's bound leaves them."""
    best = []
    for truth, values in zip(planted, drawn, strict=True):
        peaks, misfit = _misfits(truth, values)
        best.append(np.log(peaks[misfit.argmin(axis=1)]))
    weights = np.array([_information(truth, values.shape[2]) for truth, values in zip(planted, drawn, strict=True)])
    estimate, information = slopes(log_sizes, np.stack(best, axis=-1), weights)
    half = stats.norm.ppf(1 - ALPHA / 2) / math.sqrt(information)
    return estimate - half, estimate + half


def slopes(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares over the last axis: slopes, and one over their variances if weights are those of y."""
    x = x - (weights * x).sum(axis=-1, keepdims=True) / weights.sum(axis=-1, keepdims=True)
    information = (weights * x**2).sum(axis=-1)
    return (weights * x * y).sum(axis=-1) / information, information


def _design(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale log(w + w1), and the matrix (3, levels) from means to the coefficients of a parabola."""
    x = np.log(levels + levels[levels > 0][0])
    return x, np.linalg.pinv(np.vander(x, 3, increasing=True))


def _vertices(truth: Truth, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Vertex and its standard error in the scale (NaN where there is no peak), and degrees of freedom."""
    _, levels, n = values.shape
    x, matrix = _design(truth.levels[-levels:])
    means = values.mean(axis=2)
    _, b, c = matrix @ means.T
    fitted = (np.vander(x, 3, increasing=True) @ (matrix @ means.T)).T
    dof = levels * n - 3
    variance = ((values - fitted[:, :, None]) ** 2).sum(axis=(1, 2)) / dof
    slope = np.array([0 * b, -1 / (2 * c), b / (2 * c**2)])  # (3, simulations)
    error = np.sqrt(variance * np.einsum("is,ij,js->s", slope, matrix @ matrix.T / n, slope))
    return np.where(c < 0, -b / (2 * c), np.nan), error, dof


def _vertices_anew(truth: Truth, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vertices in the scale (simulations, draws); NaN where there is no peak."""
    _, levels, n = values.shape
    _, matrix = _design(truth.levels[-levels:])
    weights = rng.multinomial(n, np.full(n, 1 / n), (levels, DRAWS)) / n
    b, c = (np.einsum("sln,ldn,l->sd", values, weights, row, optimize=True) for row in matrix[1:])
    return np.where(c < 0, -b / (2 * c), np.nan)


def _percentiles(drawn: np.ndarray) -> Intervals:
    """Middle 95 % of each row; draws without a value stand on both sides."""
    low = np.quantile(np.where(np.isnan(drawn), -np.inf, drawn), ALPHA / 2, axis=1, method="lower")
    high = np.quantile(np.where(np.isnan(drawn), np.inf, drawn), 1 - ALPHA / 2, axis=1, method="higher")
    return low, high


def _within_grid(truth: Truth, low: np.ndarray, high: np.ndarray) -> Intervals:
    """From the scale to epochs; NaN where the interval is open or leaves the grid."""
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = (np.exp(end) - truth.levels[1] for end in (low, high))
        inside = (low > 0) & (high < truth.levels[-1])
    return np.where(inside, low, np.nan), np.where(inside, high, np.nan)


def _levels(planted: Sequence[Truth], vertex: np.ndarray) -> np.ndarray:
    """(..., sizes) epochs; NaN where not above 0."""
    level = np.exp(vertex) - np.array([truth.levels[1] for truth in planted])
    return np.where(level > 0, level, np.nan)


def _misfits(truth: Truth, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (peaks,) of the known curve, and its weighted squares from the means (simulations, peaks)."""
    used = values.shape[1]
    peaks = np.geomspace(truth.peak / 8, truth.peak * 8, 2001)
    shapes, weights = truth.means(peaks)[:, -used:], values.shape[2] / truth.sd[-used:] ** 2
    means = values.mean(axis=2)
    shapes = shapes - (shapes @ weights / weights.sum())[:, None]
    means = means - (means @ weights / weights.sum())[:, None]
    return peaks, (shapes**2 @ weights)[None, :] - 2 * (means * weights) @ shapes.T  # up to a constant


def _information(truth: Truth, n: int) -> float:
    """Of the runs on the log of the peak (Fisher's), the level unknown."""
    step = 1e-4
    around = truth.means(truth.peak * np.exp([-step, step]))
    gradient, weights = (around[1] - around[0]) / (2 * step), n / truth.sd**2
    gradient = gradient - gradient @ weights / weights.sum()
    return float(gradient**2 @ weights)
