"""The exponent: draws and a linear programme as second ways, p-values, refusals, what must not change it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from warmscale.analysis.inference import exponent as module
from warmscale.analysis.inference.exponent import RIVALS, Exponent, exponent, line_passes
from warmscale.analysis.inference.profile import TAILS

from .curves import GRID, POSTER_GRID, cells_at, planted

SIZES = (7_680, 30_720, 122_880)
FINE = (0.0, *(0.625 * 2 ** (step / 2) for step in range(18)))
WIDE = (0.0, *(0.3125 * 2**step for step in range(12)))


def grown(p: float, at_first: float = 5.0, sizes=SIZES[:2], levels=GRID, **cell):
    """Profiles whose optima follow a power law exactly."""
    return sizes, [planted(at_first * (size / sizes[0]) ** p, levels, **cell) for size in sizes]


def ends(result: Exponent) -> tuple[float, float, float]:
    return result.p, result.low, result.high


@pytest.mark.parametrize("p", RIVALS)
def test_exponent_of_curves_and_grids_that_grow_together_is_found(p):
    levels, cells = planted(6.0, GRID, n=16, sd=0.02)
    grids = [[level * (size / SIZES[0]) ** p for level in levels] for size in SIZES]
    result = exponent(SIZES, [(grid, cells) for grid in grids], sign=1)
    assert result.refused == "" and result.fits
    assert result.p == pytest.approx(p, abs=0.02)
    assert result.low <= p <= result.high and result.high - result.low < 0.4


@pytest.mark.parametrize("p", [0.25, 0.5])
def test_exponent_is_found_on_one_grid_for_all_sizes(p):
    result = exponent(*grown(p, at_first=4.0, sizes=(1, 2, 8, 32), n=16, sd=0.05), sign=1)
    assert result.low <= p <= result.high
    assert result.p_value(0) < 0.01


def test_more_sizes_narrow_the_interval():
    two = exponent(*grown(0.5, levels=FINE, sd=0.02), sign=1)
    three = exponent(*grown(0.5, sizes=SIZES, levels=FINE, sd=0.02), sign=1)
    assert three.high - three.low < two.high - two.low


def test_more_runs_narrow_the_interval():
    few, many = (exponent(*grown(0.5, n=n, sd=0.1), sign=1) for n in (4, 16))
    assert many.high - many.low < few.high - few.low


def test_grid_of_the_poster_is_refused_with_levels_to_add():
    profiles = [planted(5.0, POSTER_GRID, sd=0.01), planted(10.0, POSTER_GRID, sd=0.01)]
    result = exponent(SIZES[:2], profiles, sign=1)
    few = "4 levels with two runs, 5 at least can bracket an optimum"
    assert result.refused == (
        f"not bracketed at 95 %: 7,680 the best level, 5, is beside the edge 0; {few}; "
        f"30,720 the best level, 10, is beside the edge 20; {few}"
    )
    assert result.levels_to_add == ((2.5,), (40.0,))
    assert math.isnan(result.p) and (result.low, result.high) == (-math.inf, math.inf)
    assert [result.p_value(rival) for rival in RIVALS] == [1.0] * 4
    assert all(math.isnan(value) for value in result.line(10_000))


@pytest.mark.parametrize("sizes", [(), (7_680,)])
def test_one_size_is_refused(sizes):
    result = exponent(sizes, [planted(5.0)] * len(sizes), sign=1)
    assert result.refused.endswith("two at least")
    assert (result.low, result.high) == (-math.inf, math.inf)
    assert result.p_value(0.5) == result.p_support(-9, 9) == result.p_refute(5, 9) == 1.0


def test_an_optimum_at_the_edge_of_its_grid_refuses_the_exponent():
    result = exponent(SIZES[:2], [(GRID, cells_at(range(8, 0, -1))), planted(10.0)], sign=1)
    assert result.refused.startswith("not bracketed at 95 %: 7,680 may be best below 1.25")
    assert result.levels_to_add == ((0.3125, 0.625), ())
    assert [result.p_value(rival) for rival in RIVALS] == [1.0] * 4


@pytest.mark.parametrize("sizes", [(0, 8), (8, 8), (-1, 8), (math.inf, 8)])
def test_sizes_that_make_no_law_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes are not different numbers above 0"):
        exponent(sizes, [planted(5.0)] * 2, sign=1)


def test_neither_order_nor_unit_of_sizes_matters():
    sizes, profiles = grown(0.5, sizes=SIZES, levels=FINE)
    one = exponent(sizes, profiles, sign=1)
    assert ends(exponent(sizes[::-1], profiles[::-1], sign=1)) == ends(one)
    assert ends(exponent([size / 256 for size in sizes], profiles, sign=1)) == pytest.approx(ends(one))


def test_the_unit_of_the_levels_does_not_matter():
    sizes, profiles = grown(0.5, sizes=SIZES)
    in_steps = [([8 * level for level in levels], cells) for levels, cells in profiles]
    assert ends(exponent(sizes, in_steps, sign=1)) == pytest.approx(ends(exponent(sizes, profiles, sign=1)), abs=0.02)


def test_turning_the_metric_round_changes_nothing():
    sizes, profiles = grown(0.5, levels=FINE)
    turned = [(levels, cells_at([-cell.mean for cell in own])) for levels, own in profiles]
    assert ends(exponent(sizes, turned, sign=-1)) == pytest.approx(ends(exponent(sizes, profiles, sign=1)))


def test_the_same_runs_give_the_same_bytes():
    one = exponent(*grown(0.5), sign=1)
    module._shares.cache_clear()
    assert np.array(ends(exponent(*grown(0.5), sign=1))).tobytes() == np.array(ends(one)).tobytes()


def test_optima_off_every_line_are_said_to_follow_no_power_law():
    result = exponent(SIZES, [planted(peak, FINE, sd=0.005) for peak in (5.0, 40.0, 5.0)], sign=1)
    assert not result.refused and not result.fits
    assert result.p_support(-9, 9) == result.p_refute(5, 9) == 1.0
    assert all(math.isnan(value) for value in result.line(10_000))


def noisy(seed: int) -> Exponent:
    """Three profiles with noise, so that p-values are neither 0 nor 1."""
    rng = np.random.default_rng(seed)
    sizes, profiles = grown(0.5, sizes=SIZES, levels=WIDE)
    cells = [cells_at([cell.mean + rng.normal(0, 0.05) for cell in own], sd=0.12) for _, own in profiles]
    return exponent(sizes, [(WIDE, own) for own in cells], sign=1)


def test_slopes_agree_with_peaks_drawn_one_by_one():
    """A place of the grid by its probability, and least squares by NumPy."""
    result, random = noisy(0), np.random.default_rng(3)
    peaks = [random.choice(own.scale.grid, 20_000, p=own.weights / own.weights.sum()) for own in result.curves]
    logs = np.log([own.scale.level(places) for own, places in zip(result.curves, peaks, strict=True)])
    slopes = np.polyfit(np.log(result.sizes), logs, 1, w=np.sqrt(1 / logs.var(axis=1)))[0]
    tail = 0.05 / TAILS
    assert result.p == pytest.approx(np.median(slopes), abs=0.02)
    assert (result.low, result.high) == pytest.approx(np.quantile(slopes, (tail, 1 - tail)), abs=0.04)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rival", [0.0, 0.3, 0.5, 0.8])
def test_a_rival_is_excluded_from_its_p_value_on(seed, rival):
    result = noisy(seed)
    p = result.p_value(rival)
    for alpha in np.geomspace(1e-4, 0.999, 30):
        low, high = result.interval(alpha)
        if abs(math.log(alpha / p)) > 0.1:  # the interval is of finitely many draws
            assert (not low <= rival <= high) == (alpha > p)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bounds", [(0.2, 0.8), (0.4, 1.0), (-math.inf, 0.6), (0.7, 4.0)])
def test_support_and_refutation_begin_at_their_p_values(seed, bounds):
    result = noisy(seed)
    support, refute = result.p_support(*bounds), result.p_refute(*bounds)
    for alpha in np.geomspace(1e-4, 0.999, 30):
        low, high = result.interval(alpha)
        if abs(math.log(alpha / support)) > 0.1:
            assert (bounds[0] <= low and high <= bounds[1]) == (alpha > support)
        if abs(math.log(alpha / refute)) > 0.1:
            assert (high < bounds[0] or bounds[1] < low) == (alpha > refute)


@pytest.mark.parametrize("seed", range(3))
def test_interval_of_the_result_is_that_at_its_confidence_and_nested_in_wider_ones(seed):
    result = noisy(seed)
    assert result.interval(0.05) == pytest.approx((result.low, result.high))
    intervals = [result.interval(alpha) for alpha in np.geomspace(1e-4, 0.9, 20)]
    pairs = itertools.pairwise(intervals)
    assert all(wide[0] <= narrow[0] and narrow[1] <= wide[1] for wide, narrow in pairs)


def test_no_p_value_is_smaller_than_where_an_optimum_opens():
    result = noisy(0)
    assert result.p_value(99.0) == result.p_refute(50, 99) == max(result.p_open, TAILS / (module.DRAWS + 1))
    assert result.interval(result.p_open * 0.99) == (-math.inf, math.inf)


@pytest.mark.parametrize("size", [5_000, 7_680, 15_000, 30_720, 200_000])
def test_fitted_line_lies_within_its_band_and_rises_by_the_exponent(size):
    result = noisy(1)
    fitted, low, high = result.line(size)
    assert low <= fitted <= high
    assert math.log(result.line(4 * size)[0] / fitted) / math.log(4) == pytest.approx(result.p, abs=0.05)


intervals = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(1, 12)).map(lambda ends: (ends[0] / 10, (ends[0] + ends[1]) / 10)),
    min_size=2,
    max_size=4,
)


@given(own=intervals)
def test_a_line_passes_where_a_linear_programme_finds_one(own):
    x, (low, high) = np.array([0.0, 0.7, 1.4, 3.0])[: len(own)], np.array(own).T
    rows = np.column_stack([np.ones_like(x), x, np.ones_like(x)])  # the third: how far it passes inside all of them
    bounds = np.concatenate([high, -low])
    table = np.vstack([rows, rows * [-1, -1, 1]])
    found = linprog([0, 0, -1], table, bounds, bounds=[(None, None)] * 3)
    assume(abs(found.fun) > 1e-6)
    assert line_passes(np.exp(x), np.exp(own)) == (found.fun < 0)
