"""The best level and its interval: planted curves, what must not change them, and what cannot be had."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmscale.analysis.inference import shapes
from warmscale.analysis.inference.cell import Cell
from warmscale.analysis.inference.optimum import Optimum, optimum
from warmscale.analysis.inference.profile import TAILS, UNSEEN, profile

from .curves import GRID, POSTER_GRID, cells_at, parabola, planted

means_of_seven = st.lists(st.integers(-40, 40).map(lambda tenth: tenth / 10), min_size=7, max_size=7)
SEVEN = GRID[:7]


def found(levels, cells, sign=1, alpha=0.05, **options) -> Optimum:
    return optimum(levels, cells, sign=sign, alpha=alpha, **options)


def tent(levels, peak, steep=1.0):
    """Falls by half a point a doubling, and `steep` times as fast below the peak."""
    apart = np.log2((np.asarray(levels) + 1.25) / (peak + 1.25))
    return 75 - 0.5 * np.where(apart < 0, -steep * apart, apart)


def same(one: Optimum, other: Optimum, factor: float = 1.0) -> bool:
    """Up to rounding; weights on the edge of a tail may fall on either side of it."""
    ends = [(own.value, own.low, own.high) for own in (one, other)]
    return np.allclose(np.array(ends[0]) * factor, ends[1], rtol=0.15, atol=1e-6)


@pytest.mark.parametrize("curve", [parabola, tent, lambda levels, peak: tent(levels, peak, steep=2)])
@pytest.mark.parametrize("peak", [4.0, 5.0, 7.0, 13.0, 20.0])
def test_planted_peak_is_found_from_many_runs(curve, peak):
    result = found(*planted(peak, curve=curve, n=40, sd=0.02))
    assert result.bracketed and result.low <= peak <= result.high
    assert result.value == pytest.approx(peak, rel=0.2)
    assert result.high / result.low < 2.2
    assert result.levels_to_add == () and result.reason == ""


def test_interval_is_narrower_than_the_gap_between_levels_for_a_smooth_curve():
    result = found(*planted(7.0, n=40, sd=0.01))
    assert result.low > 5 and result.high < 10 and result.plausible == (5.0, 10.0)


def test_more_runs_narrow_the_interval():
    widths = [own.high / own.low for own in (found(*planted(7.0, n=n, sd=0.12)) for n in (3, 5, 16))]
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize("peak", [5.0, 10.0])
def test_grid_of_the_poster_does_not_bracket_its_own_optima(peak):
    result = found(*planted(peak, POSTER_GRID, sd=0.01))
    edge = {5.0: "beside the edge 0", 10.0: "beside the edge 20"}[peak]
    assert not result.bracketed and result.best == peak
    assert (
        result.reason
        == f"the best level, {peak:g}, is {edge}; 4 levels with two runs, 5 at least can bracket an optimum"
    )
    assert result.levels_to_add == {5.0: (2.5,), 10.0: (40.0,)}[peak]
    assert (result.low == 0, math.isinf(result.high)) == (peak == 5, peak == 10)


def test_four_levels_around_a_clear_peak_ask_for_one_more_on_each_side():
    result = found(*planted(7.0, POSTER_GRID, n=20, sd=0.005))
    assert not result.bracketed and result.levels_to_add == (2.5, 40.0)
    assert result.reason.startswith("the best level, 5, is beside the edge 0; 4 levels")


@pytest.mark.parametrize("peak", [5.0, 10.0])
def test_levels_to_add_do_bracket_an_optimum_that_was_not(peak):
    levels = list(POSTER_GRID)
    for _ in range(2):
        levels += found(*planted(peak, levels, sd=0.01)).levels_to_add
    assert found(*planted(peak, levels, sd=0.01)).bracketed


@pytest.mark.parametrize("levels", [(0.0, 5.0, 10.0, 20.0, 40.0), (2.0, 5.0, 10.0, 20.0, 40.0)])
def test_best_at_the_edge_asks_for_two_levels_beyond_it(levels):
    result = found(levels, cells_at([75, 74, 73, 72, 71]))
    smallest = next(level for level in levels if level)
    assert result.reason == f"may be best below 5, at or beside the edge {levels[0]:g}"
    assert result.levels_to_add == (smallest / 4, smallest / 2)
    result = found(levels, cells_at([71, 72, 73, 74, 75]))
    assert result.reason == "may be best above 20, at or beside the edge 40"
    assert result.levels_to_add == (80.0, 160.0)


@pytest.mark.parametrize("at", [1, 6])
def test_best_beside_the_edge_is_not_bracketed_however_many_runs_there_are(at):
    assert not found(GRID, cells_at([75.0 - abs(index - at) for index in range(8)], n=50, sd=0.01)).bracketed


def test_no_level_longer_than_the_training_is_proposed():
    assert found(GRID, cells_at(range(8)), longest=160).levels_to_add == (160.0,)
    assert found(GRID, cells_at(range(8)), longest=90).levels_to_add == ()


def test_one_run_a_level_leaves_everything_open():
    result = found(*planted(5.0, POSTER_GRID, n=1))
    assert (result.low, result.high, result.bracketed) == (0.0, math.inf, False)
    assert result.plausible == POSTER_GRID and result.best == result.value == 5.0
    assert result.levels_to_add == (2.5, 40.0)
    assert result.reason.startswith("the best level, 5, is beside the edge 0; 0 levels with two runs")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_levels_leave_everything_open(count):
    result = found(GRID[:count], cells_at(range(count)))
    assert (result.low, result.high, result.bracketed) == (0.0, math.inf, False)
    assert result.reason.startswith(f"{count} level")


@pytest.mark.parametrize("count", [3, 4])
def test_fewer_than_five_levels_bracket_nothing(count):
    assert not any(found(*planted(peak, GRID[:count], sd=1e-3)).bracketed for peak in GRID[:count])


def test_a_level_with_one_run_is_left_out_where_enough_remain():
    levels, cells = planted(10.0, sd=0.02)
    with_single = found([*levels, 15.0], [*cells, Cell.of("one run", [99.0])])
    assert with_single == found(levels, cells)


@pytest.mark.parametrize("rest", [(), (60.0,), (60.0, 61.0)])
def test_divergence_without_warmup_does_not_open_the_lower_end(rest):
    levels, cells = planted(10.0, sd=0.02)
    cells[0] = Cell.of("none", rest, diverged=5)
    result = found(levels, cells)
    assert result.bracketed and result.low <= 10 <= result.high


def test_divergence_in_some_runs_is_worse_than_none():
    levels, cells = planted(10.0, n=12, sd=0.02)
    cells[2] = Cell.of("some", [99.0] * 5, diverged=7)
    result = found(levels, cells)
    assert result.best == 10.0 and result.bracketed


def test_divergence_nearly_everywhere_leaves_nothing_to_tell():
    levels, cells = planted(10.0)
    cells[:6] = [Cell.of("lost", [], diverged=5)] * 6
    result = found(levels, cells)
    assert result.reason.startswith("fewer than three levels at which no run diverged")
    assert (result.low, result.high) == (0.0, math.inf)


def test_runs_that_are_all_equal_take_the_spread_that_is_given():
    levels, cells = planted(7.0, sd=0.0)
    assert found(levels, cells).low == 0.0
    narrow, wide = (found(levels, cells, spread=spread) for spread in (0.01, 0.2))
    assert 0 < wide.low < narrow.low < 7 < narrow.high < wide.high


def test_interval_holds_both_of_two_equal_peaks():
    result = found(SEVEN, cells_at([60, 65, 75, 70, 75, 65, 60], n=20, sd=0.01))
    assert result.low <= 2.5 and result.high >= 10


def test_equal_levels_are_all_plausible():
    result = found(SEVEN, cells_at([75.0] * 7))
    assert result.plausible == SEVEN and not result.bracketed


@pytest.mark.parametrize("levels", [(-1.0, 2.0), (2.0, 2.0), (1.0, math.inf), (math.nan, 1.0)])
def test_levels_that_make_no_grid_are_refused(levels):
    with pytest.raises(ValueError, match="levels are not different numbers from 0 up"):
        found(levels, cells_at([1, 2]))


@settings(max_examples=25)
@given(means=means_of_seven, small=st.floats(1e-6, 0.2), large=st.floats(1e-6, 0.5))
def test_a_smaller_alpha_never_gives_a_narrower_interval(means, small, large):
    small, large = sorted([small, large])
    curve = profile(SEVEN, cells_at(means, sd=0.5), sign=1)
    wide, narrow = curve.interval(small), curve.interval(large)
    assert wide[0] <= narrow[0] and narrow[1] <= wide[1]


@settings(max_examples=25)
@given(means=means_of_seven, alpha=st.floats(1e-4, 0.5))
def test_bracketed_is_two_levels_outside_the_interval_on_each_side(means, alpha):
    curve = profile(SEVEN, cells_at(means, sd=0.3), sign=1)
    low, high = curve.interval(alpha)
    below, above = curve.open_sides(alpha)
    assert (low == 0.0 if below else low > SEVEN[1]) and (high == math.inf if above else high < SEVEN[-2])
    assert (curve.p_open <= alpha) == (not below and not above)


def test_a_peak_that_is_clearly_inside_is_bracketed_however_few_curves_are_drawn():
    curve = profile(*planted(10.0, n=200, sd=1e-3), sign=1)
    assert max(curve.p_sides) < TAILS * UNSEEN / 100
    assert curve.interval(TAILS * UNSEEN * 0.99) == (GRID[1], GRID[-2])
    assert curve.interval(TAILS * UNSEEN * 1.01)[0] > GRID[1]


@settings(max_examples=20)
@given(means=means_of_seven)
def test_the_bound_on_curves_that_are_not_drawn_is_no_smaller_than_their_share(means):
    variances = [0.09] * len(SEVEN)
    scale = shapes.scale_of(SEVEN)
    share, _ = shapes._of_processes(scale, *shapes._in_ranges(np.array(means, dtype=float), np.array(variances)))
    for side in (scale.grid < scale.points[1] + 1e-9, scale.grid > scale.points[-2] - 1e-9):
        assert share[side].sum() <= shapes.chance_beyond(SEVEN, means, variances, side) + 4 / shapes.DRAWS**0.5


@settings(max_examples=15)
@given(means=means_of_seven, order=st.permutations(range(7)))
def test_order_and_labels_of_levels_do_not_matter(means, order):
    cells = cells_at(means, sd=0.5)
    relabelled = [dataclasses.replace(cells[index], label=f"x{place}") for place, index in enumerate(order)]
    assert found([SEVEN[index] for index in order], relabelled) == found(SEVEN, cells)


@settings(max_examples=15)
@given(means=means_of_seven, offset=st.integers(-50, 50), scale=st.sampled_from([0.25, 2.0, 64.0]))
def test_neither_offset_nor_unit_of_the_metric_matters(means, offset, scale):
    one = found(SEVEN, cells_at(means, sd=0.5))
    assert same(one, found(SEVEN, cells_at([offset + scale * mean for mean in means], sd=0.5 * scale)))


@settings(max_examples=15)
@given(means=means_of_seven)
def test_the_opposite_direction_is_the_metric_turned_round(means):
    one = found(SEVEN, cells_at(means, sd=0.5))
    assert same(one, found(SEVEN, cells_at([-mean for mean in means], sd=0.5), sign=-1))


@settings(max_examples=15)
@given(means=means_of_seven)
def test_twice_the_levels_give_twice_the_optimum(means):
    one = found(SEVEN, cells_at(means, sd=0.5))
    assert same(one, found([2 * level for level in SEVEN], cells_at(means, sd=0.5)), factor=2)


@pytest.mark.parametrize("curve", [parabola, tent, lambda levels, peak: tent(levels, peak, steep=3)])
def test_interval_covers_a_peak_between_levels(curve):
    rng, covered = np.random.default_rng(7), 0
    for _ in range(150):
        cells = [Cell.of("", rng.normal(mean, 0.12, 5)) for mean in curve(SEVEN, 6.7)]
        result = found(SEVEN, cells)
        covered += result.low <= 6.7 <= result.high
    assert covered >= 0.93 * 150
