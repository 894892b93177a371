"""Where a curve has its peak: scikit-learn, SciPy and brute force as second ways to the same evidence and posterior."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern

from warmscale.analysis.inference import shapes

LEVELS = (0.0, 2.5, 5.0, 10.0, 20.0, 40.0)
Y = np.array([-0.45, -0.1, 0.15, 0.3, 0.12, -0.02])
NOISE = np.array([0.02, 0.01, 0.01, 0.005, 0.01, 0.02])
SMOOTHNESS = {"matern52": 2.5, "matern32": 1.5, "exponential": 0.5}
CONSTANT = len(Y) / 2 * np.log(2 * np.pi)
"""Left out of every evidence."""


def by_scikit_learn(kind: str, length: float, size: float) -> tuple[GaussianProcessRegressor, np.ndarray]:
    """The process given the points, and the grid as it wants it."""
    scale = shapes.scale_of(LEVELS)
    height, slope, bend = shapes.TREND_SDS**2
    line = DotProduct(sigma_0=0, sigma_0_bounds="fixed")
    trend = ConstantKernel(height) + ConstantKernel(slope) * line + ConstantKernel(bend) * line**2
    kernel = trend + ConstantKernel(size**2) * Matern(length, nu=SMOOTHNESS[kind])
    middle = scale.points.mean()
    process = GaussianProcessRegressor(kernel, alpha=NOISE, optimizer=None).fit((scale.points - middle)[:, None], Y)
    return process, (scale.grid - middle)[:, None]


@pytest.mark.parametrize("index", [0, 5, 10, 15])
def test_processes_agree_with_scikit_learn(index):
    (kind, length), size = shapes.KERNELS[index // len(shapes.SIZES)], shapes.SIZES[index % len(shapes.SIZES)]
    process, grid = by_scikit_learn(kind, length, size)
    evidence, means, covariances = shapes._posteriors(shapes.scale_of(LEVELS), Y, NOISE)
    mean, covariance = process.predict(grid, return_cov=True)
    assert means[index] == pytest.approx(mean, abs=1e-8)
    assert covariances[index] == pytest.approx(covariance, abs=1e-8)
    assert evidence[index] - CONSTANT == pytest.approx(process.log_marginal_likelihood_value_)


def test_shares_of_peaks_agree_with_curves_drawn_by_scikit_learn():
    evidence, _, _ = shapes._posteriors(shapes.scale_of(LEVELS), Y, NOISE)
    counts = np.random.default_rng(1).multinomial(6000, np.exp(evidence - logsumexp(evidence)))
    peaks = np.zeros(len(shapes.scale_of(LEVELS).grid))
    for index, count in enumerate(counts):
        kind = shapes.KERNELS[index // len(shapes.SIZES)]
        process, grid = by_scikit_learn(*kind, shapes.SIZES[index % len(shapes.SIZES)])
        if count:
            drawn = process.sample_y(grid, int(count), random_state=index)
            peaks += np.bincount(drawn.argmax(axis=0), minlength=len(peaks))
    shares, total = shapes._of_processes(shapes.scale_of(LEVELS), Y, NOISE)
    assert np.abs(np.cumsum(shares) - np.cumsum(peaks) / 6000).max() < 0.04  # Kolmogorov's distance
    assert total == pytest.approx(logsumexp(evidence) - np.log(len(evidence)))


def test_evidence_of_powers_is_that_of_a_normal_distribution():
    scale = shapes.scale_of(LEVELS)
    evidence, _ = shapes._evidence_of_powers(scale, Y, NOISE)
    design = shapes._power_design(tuple(scale.points), tuple(scale.grid))
    for pair, place in ((0, 0), (3, 20), (9, 31), (24, 50)):
        covariance = design[pair, place].T @ np.diag(shapes.SIDE_SDS**2) @ design[pair, place] + np.diag(NOISE)
        expected = stats.multivariate_normal.logpdf(Y, np.zeros(len(Y)), covariance)
        assert evidence[pair, place] - CONSTANT == pytest.approx(expected)


def test_falls_on_both_sides_agree_with_brute_force():
    """Their share of the posterior, here of each side alone, is counted over draws of the coefficients."""
    scale, pair, random = shapes.scale_of(LEVELS), 18, np.random.default_rng(2)
    design = shapes._power_design(tuple(scale.points), tuple(scale.grid))
    _, falls = shapes._evidence_of_powers(scale, Y, NOISE)
    coefficients = random.standard_normal((400_000, 3)) * shapes.SIDE_SDS
    both = (coefficients[:, 1:] > 0).all(axis=1)
    for place in (22, 31):
        likelihood = np.exp(-0.5 * ((Y - coefficients @ design[pair, place]) ** 2 / NOISE).sum(axis=1))
        expected = np.log(likelihood[both].sum() / likelihood.sum() / both.mean())
        assert falls[pair, place] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("left, right", [(0.75, 3.0), (2.0, 2.0)])
def test_design_holds_the_curve_that_it_says(left, right):
    scale, place = shapes.scale_of(LEVELS), 25
    pair = shapes.POWERS.index(left) * len(shapes.POWERS) + shapes.POWERS.index(right)
    apart = scale.points - scale.grid[place]
    curve = 3 - np.where(apart < 0, 0.5 * np.abs(apart) ** left, 0.2 * np.abs(apart) ** right)
    design = shapes._power_design(tuple(scale.points), tuple(scale.grid))
    assert pytest.approx(curve) == design[pair, place].T @ [3, 0.5, 0.2]


def test_shares_of_powers_sum_to_one():
    assert np.exp(shapes._log_shares_of_powers()).sum() == pytest.approx(1)


def test_levels_are_places_of_the_grid_and_come_back_from_the_axis():
    scale = shapes.scale_of(LEVELS)
    assert scale.level(scale.points) == pytest.approx(LEVELS)
    assert np.isin(scale.points, scale.grid).all() and (np.diff(scale.grid) > 0).all()


def test_weights_are_probabilities_and_the_same_at_every_call():
    weights = shapes.peak_weights(LEVELS, Y, NOISE)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    shapes._normals.cache_clear()
    assert shapes.peak_weights(LEVELS, Y, NOISE).tobytes() == weights.tobytes()


def test_neither_description_counts_less_than_its_least_share():
    """Points on a sharp tent say a power; a quarter is left to processes."""
    scale = shapes.scale_of(LEVELS)
    means = -np.abs(scale.points - scale.points[3])
    y, noise = shapes._in_ranges(means, np.full(len(means), 1e-6))
    (process, log_process), (powers, log_powers) = (
        shapes._of_processes(scale, y, noise),
        shapes._of_powers(scale, y, noise),
    )
    share = 1 - shapes.LEAST_SHARE if log_powers > log_process else shapes.LEAST_SHARE
    assert abs(log_powers - log_process) > 3
    assert shapes.peak_weights(LEVELS, means, [1e-6] * len(means)) == pytest.approx(
        share * powers + (1 - share) * process
    )
