"""Kinds of claims: against statsmodels, against each other, and what they do without enough runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind

from warmscale.analysis.inference.cell import Cell, pooled_sd
from warmscale.analysis.inference.evidence import Evidence, given_convergence
from warmscale.analysis.inference.kinds import (
    above,
    below,
    best,
    better,
    equivalent,
    paired_better,
    paired_equivalent,
    trend,
    worst,
)
from warmscale.analysis.inference.kinds_levels import rank_contrast
from warmscale.analysis.inference.safe import safe_p, welch_p
from warmscale.analysis.inference.welch import difference

from .one_sided import p_better

seeds = st.integers(0, 300)
signs = st.sampled_from([1, -1])


def drawn(seed: int, *means: float, n: int = 5, sd: float = 0.2) -> list[Cell]:
    random = np.random.default_rng(seed)
    return [Cell.of(f"{mean:g}", random.normal(mean, sd, n)) for mean in means]


@given(seed=seeds, n=st.integers(2, 8), margin=st.floats(0, 1), sign=signs)
def test_better_supports_on_one_side_and_refutes_on_the_other(seed, n, margin, sign):
    a, b = drawn(seed, 75.3, 75.0, n=n)
    found, swapped = better([a], [b], sign=sign, margin=margin), better([b], [a], sign=sign, margin=-margin)
    assert found.p_support == pytest.approx(swapped.p_refute)
    assert found.p_refute == pytest.approx(swapped.p_support)
    assert found.estimate == pytest.approx(-swapped.estimate)
    apart = difference([a], [b])
    assert found.p_support == (apart.p_above(margin) if sign > 0 else apart.p_below(-margin))


@given(seed=seeds, margin=st.floats(0.05, 1))
def test_equivalent_is_statsmodels_two_one_sided_tests_made_safe(seed, margin):
    a, b = drawn(seed, 75.1, 75.0, n=6)
    p = ttost_ind(a.values, b.values, -margin, margin, usevar="unequal")[0]
    assert equivalent([a], [b], margin=margin).p_support == pytest.approx(safe_p(p, (5, 5)))


def test_a_difference_beyond_the_margin_is_refuted_two_sided():
    a, b = drawn(1, 76.0, 75.0)
    found = equivalent([a], [b], margin=0.3)
    assert found.p_refute == pytest.approx(
        better([a], [b], margin=0.3).p_support + better([a], [b], margin=-0.3).p_support
    )
    assert (found.supports_with, found.refute_share < 1) == ("outside", True)
    no_margin = equivalent([a], [b], margin=0.0)
    assert no_margin.p_refute == pytest.approx(2 * better([a], [b]).p_support)


@pytest.mark.parametrize("runs", [(5, 5), (2, 3)])
@pytest.mark.parametrize("ratio", [1, 5])
@pytest.mark.parametrize("margin", [0.0, 0.3, 1.0, 3.0])
def test_the_two_sided_refutation_holds_its_level(runs, ratio, margin):
    random = np.random.default_rng(3)
    refuted = 0
    for _ in range(1500):
        a = Cell.of("a", random.normal(margin, ratio, runs[0]))
        b = Cell.of("b", random.normal(0, 1, runs[1]))
        refuted += equivalent([a], [b], margin=margin).p_refute <= 0.05
    assert refuted / 1500 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


@given(seed=seeds, n=st.integers(2, 6), sign=signs)
def test_best_beats_its_strongest_rival_or_loses_to_some_level(seed, n, sign):
    level, *others = drawn(seed, 75.4, 75.0, 75.2, 75.3, n=n)
    found = best(level, others, sign=sign)
    assert found.p_support == max(p_better(level, other, sign=sign) for other in others)
    assert found.p_refute == min(1, 3 * min(p_better(other, level, sign=sign) for other in others))
    rival = min(sign * (level.mean - other.mean) for other in others)
    assert found.estimate == pytest.approx(sign * rival)


@given(seed=seeds, sign=signs)
def test_worst_is_best_of_the_negative(seed, sign):
    level, *others = drawn(seed, 75.0, 75.4, 75.2)
    found, mirrored = worst(level, others, sign=sign), best(level, others, sign=-sign)
    assert (found.p_support, found.p_refute) == (mirrored.p_support, mirrored.p_refute)


@given(seed=seeds, sign=signs, bound_alpha=st.floats(0.001, 0.3))
def test_the_interval_of_best_lies_around_its_estimate(seed, sign, bound_alpha):
    level, *others = drawn(seed, 75.4, 75.0, 75.2)
    found = best(level, others, sign=sign)
    assert found.lower(bound_alpha) <= found.estimate <= found.upper(bound_alpha)
    assert found.decision_low(bound_alpha) <= found.lower(bound_alpha)


@given(levels=st.integers(2, 8), change=st.floats(-5, 5))
def test_the_rank_contrast_of_a_straight_line_is_its_change(levels, change):
    line = np.linspace(75.0, 75.0 + change, levels)
    assert np.dot(rank_contrast(levels), line) == pytest.approx(change, abs=1e-9)


@given(seed=seeds, strict=st.booleans())
def test_two_levels_have_one_trend(seed, strict):
    low, high = drawn(seed, 75.0, 75.2)
    found = trend([low, high], increasing=True, strict=strict)
    assert found.estimate == pytest.approx(high.mean - low.mean)
    assert found.p_support == pytest.approx(p_better(high, low))
    assert found.p_refute == pytest.approx(p_better(low, high))


@given(seed=seeds, strict=st.booleans())
def test_decreasing_is_increasing_in_reverse_order(seed, strict):
    cells = drawn(seed, 75.0, 75.3, 75.1, 75.6)
    up, down = trend(cells, increasing=True, strict=strict), trend(cells[::-1], increasing=False, strict=strict)
    assert (up.p_support, up.p_refute) == pytest.approx((down.p_support, down.p_refute))
    assert up.reversed_p == down.reversed_p


def test_strict_asks_every_neighbouring_pair():
    cells = drawn(2, 75.0, 76.0, 76.0, 77.0)
    assert trend(cells, increasing=True).p_support < 1e-3
    assert trend(cells, increasing=True, strict=True).p_support > 0.05


@given(seed=seeds, value=st.floats(74.5, 75.5))
def test_above_is_students_one_sample_test_and_below_its_opposite(seed, value):
    (cell,) = drawn(seed, 75.0)
    up, down = above([cell], value), below([cell], value)
    assert up.p_support == pytest.approx(stats.ttest_1samp(cell.values, value, alternative="greater").pvalue)
    assert (up.p_support, up.p_refute) == pytest.approx((down.p_refute, down.p_support))
    assert (up.supports_with, down.supports_with) == ("low", "high")


def test_a_side_is_the_plain_mean_of_its_cells():
    a, b, c = drawn(4, 75.0, 76.0, 77.0)
    found = better([a, c], [b])
    assert found.estimate == pytest.approx((a.mean + c.mean) / 2 - b.mean)
    assert above([a, c], 75.5).estimate == pytest.approx((a.mean + c.mean) / 2)


def test_pairs_are_one_sample_tests_of_their_differences():
    a, b = np.array([75.3, 75.9, 75.5, 75.8]), np.array([75.0, 75.5, 75.3, 75.5])
    reference = stats.ttest_rel(a, b, alternative="greater")
    assert paired_better(a, b).p_support == pytest.approx(reference.pvalue)
    assert paired_better(b, a, sign=-1).p_support == pytest.approx(reference.pvalue)
    one_sided = stats.ttest_1samp(a - b, 0.5, alternative="less").pvalue
    assert paired_equivalent(a, b, margin=0.5).p_support == pytest.approx(one_sided)


def test_a_pair_with_a_diverged_run_is_won_by_the_other():
    a, b = [75.0] * 5, [74.0, math.nan, 74.1, 74.2, math.nan]
    found = paired_better(a, b)
    assert (found.estimate, found.p_support, found.diverged) == (1.0, pytest.approx(2.0**-5), 2)
    assert paired_better([math.nan] * 5, [math.nan] * 5).estimate == 0.5
    assert paired_equivalent(a, b, margin=0.5).p_support == 1.0


def every_kind(cells: list[Cell], spread: float = math.nan) -> list[Evidence]:
    a, b, c = cells
    return [
        better([a], [b], spread=spread),
        better([a, c], [b], spread=spread),
        equivalent([a], [b], margin=0.5, spread=spread),
        best(a, [b, c], spread=spread),
        worst(a, [b, c], spread=spread),
        trend(cells, increasing=True, spread=spread),
        trend(cells, increasing=False, strict=True, spread=spread),
        above([a], 75.0, spread=spread),
        below([a], 75.0, spread=spread),
    ]


def test_one_run_is_never_tested():
    for found in every_kind([Cell.of(name, [75.0 + place]) for place, name in enumerate("abc")], spread=0.2):
        assert (found.p_support, found.p_refute) == (None, None)
        assert math.isfinite(found.estimate)
        assert (found.lower(0.025), found.upper(0.025)) == (-math.inf, math.inf)
        assert (found.decision_low(0.025), found.decision_high(0.025)) == (-math.inf, math.inf)
        assert "fewer than two runs" in found.notes[0]


def test_equal_runs_without_any_spread_are_not_tested():
    for found in every_kind([Cell.of(name, [75.0] * 4) for name in "abc"], spread=0.0):
        assert (found.p_support, found.p_refute) == (None, None)
        assert "no test without a spread" in found.notes[0]
    found = every_kind([Cell.of(name, [75.0] * 4) for name in "abc"], spread=0.25)[0]
    assert found.p_support == pytest.approx(0.5)
    assert "pooled spread of 0.25" in found.notes[0]


def test_a_summary_with_diverged_runs_is_not_tested():
    summary = [Cell(name, 4, 75.0, 0.2, None, diverged=1) for name in "abc"]
    for found in every_kind(summary, spread=0.2):
        assert (found.p_support, found.p_refute) == (None, None)
        assert any("no rank test" in note for note in found.notes)


def test_a_summary_is_tested_like_its_runs():
    cells = drawn(5, 75.0, 75.3, 75.2)
    for found, known in zip(every_kind([replace(cell, values=None) for cell in cells]), every_kind(cells), strict=True):
        assert (found.p_support, found.p_refute) == (known.p_support, known.p_refute)


def test_a_diverged_run_asks_for_ranks_and_says_so():
    a, b, c = drawn(6, 76.0, 75.0, 75.0, n=8)
    diverged = Cell.of("b", b.values[:5], diverged=3)
    for found in every_kind([a, diverged, c], spread=0.2)[:7]:
        assert any("rank test" in note for note in found.notes)
        assert (found.n, found.diverged) == (8, 3)
    found = better([a], [diverged], spread=0.2)
    assert (found.estimand, found.estimate) == ("P(a better than b)", 1.0)
    assert found.p_support == pytest.approx(2.0**-8)
    text = given_convergence(found, 0.95)
    assert text.startswith(f"given convergence: difference {a.mean - diverged.mean:.2f}, 95 % interval ")
    assert given_convergence(better([a], [b]), 0.95) == ""


def test_best_uses_ranks_only_against_the_cells_that_diverged():
    level, other, third = drawn(7, 76.0, 75.0, 75.2, n=5)
    diverged = Cell.of("diverged", [], 5)
    found = best(level, [other, third, diverged], spread=0.2)
    assert found.p_support == pytest.approx(2.0**-5)  # the largest
    assert found.p_refute == 1
    assert math.isfinite(found.estimate)


@given(seed=seeds, step=st.floats(0, 1), n=st.sampled_from([3, 5]))
def test_a_better_level_is_supported_more_and_refuted_less(seed, step, n):
    cells = drawn(seed, 75.2, 75.0, 75.1, n=n)
    raised = [Cell.of("raised", [value + step for value in cells[0].values]), *cells[1:]]
    for place in (0, 3, 7):  # better, best, above
        before, after = every_kind(cells)[place], every_kind(raised)[place]
        assert after.p_support <= before.p_support + 1e-9
        assert after.p_refute >= before.p_refute - 1e-9


def test_support_and_refutation_never_add_up_to_less_than_one_by_much():
    for seed in range(20):
        for found in every_kind(drawn(seed, 75.3, 75.0, 75.1)):
            assert found.p_support + found.p_refute >= 1 - 1e-9 or found.supports_with in ("both", "outside")
            assert min(found.p_support, found.p_refute) > 0.0001 or max(found.p_support, found.p_refute) > 0.3


def test_the_plain_interval_is_welchs_and_the_decision_interval_is_wider():
    a, b = drawn(8, 75.3, 75.0, n=3)
    found = better([a], [b])
    reference = stats.ttest_ind(a.values, b.values, equal_var=False).confidence_interval(0.95)
    assert (found.lower(0.025), found.upper(0.025)) == pytest.approx((reference.low, reference.high))
    assert found.decision_low(0.025) == pytest.approx(found.lower(welch_p(0.025, (2, 2))))


def test_the_spread_is_that_of_the_experiment():
    cells = drawn(9, 75.0, 75.0, 75.0)
    assert better(cells[:1], cells[1:2], spread=pooled_sd(cells)).power(5, 0.05) == pytest.approx(
        better(cells[:1], cells[2:], spread=pooled_sd(cells)).power(5, 0.05)
    )
    assert math.isnan(better(cells[:1], cells[1:2]).power(5, 0.05))
