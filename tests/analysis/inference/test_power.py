"""Power: closed forms against statsmodels and against simulations of the very tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestIndPower, TTestPower

from warmscale.analysis.inference.cell import Cell
from warmscale.analysis.inference.kinds import above, best, better, equivalent, trend
from warmscale.analysis.inference.power import LARGE, contrasts, in_sds, one_cell, two_cells, within
from warmscale.analysis.inference.rank_power import all_won

PAIR = ((1.0, -1.0),)
SPREAD, EFFECT, ALPHA = 0.3, 0.5, 0.02
DRAWS = 1500


def simulated(test, means, n: int, diverging: float = 0.0) -> float:
    """Share of studies in which the supporting test is significant."""
    random = np.random.default_rng(11)
    found = 0
    for _ in range(DRAWS):
        cells = [Cell.of("", random.normal(mean, SPREAD, n)) for mean in means]
        if diverging:
            kept = cells[-1].values[: n - max(1, random.binomial(n, diverging))]
            cells[-1] = Cell.of("", kept, diverged=n - len(kept))
        found += test(cells).p_support <= ALPHA
    return found / DRAWS


def known(count: int) -> list[Cell]:
    return [Cell("", 5, 75.0, SPREAD)] * count


@given(effect=st.floats(0, 3), n=st.integers(2, 30), alpha=st.floats(0.001, 0.2))
def test_one_cell_is_statsmodels_t_test_power(effect, n, alpha):
    expected = TTestPower().power(effect, n, alpha, alternative="larger")
    assert one_cell(effect, n, alpha) == pytest.approx(expected, abs=1e-6)


@given(effect=st.floats(0, 2), n=st.integers(30, 60))
def test_two_large_cells_have_statsmodels_power_of_the_pooled_test(effect, n):
    expected = TTestIndPower().power(effect, n, 0.05, alternative="larger")
    assert two_cells(effect, n, 0.05) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("n", [2, 3, 5, 9])
@pytest.mark.parametrize("effect", [0.5, 1.5, 3.0])
def test_the_closed_form_and_the_simulation_of_contrasts_agree(n, effect):
    one_and_a_copy = (*PAIR, *PAIR)  # two equal rows are simulated
    assert contrasts(one_and_a_copy, effect, n, ALPHA) == pytest.approx(two_cells(effect, n, ALPHA), abs=0.03)


@pytest.mark.parametrize("n", [4, 7])
def test_the_power_is_how_often_the_very_test_succeeds(n):
    tests = {
        "better": (lambda cells: better(cells[:1], cells[1:], spread=SPREAD), [75.5, 75.0]),
        "better by a margin": (lambda cells: better(cells[:1], cells[1:], margin=0.2, spread=SPREAD), [75.7, 75.0]),
        "equivalent": (lambda cells: equivalent(cells[:1], cells[1:], margin=0.5, spread=SPREAD), [75.0, 75.0]),
        "a wide margin": (lambda cells: equivalent(cells[:1], cells[1:], margin=0.8, spread=SPREAD), [75.3, 75.0]),
        "best": (lambda cells: best(cells[0], cells[1:], spread=SPREAD), [75.5, 75.0, 75.0]),
        "strict": (lambda cells: trend(cells, increasing=True, strict=True, spread=SPREAD), [75.0, 75.5, 76.0]),
        "trend": (lambda cells: trend(cells, increasing=True, spread=SPREAD), [75.0, 75.25, 75.5]),
        "above": (lambda cells: above(cells, 75.0, spread=SPREAD), [75.5]),
    }
    for name, (test, means) in tests.items():
        power = test(known(len(means))).power(n, ALPHA)
        assert power == pytest.approx(simulated(test, means, n), abs=0.05), name


def test_the_power_of_ranks_is_how_often_they_succeed():
    shifts, diverged = [EFFECT / SPREAD, 0.0], [0.0, 0.4]
    power = all_won(shifts, diverged, [[(0, 1)]], 9, ALPHA)
    share = simulated(lambda cells: better(cells[:1], cells[1:], spread=SPREAD), [75.5, 75.0], 9, 0.4)
    assert power == pytest.approx(share, abs=0.12)


@given(n=st.integers(2, 15), effect=st.floats(0.1, 3), alpha=st.sampled_from([0.05, 0.01, 0.002]))
def test_more_runs_or_a_larger_effect_have_more_power(n, effect, alpha):
    for power in (one_cell, two_cells):
        assert power(effect, n + 1, alpha) >= power(effect, n, alpha) - 1e-9
        assert power(effect + 0.1, n, alpha) >= power(effect, n, alpha) - 1e-9


@given(st.integers(2, 16), st.floats(15.0, 300.0), st.floats(1e-4, 0.05))
def test_no_effect_is_too_large_for_a_power(n, effect, alpha):
    assert 0.0 <= one_cell(effect, n, alpha) <= one_cell(2 * effect, n, alpha) <= 1 + 1e-12
    assert 0.0 <= two_cells(effect, n, alpha) <= two_cells(2 * effect, n, alpha) <= 1 + 1e-12


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("power", [one_cell, two_cells])
def test_the_power_goes_on_smoothly_where_it_is_integrated(power, n):
    beyond = LARGE / math.sqrt(n if power is one_cell else n / 2)
    assert power(beyond * (1 + 1e-9), n, 0.05 / 500) == pytest.approx(
        power(beyond * (1 - 1e-9), n, 0.05 / 500), abs=1e-6
    )


def test_nothing_is_within_a_margin_of_zero():
    assert within(PAIR, 0.0, 0.0, 8, 0.05) == 0


def test_without_a_spread_no_power_is_known():
    assert math.isnan(in_sds(0.5, 0.0))
    assert math.isnan(in_sds(0.5, math.nan))
