"""Welch's tests and intervals against scipy and statsmodels, and the level of the safe ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from warmscale.analysis.inference.cell import Cell, pooled_sd
from warmscale.analysis.inference.safe import safe_p, welch_p
from warmscale.analysis.inference.welch import contrast, difference

from .one_sided import p_better

levels = st.floats(1e-6, 0.4)
sizes = st.integers(2, 8)


def two_cells(seed: int, n_a: int, n_b: int, ratio: float = 1.0) -> tuple[Cell, Cell]:
    random = np.random.default_rng(seed)
    return Cell.of("a", random.normal(75.4, 0.2, n_a)), Cell.of("b", random.normal(75.0, 0.2 * ratio, n_b))


@given(seed=st.integers(0, 1000), n_a=sizes, n_b=sizes, alpha=st.sampled_from([0.005, 0.025, 0.1]))
def test_the_interval_is_scipys_for_unequal_variances(seed, n_a, n_b, alpha):
    a, b = two_cells(seed, n_a, n_b, 3)
    found = difference([a], [b])
    reference = stats.ttest_ind(a.values, b.values, equal_var=False)
    assert found.df == pytest.approx(reference.df)
    interval = reference.confidence_interval(1 - 2 * alpha)
    assert found.lower(alpha) == pytest.approx(interval.low)
    assert found.upper(alpha) == pytest.approx(interval.high)


@given(seed=st.integers(0, 1000), n_a=sizes, n_b=sizes)
def test_a_safe_p_value_is_never_below_welchs(seed, n_a, n_b):
    a, b = two_cells(seed, n_a, n_b, 3)
    reference = stats.ttest_ind_from_stats(a.mean, a.sd, n_a, b.mean, b.sd, n_b, equal_var=False, alternative="greater")
    assert p_better(a, b) >= reference.pvalue * (1 - 1e-9)


@given(alpha=levels, n_a=st.integers(2, 12), n_b=st.integers(2, 12))
def test_welch_p_undoes_safe_p(alpha, n_a, n_b):
    dofs = (n_a - 1, n_b - 1)
    below = welch_p(alpha, dofs)
    if below:
        assert safe_p(below, dofs) == pytest.approx(alpha, rel=1e-6)
    else:
        assert safe_p(1e-300, dofs) > alpha


@given(low=levels, high=levels, n_a=sizes, n_b=sizes)
def test_a_smaller_p_value_stays_the_smaller_one(low, high, n_a, n_b):
    low, high = sorted([low, high])
    assert safe_p(low, (n_a - 1, n_b - 1)) <= safe_p(high, (n_a - 1, n_b - 1))


def test_one_cell_is_students_test():
    cell = Cell.of("a", [75.1, 75.3, 75.2, 75.6])
    reference = stats.ttest_1samp(cell.values, 75.0, alternative="greater")
    assert contrast([cell], [1.0]).p_above(75.0) == pytest.approx(reference.pvalue)
    assert safe_p(0.001, (3,)) == 0.001


@pytest.mark.parametrize(
    ("n", "level", "ratio"),
    [(3, 0.05, 1.075), (3, 0.0167, 1.27), (3, 0.005, 1.70), (3, 0.001, 2.85), (2, 0.001, 3.41)],
)
def test_the_worst_size_of_welchs_test_is_what_was_measured(n, level, ratio):
    assert safe_p(level, (n - 1, n - 1)) / level == pytest.approx(ratio, rel=0.01)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("ratio", [1, 3, 10, 30, 100])
def test_decisions_on_a_difference_hold_their_level_whatever_the_spreads(n, ratio):
    p_values = _p_values((n, n), (1, ratio), draws=150_000)
    for alpha in (0.05, 0.005):
        share = np.mean(p_values <= welch_p(alpha, (n - 1, n - 1)))
        assert share <= alpha + 4 * math.sqrt(alpha / len(p_values))


def test_of_many_runs_safe_and_plain_p_values_are_nearly_the_same():
    for n in (30, 57, 200):
        assert safe_p(0.01, (n - 1, n - 1)) == pytest.approx(0.01, rel=0.02)


def test_welchs_own_test_does_not_hold_its_level():
    assert np.mean(_p_values((3, 3), (1, 10), draws=150_000) <= 0.005) > 0.0075


@pytest.mark.parametrize("spreads", [(1, 1, 1, 1), (1, 3, 9, 27), (10, 1, 1, 1), (1, 0.05, 0.1, 0.07), (5, 4, 1, 1)])
@pytest.mark.parametrize("runs", [(3, 3, 3, 3), (3, 5, 3, 5)])
def test_decisions_on_a_contrast_of_four_cells_hold_their_level(spreads, runs):
    p_values = _p_values(runs, spreads, draws=60_000)
    for alpha in (0.05, 0.005):
        share = np.mean(p_values <= welch_p(alpha, tuple(n - 1 for n in runs)))
        assert share <= alpha + 4 * math.sqrt(alpha / len(p_values))


def _p_values(runs: tuple[int, ...], spreads: tuple[float, ...], draws: int) -> np.ndarray:
    """Welch's p-values of a contrast that is 0 (draws)."""
    random = np.random.default_rng(7)
    dofs, n, sds = np.array(runs) - 1, np.array(runs), np.array(spreads, dtype=float)
    estimates = random.normal(size=(draws, len(runs))) @ (sds / np.sqrt(n))
    variances = random.chisquare(dofs, size=(draws, len(runs))) / dofs * sds**2 / n
    total = variances.sum(axis=1)
    df = total**2 / (variances**2 / dofs).sum(axis=1)
    estimates = random.standard_normal(draws) * math.sqrt((sds**2 / n).sum())
    return special.stdtr(df, -estimates / np.sqrt(total))


@given(seed=st.integers(0, 200), n=sizes, alpha=levels, bound=st.floats(-1, 1))
def test_the_decision_bound_is_where_the_p_value_is_the_level(seed, n, alpha, bound):
    found = difference(*([cell] for cell in two_cells(seed, n, n)))
    assert (found.decision_low(alpha) > bound) == (found.p_above(bound) <= alpha)
    assert (found.decision_high(alpha) < bound) == (found.p_below(bound) <= alpha)


@given(seed=st.integers(0, 200), n=sizes, step=st.floats(0.001, 2))
def test_a_larger_difference_never_raises_the_p_value(seed, n, step):
    a, b = two_cells(seed, n, n)
    assert p_better(Cell.of("a", [value + step for value in a.values]), b) <= p_better(a, b) + 1e-12


@given(seed=st.integers(0, 200), n=sizes, shift=st.floats(-50, 50), factor=st.floats(0.01, 100))
def test_units_do_not_matter(seed, n, shift, factor):
    a, b = two_cells(seed, n, n)
    moved = [Cell.of("", [factor * value + shift for value in cell.values]) for cell in (a, b)]
    assert p_better(*moved, margin=factor * 0.1) == pytest.approx(p_better(a, b, margin=0.1), rel=1e-5)


@given(seed=st.integers(0, 200), n=sizes, margin=st.floats(0, 1))
def test_smaller_is_better_is_larger_is_better_of_the_negative(seed, n, margin):
    a, b = two_cells(seed, n, n)
    negative = [Cell.of("", [-value for value in cell.values]) for cell in (a, b)]
    assert p_better(a, b, sign=-1, margin=margin) == pytest.approx(p_better(*negative, margin=margin))


def test_equal_runs_borrow_the_spread_of_the_experiment_or_are_not_tested():
    equal, other = Cell.of("equal", [75.3] * 3), Cell.of("other", [75.0, 75.1, 74.9])
    assert equal.sd == 0
    assert p_better(equal, other) is None
    borrowed = Cell("equal", 3, 75.3, 0.2)
    assert p_better(equal, other, spread=0.2) == p_better(borrowed, other)
    assert p_better(equal, other, spread=0.0) is None


def test_one_run_has_a_difference_but_no_interval_and_no_p_value():
    found = difference([Cell.of("a", [75.0])], [Cell.of("b", [74.0, 74.2])])
    assert found.estimate == pytest.approx(0.9)
    assert (found.lower(0.025), found.upper(0.025), found.p_above(0)) == (-math.inf, math.inf, None)


def test_the_pooled_spread_weighs_by_degrees_of_freedom():
    assert pooled_sd([Cell("a", 3, 0, 1.0), Cell("b", 5, 0, 2.0), Cell("c", 1, 0, math.nan)]) == math.sqrt(18 / 6)
