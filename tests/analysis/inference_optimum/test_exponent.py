"""The exponent: a linear programme and a search over a grid as second ways, p-values, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from warmscale.analysis.inference.exponent import RIVALS, PowerLaws, exponent, meanings

from .curves import GRID, POSTER_GRID, cells_at, planted

SIZES = (7_680, 30_720, 122_880)
FINE = (0.0, *(0.625 * 2 ** (step / 2) for step in range(18)))
WIDE = (0.0, *(0.3125 * 2**step for step in range(12)))


def grown(p: float, at_first: float = 5.0, sizes=SIZES[:2], levels=GRID, **cell):
    """Profiles whose optima follow a power law exactly."""
    return sizes, [planted(at_first * (size / sizes[0]) ** p, levels, **cell) for size in sizes]


intervals = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(0, 12)).map(lambda ends: (ends[0] / 10, (ends[0] + ends[1]) / 10)),
    min_size=2,
    max_size=4,
)


def laws_of(ends) -> PowerLaws:
    low, high = np.array(ends).T
    return PowerLaws(np.array([0.0, 0.7, 1.4, 3.0])[: len(ends)], low, high)


def extreme(laws: PowerLaws, of_height: float, of_slope: float) -> float | None:
    """Smallest value of a linear function of height and slope, by linear programming; None where nothing fits."""
    rows = np.column_stack([np.ones_like(laws.x), laws.x])
    bounds = np.concatenate([laws.high, -laws.low])
    found = linprog([of_height, of_slope], np.vstack([rows, -rows]), bounds, bounds=[(None, None)] * 2)
    return found.fun if found.status == 0 else None


@given(ends=intervals)
def test_slopes_agree_with_a_linear_programme(ends):
    laws = laws_of(ends)
    smallest = extreme(laws, 0, 1)
    # a programme that is feasible by less than its tolerance says nothing
    assume(laws.slopes is None or laws.slopes[1] - laws.slopes[0] > 1e-6)
    if laws.slopes is None:
        touching = PowerLaws(laws.x, laws.low - 1e-6, laws.high + 1e-6).slopes
        assert smallest is None or touching is not None
    else:
        assert laws.slopes == pytest.approx((smallest, -extreme(laws, 0, -1)), abs=1e-6)


@given(ends=intervals)
def test_slopes_agree_with_a_search_over_heights_and_slopes(ends):
    laws = laws_of(ends)
    heights, slopes = np.meshgrid(np.linspace(-12, 12, 241), np.linspace(-6, 6, 241))
    lines = heights[..., None] + slopes[..., None] * laws.x
    fits = ((lines >= laws.low - 1e-9) & (lines <= laws.high + 1e-9)).all(axis=-1)
    if laws.slopes is None:
        assert not fits.any()
    else:
        assert (slopes[fits] >= laws.slopes[0] - 1e-6).all() and (slopes[fits] <= laws.slopes[1] + 1e-6).all()


@given(ends=intervals, x=st.floats(-1, 4))
def test_band_agrees_with_a_linear_programme(ends, x):
    laws = laws_of(ends)
    assume(laws.slopes is not None and laws.slopes[1] - laws.slopes[0] > 1e-6)
    assert laws.band(x) == pytest.approx((extreme(laws, 1, x), -extreme(laws, -1, -x)), abs=1e-5)


@pytest.mark.parametrize("p", RIVALS)
def test_exponent_of_planted_optima_is_found_and_in_its_interval(p):
    result = exponent(*grown(p, at_first=2.5, levels=WIDE, sd=0.01), sign=1)
    assert result.refused == "" and result.fits
    # the points are vertices in log(level + smallest level): near the truth, not on it
    assert result.p == pytest.approx(p, abs=0.05)
    assert result.low <= p <= result.high


def test_two_sizes_give_the_closed_form():
    result = exponent(*grown(1.0, sd=0.01), sign=1)
    (low, high), (low2, high2) = [(found.low, found.high) for found in result.optima]
    assert (low, high, low2, high2) == (2.5, 10.0, 10.0, 40.0)
    assert (result.low, result.high) == pytest.approx((0.0, 2.0))


def test_more_sizes_narrow_the_interval():
    two = exponent(*grown(0.5, levels=FINE, sd=0.01), sign=1)
    three = exponent(*grown(0.5, sizes=SIZES, levels=FINE, sd=0.01), sign=1)
    assert three.high - three.low < two.high - two.low


def test_grid_of_the_poster_is_refused_with_levels_to_add():
    profiles = [planted(5.0, POSTER_GRID, sd=0.01), planted(10.0, POSTER_GRID, sd=0.01)]
    result = exponent(SIZES[:2], profiles, sign=1)
    assert result.refused == (
        "not bracketed at 97.5 %: 7,680 may be best at 5, beside the edge 0; "
        "30,720 may be best at 10, beside the edge 20"
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
    assert result.p_value(0.5) == result.p_support(-9, 9) == result.p_refute(5, 9) == result.p_fit == 1.0


@pytest.mark.parametrize("sizes", [(0, 8), (8, 8), (-1, 8), (math.inf, 8)])
def test_sizes_that_make_no_law_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes are not different numbers above 0"):
        exponent(sizes, [planted(5.0)] * 2, sign=1)


def test_order_of_sizes_does_not_matter():
    sizes, profiles = grown(0.5, sizes=SIZES, levels=FINE)
    assert exponent(sizes[::-1], profiles[::-1], sign=1) == exponent(sizes, profiles, sign=1)


def test_optima_off_every_line_are_said_to_follow_no_power_law():
    profiles = [planted(peak, FINE, sd=0.005) for peak in (5.0, 40.0, 5.0)]
    result = exponent(SIZES, profiles, sign=1)
    assert not result.refused and not result.fits and result.p_fit < 0.05
    assert math.isnan(result.low) and math.isnan(result.high)
    assert result.p_support(-9, 9) == result.p_refute(5, 9) == 1.0


def noisy(seed: int):
    """Three profiles with noise, so that p-values are neither 0 nor 1."""
    rng = np.random.default_rng(seed)
    sizes, profiles = grown(0.5, sizes=SIZES, levels=WIDE)
    cells = [cells_at([cell.mean + rng.normal(0, 0.05) for cell in own], sd=0.12) for _, own in profiles]
    return exponent(sizes, [(WIDE, own) for own in cells], sign=1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rival", [-1.0, 0.0, 0.5, 1.5, 3.0])
def test_a_rival_is_excluded_exactly_from_its_p_value_on(seed, rival):
    result = noisy(seed)
    p = result.p_value(rival)
    for alpha in np.geomspace(1e-6, 0.999, 60):
        ends = result.interval(alpha)
        assert (ends is None or not ends[0] <= rival <= ends[1]) == (alpha >= p)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bounds", [(-1.0, 2.0), (0.0, 1.0), (-math.inf, 3.0), (2.0, 4.0)])
def test_support_and_refutation_begin_at_their_p_values(seed, bounds):
    result = noisy(seed)
    support, refute = result.p_support(*bounds), result.p_refute(*bounds)
    for alpha in np.geomspace(1e-6, 0.999, 60):
        ends = result.interval(alpha)
        if ends is not None:
            assert (bounds[0] <= ends[0] and ends[1] <= bounds[1]) == (alpha >= support)
            assert (ends[1] < bounds[0] or bounds[1] < ends[0]) == (alpha >= refute)


@pytest.mark.parametrize("seed", range(5))
def test_interval_of_the_result_is_that_at_its_confidence(seed):
    result = noisy(seed)
    assert not result.refused
    assert result.interval(0.05) == pytest.approx((result.low, result.high))
    assert all(result.low <= rival <= result.high or result.p_value(rival) <= 0.05 for rival in RIVALS)


def test_no_p_value_is_smaller_than_where_an_optimum_opens():
    result = noisy(0)
    opens = max(alpha for alpha in np.geomspace(1e-9, 0.05, 400) if result.interval(alpha) == (-math.inf, math.inf))
    assert result.p_value(99.0) == pytest.approx(opens, rel=0.1)


@pytest.mark.parametrize("size", [5_000, 7_680, 15_000, 30_720, 200_000])
def test_fitted_line_lies_within_its_band(size):
    fitted, low, high = noisy(1).line(size)
    assert low <= fitted <= high


@pytest.mark.parametrize("seed", range(5))
def test_fitted_line_passes_through_every_interval(seed):
    result = noisy(seed)
    for size, found in zip(result.sizes, result.optima, strict=True):
        assert found.low <= result.line(size)[0] * (1 + 1e-9) and result.line(size)[0] <= found.high * (1 + 1e-9)


def test_turning_the_metric_round_changes_nothing():
    sizes, profiles = grown(0.5, levels=FINE)
    turned = [(levels, cells_at([-cell.mean for cell in own])) for levels, own in profiles]
    one, other = exponent(sizes, profiles, sign=1), exponent(sizes, turned, sign=-1)
    assert (other.p, other.low, other.high) == pytest.approx((one.p, one.low, one.high))


@pytest.mark.parametrize("rate_exponent", [0.5, 1.0])
def test_exponents_mean_what_stays_the_same_at_two_sizes(rate_exponent):
    """Counted out: images, steps an epoch, peak rate, warmup."""
    constant = {"constant epochs": [], "constant number of steps": [], "constant rate increment a step": []}
    for p, meaning in meanings(rate_exponent).items():
        for size in (256, 4096):
            epochs, peak_lr = 5 * (size / 256) ** p, 0.1 * (size / 256) ** rate_exponent
            steps = epochs * 1_281_167 / size
            own = {"constant epochs": epochs, "constant number of steps": steps}
            constant[meaning].append((own | {"constant rate increment a step": peak_lr / steps})[meaning])
    assert all(small == pytest.approx(large) for small, large in constant.values())


def test_without_rate_scaling_constant_steps_are_constant_increments():
    assert meanings(0)[1.0] == "constant number of steps and rate increment a step"
