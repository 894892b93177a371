"""The best level and its interval: planted curves, a second way to the interval, what must not change it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmscale.analysis.inference.cell import Cell
from warmscale.analysis.inference.optimum import Optimum, optimum, profile
from warmscale.analysis.inference.pairs import p_better

from .curves import GRID, POSTER_GRID, cells_at, parabola, planted

means_of_seven = st.lists(st.integers(-40, 40).map(lambda tenth: tenth / 10), min_size=7, max_size=7)
SEVEN = GRID[:7]


def found(levels, cells, sign=1, alpha=0.05, **options) -> Optimum:
    return optimum(levels, cells, sign=sign, alpha=alpha, **options)


@pytest.mark.parametrize("peak", [5.0, 10.0, 20.0])
def test_clear_peak_at_a_level_is_bracketed_by_its_neighbours(peak):
    result = found(*planted(peak, sd=0.02))
    at = GRID.index(peak)
    assert (result.low, result.high) == (GRID[at - 1], GRID[at + 1])
    assert result.bracketed and result.plausible == (peak,) and result.best == peak
    assert result.levels_to_add == () and result.reason == ""


@pytest.mark.parametrize("peak", [4.0, 7.0, 13.0])
def test_point_estimate_is_exact_for_a_parabola_in_the_stated_scale(peak):
    assert found(*planted(peak, sd=0.02)).value == pytest.approx(peak)


@pytest.mark.parametrize("peak, levels_to_add, high, low", [(5.0, (2.5,), 10.0, 0.0), (10.0, (40.0,), math.inf, 5.0)])
def test_grid_of_the_poster_does_not_bracket_its_own_optima(peak, levels_to_add, high, low):
    result = found(*planted(peak, POSTER_GRID, sd=0.01))
    edge = {5.0: "beside the edge 0", 10.0: "beside the edge 20"}[peak]
    assert not result.bracketed
    assert result.reason == f"may be best at {peak:g}, {edge}"
    assert (result.low, result.high) == (low, high)
    assert result.levels_to_add == levels_to_add


@pytest.mark.parametrize("peak", [5.0, 10.0])
def test_levels_to_add_do_bracket_an_optimum_that_was_not(peak):
    levels = [*POSTER_GRID, *found(*planted(peak, POSTER_GRID, sd=0.01)).levels_to_add]
    assert found(*planted(peak, levels, sd=0.01)).bracketed


@pytest.mark.parametrize("levels", [(0.0, 5.0, 10.0, 20.0, 40.0), (2.0, 5.0, 10.0, 20.0, 40.0)])
def test_best_at_the_edge_asks_for_two_levels_beyond_it(levels):
    result = found(levels, cells_at([75, 74, 73, 72, 71]))
    smallest = next(level for level in levels if level)
    assert result.reason == f"may be best at {levels[0]:g}, the edge"
    assert result.levels_to_add == (smallest / 4, smallest / 2)
    result = found(levels, cells_at([71, 72, 73, 74, 75]))
    assert (result.reason, result.levels_to_add) == ("may be best at 40, the edge", (80.0, 160.0))


def test_no_level_longer_than_the_training_is_proposed():
    assert found(GRID, cells_at(range(8)), longest=160).levels_to_add == (160.0,)
    assert found(GRID, cells_at(range(8)), longest=90).levels_to_add == ()


def test_one_run_a_level_leaves_everything_open():
    result = found(*planted(5.0, POSTER_GRID, n=1))
    assert (result.low, result.high, result.bracketed) == (0.0, math.inf, False)
    assert result.plausible == POSTER_GRID and result.best == 5.0
    assert result.levels_to_add == (2.5, 40.0)
    assert result.reason.endswith("a single run at 0, 5, 10, 20")


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


def test_divergence_without_warmup_does_not_open_the_lower_end():
    levels, cells = planted(10.0, sd=0.02)
    cells[0] = Cell.of("none", [], diverged=5)
    assert found(levels, cells) == found(*planted(10.0, sd=0.02))


def test_divergence_in_some_runs_is_worse_than_none():
    levels, cells = planted(10.0, n=12, sd=0.02)
    cells[2] = Cell.of("some", [99.0] * 5, diverged=7)
    result = found(levels, cells)
    assert result.best == 10.0 and result.bracketed


def test_a_valley_is_said_to_have_no_single_peak():
    result = found(GRID[:5], cells_at([75, 70, 65, 70, 75], sd=0.01))
    assert result.reason == "no single peak"
    assert (result.low, result.high, result.bracketed) == (0.0, math.inf, False)


def test_interval_holds_both_of_two_equal_peaks():
    result = found(SEVEN, cells_at([60, 65, 75, 70, 75, 65, 60], sd=0.01))
    assert result.plausible == (2.5, 10.0)
    assert (result.low, result.high) == (1.25, 20.0)


def test_equal_levels_are_all_plausible():
    result = found(SEVEN, cells_at([75.0] * 7))
    assert result.plausible == SEVEN and not result.bracketed


@pytest.mark.parametrize("levels", [(-1.0, 2.0), (2.0, 2.0), (1.0, math.inf), (math.nan, 1.0)])
def test_levels_that_make_no_grid_are_refused(levels):
    with pytest.raises(ValueError, match="levels are not different numbers from 0 up"):
        found(levels, cells_at([1, 2]))


def second_way(means: list[float], alpha: float) -> tuple[float, float] | None:
    """The interval from its definition: gaps in which no pair of levels near them contradicts a peak."""
    cells, last = cells_at(means, sd=0.5), len(means) - 1
    held = []
    for gap in range(last):
        pairs = [(i, gap) for i in range(last + 1) if gap - 3 <= i < gap]
        pairs += [(j, gap + 1) for j in range(last + 1) if gap + 1 < j <= gap + 4]
        p_values = [p_better(cells[winner], cells[loser]) for winner, loser in pairs]
        if min(p_values) * len(p_values) > alpha:
            held.append(gap)
    if not held:
        return None
    return (0.0 if held[0] == 0 else SEVEN[held[0]]), (math.inf if held[-1] == last - 1 else SEVEN[held[-1] + 1])


@given(means=means_of_seven, alpha=st.sampled_from([0.05, 0.2]))
def test_interval_agrees_with_its_definition(means, alpha):
    result = found(SEVEN, cells_at(means, sd=0.5), alpha=alpha)
    expected = second_way(means, alpha)
    assert (result.low, result.high) == (expected or (0.0, math.inf))
    assert (result.reason == "no single peak") == (expected is None)
    # level 0 is a level as any other, but its lower end cannot be told from an open one
    assert result.bracketed == (expected is not None and result.low > 0 and result.high <= SEVEN[-2])


@given(means=means_of_seven, small=st.floats(1e-6, 0.2), large=st.floats(1e-6, 0.5))
def test_a_smaller_alpha_never_gives_a_narrower_interval(means, small, large):
    small, large = sorted([small, large])
    curve = profile(SEVEN, cells_at(means, sd=0.5), sign=1)
    wide, narrow = curve.interval(small), curve.interval(large)
    assert narrow is None or (wide is not None and wide[0] <= narrow[0] and narrow[1] <= wide[1])


@given(means=means_of_seven, order=st.permutations(range(7)))
def test_order_and_labels_of_levels_do_not_matter(means, order):
    cells = cells_at(means, sd=0.5)
    relabelled = [dataclasses.replace(cells[index], label=f"x{place}") for place, index in enumerate(order)]
    assert found([SEVEN[index] for index in order], relabelled) == found(SEVEN, cells)


@given(means=means_of_seven, offset=st.integers(-50, 50), scale=st.sampled_from([0.25, 2.0, 64.0]))
def test_neither_offset_nor_unit_of_the_metric_matters(means, offset, scale):
    one = found(SEVEN, cells_at(means, sd=0.5))
    other = found(SEVEN, cells_at([offset + scale * mean for mean in means], sd=0.5 * scale))
    assert other.value == pytest.approx(one.value, abs=1e-6)
    assert dataclasses.replace(other, value=0) == dataclasses.replace(one, value=0)


@given(means=means_of_seven)
def test_the_opposite_direction_is_the_metric_turned_round(means):
    one = found(SEVEN, cells_at(means, sd=0.5))
    other = found(SEVEN, cells_at([-mean for mean in means], sd=0.5), sign=-1)
    assert other.value == pytest.approx(one.value, abs=1e-6)
    assert dataclasses.replace(other, value=0) == dataclasses.replace(one, value=0)


@given(means=means_of_seven)
def test_twice_the_levels_give_twice_the_optimum(means):
    one = found(SEVEN, cells_at(means, sd=0.5))
    other = found([2 * level for level in SEVEN], cells_at(means, sd=0.5))
    assert (other.value, other.low, other.high) == pytest.approx((2 * one.value, 2 * one.low, 2 * one.high))


def test_interval_covers_at_the_end_of_a_plateau():
    """The worst case for unimodality: half of the grid is as good as the best level, and only one side falls."""
    rng = np.random.default_rng(7)
    means, covered = np.array([75.0, 75, 75, 75, 75, 70, 65]), 0
    for _ in range(400):
        cells = [Cell.of("", rng.normal(mean, 0.3, 5)) for mean in means]
        result = found(SEVEN, cells)
        covered += result.low <= SEVEN[4] <= result.high
    assert covered >= 0.93 * 400


def test_parabola_helper_peaks_where_it_says():
    assert np.argmax(parabola(GRID, 5.0)) == GRID.index(5.0)
