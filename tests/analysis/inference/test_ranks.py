"""Rank tests: closed forms, levels enumerated, and what a diverged run means."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from warmscale.analysis.inference.cell import Cell
from warmscale.analysis.inference.compare import Median, compare
from warmscale.analysis.inference.divergence import divergence_interval
from warmscale.analysis.inference.ranks import critical_share, lower_share, p_share, upper_share, wins

from .one_sided import p_better

shares = st.floats(0, 1)
runs = st.integers(2, 12)
some_cells = st.builds(
    Cell.of,
    st.just("cell"),
    st.lists(st.integers(0, 9).map(float), max_size=5),
    st.integers(2, 4),
)


@given(n=runs)
def test_complete_separation_has_a_p_value_of_two_to_the_minus_n(n):
    assert p_share(1.0, n) == pytest.approx(2.0**-n)
    a, b = Cell.of("a", np.arange(n) + 100.0), Cell.of("b", [], n)
    assert p_better(a, b) == pytest.approx(2.0**-n)


def test_the_bound_is_that_of_the_formula():
    binomial = stats.binom(5, 0.5)
    excess = [sum((k - h) * binomial.pmf(k) for k in range(h, 6)) for h in range(5)]
    for share in (0.55, 0.7, 0.84, 0.92):
        expected = min(excess[h] / (5 * share - h) for h in range(5) if 5 * share > h)
        assert p_share(share, 5) == pytest.approx(min(1.0, expected))


@given(n=runs, count=st.integers(0, 12))
def test_the_bound_is_never_below_the_binomial_tail(n, count):
    share = min(count, n) / n
    assert p_share(share, n) >= stats.binom.sf(min(count, n) - 1, n, 0.5) - 1e-12


@given(n=runs, low=shares, high=shares)
def test_a_larger_share_never_raises_the_p_value(n, low, high):
    low, high = sorted([low, high])
    assert p_share(high, n) <= p_share(low, n) + 1e-9


@given(n=runs, share=shares, alpha=st.floats(1e-4, 0.5))
def test_shares_from_the_critical_one_on_are_significant(n, share, alpha):
    critical = critical_share(alpha, n)
    if abs(share - critical) > 1e-6:
        assert (share > critical) == (p_share(share, n) <= alpha)


@given(n=runs, share=shares, alpha=st.floats(1e-3, 0.4))
def test_bounds_of_a_share_are_where_the_p_value_is_the_level(n, share, alpha):
    low = lower_share(share, n, alpha)
    assert 0 <= low <= share + 1e-9 or low == 0
    if low > 1e-6:
        assert p_share(share, n, low) == pytest.approx(alpha, rel=1e-4)
    assert upper_share(share, n, alpha) == pytest.approx(1 - lower_share(1 - share, n, alpha))


@pytest.mark.parametrize("n", range(2, 11))
@pytest.mark.parametrize("level", [0.25, 0.05, 0.005])
def test_a_constant_cell_against_one_that_diverges_half_of_the_time_keeps_its_level(n, level):
    chance = {wins_of_constant: stats.binom.pmf(wins_of_constant, n, 0.5) for wins_of_constant in range(n + 1)}
    assert sum(p for won, p in chance.items() if p_share(won / n, n) <= level) <= level


def test_mann_whitneys_exact_p_value_does_not_keep_it():
    diverged, constant = [-1.0] * 4, [0.0, 0.001, 0.002, 0.003]  # all four diverge with a chance of 1 / 16
    assert stats.mannwhitneyu(constant, diverged, alternative="greater", method="exact").pvalue < 1 / 16 / 4
    assert p_share(1.0, 4) == pytest.approx(1 / 16)


@pytest.mark.parametrize("chances", [(0.5, 0.5, 0.0), (0.2, 0.3, 0.5), (1 / 3, 1 / 3, 1 / 3), (0.05, 0.9, 0.05)])
@pytest.mark.parametrize("sizes", [(2, 2), (2, 4), (3, 3)])
def test_the_level_holds_for_any_two_distributions_that_win_as_often(chances, sizes):
    """a is drawn from 0 (diverged), 2, 4; b is the mixture of 1 and 3, or of both sides of it, that makes it even."""
    beats_1, beats_3 = chances[1] + chances[2], chances[2]
    if beats_3 > 0.5 or beats_1 < 0.5:
        return
    weight = (0.5 - beats_3) / (beats_1 - beats_3) if beats_1 > beats_3 else 1.0
    a_values, b_values = {0.0: chances[0], 2.0: chances[1], 4.0: chances[2]}, {1.0: weight, 3.0: 1 - weight}
    for alpha in (0.25, 0.1):
        total = 0.0
        for a in product(a_values, repeat=sizes[0]):
            for b in product(b_values, repeat=sizes[1]):
                if p_share(wins(np.array(a), np.array(b)), min(sizes)) <= alpha:
                    total += math.prod(a_values[x] for x in a) * math.prod(b_values[x] for x in b)
        assert total <= alpha + 1e-9


@given(a=some_cells, b=some_cells, sign=st.sampled_from([1, -1]))
def test_the_sides_share_all_pairs_between_them(a, b, sign):
    n = min(a.runs, b.runs)
    forth, back = p_better(a, b, sign=sign), p_better(b, a, sign=sign)
    assert max(forth, back) >= min(1.0, p_share(0.5, n)) - 1e-9


def test_a_diverged_run_is_worse_than_any_other_whatever_the_direction():
    diverged, fine = Cell.of("diverged", [99.0], 4), Cell.of("fine", [1.0, 2.0, 3.0, 4.0, 5.0])
    assert p_better(fine, diverged, sign=-1) < p_better(diverged, fine, sign=-1)
    assert p_better(Cell.of("fine", [1.0] * 5), Cell.of("all", [], 5), sign=-1) == pytest.approx(2.0**-5)


def test_two_cells_that_always_diverge_are_neither_better_nor_told_to_be_equal():
    a, b = Cell.of("a", [], 5), Cell.of("b", [], 5)
    assert p_better(a, b) == p_better(b, a) == 1.0
    found = compare([a], [b])
    assert (found.lower(0.05), found.upper(0.05), found.estimate) == (-math.inf, math.inf, 0.0)


def test_the_median_of_differences_is_infinite_where_a_side_always_diverges():
    found = compare([Cell.of("a", [75.0] * 6)], [Cell.of("b", [], 6)])
    assert (found.estimate, found.lower(0.05), found.upper(0.05)) == (math.inf, math.inf, math.inf)
    smaller_is_better = compare([Cell.of("a", [25.0] * 6)], [Cell.of("b", [], 6)], sign=-1)
    assert smaller_is_better.estimate == -math.inf


@given(a=some_cells, b=some_cells, alpha=st.floats(0.01, 0.6), bound=st.integers(-4, 4), sign=st.sampled_from([1, -1]))
def test_the_bounds_of_a_median_exclude_a_value_exactly_where_the_test_does(a, b, alpha, bound, sign):
    found = compare([a], [b], sign=sign)
    assert isinstance(found, Median)
    for p in (found.p_above(bound), found.p_below(bound)):
        if abs(p - alpha) < 1e-6:
            return
    assert (found.decision_low(alpha) > bound) == (found.p_above(bound) <= alpha)
    assert (found.decision_high(alpha) < bound) == (found.p_below(bound) <= alpha)


def test_clopper_and_pearsons_interval_is_statsmodels_beta_interval():
    from statsmodels.stats.proportion import proportion_confint

    for count, number in ((0, 5), (2, 5), (5, 5), (3, 16)):
        expected = proportion_confint(count, number, alpha=0.1, method="beta")
        found = divergence_interval(count, number, 0.9)
        assert found == pytest.approx((expected[0] if count else 0.0, expected[1] if count < number else 1.0))


def test_without_a_run_every_chance_to_diverge_is_possible():
    assert divergence_interval(0, 0) == (0.0, 1.0)
