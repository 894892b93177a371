"""The power of exponents: an assumed truth in closed form, and the report's own fit around it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from warmscale.planning.cells import tables_in_memory
from warmscale.planning.exponent_power import FITS, chance_to_support, simulated_exponents
from warmscale.planning.exponent_truth import PlannedCurve, losses, peaks, planned_curves, why_no_power, why_untestable
from warmscale.planning.selection import Selection

from .studies import finish, needs, study_of

LEVELS = [0.25, 0.5, 1, 2, 4]
EXPERIMENTS = [
    {"name": f"warmups-{size}", "recipe": {"mini_batch_size": size}, "grid": {"warmup_epochs": LEVELS}}
    for size in (100, 200)
]
BETWEEN = {
    "id": "between",
    "statement": "",
    "kind": "exponent",
    "experiments": ["warmups-100", "warmups-200"],
    "range": [-1.5, 2.5],
}
DOUBLES = tuple(2.0**step for step in range(-2, 6))
CURVES = tuple(PlannedCurve(size, DOUBLES, (0.0,) * len(DOUBLES)) for size in (1000.0, 16_000.0))
USUAL = {"n": 5, "sd": 0.3, "effect": 1.0, "level": 0.05, "draws": 24}


def exponents_of_a_study(claim=BETWEEN, **sections):
    return study_of(claim, **({"experiments": EXPERIMENTS} | sections))


@pytest.mark.parametrize("levels", [(1, 2, 4, 8, 16), (0, 1, 2, 4, 8, 16), (0, 2.5, 5, 10, 20, 40, 80)])
def test_beside_a_peak_at_a_level_the_nearer_neighbour_loses_the_effect(levels):
    for at in range(1, len(levels) - 1):
        lost = losses(levels, levels[at], 0.5)
        assert lost[at] == pytest.approx(0.0, abs=1e-12)
        assert min(lost[at - 1], lost[at + 1]) == pytest.approx(0.5)


def test_between_two_levels_the_peak_is_a_gap_of_a_parabola():
    """The roots of both losses are the distances to the ends of the gap, in gaps."""
    levels = (0, 1, 2, 4, 8)
    for peak in (2.1, 3.0, 3.9):
        lost = losses(levels, peak, 2.0)
        assert math.sqrt(lost[2] / 2) + math.sqrt(lost[3] / 2) == pytest.approx(1)
        assert np.all(np.diff(lost[:3]) < 0) and np.all(np.diff(lost[3:]) > 0)


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 0.5, 1.0])
def test_true_peaks_grow_with_the_exponent_and_are_as_far_inside_as_they_can(exponent):
    small, large = peaks(exponent, CURVES)
    assert math.log(large / small) / math.log(16) == pytest.approx(exponent)
    inner = DOUBLES[1], DOUBLES[-2]
    ends = sorted([small, large])
    assert inner[0] < ends[0] and ends[1] < inner[1]
    assert ends[0] / inner[0] == pytest.approx(inner[1] / ends[1])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_power_of_an_exponent_is_certain_without_noise_and_nothing_in_noise(sign):
    assert chance_to_support(CURVES, (0.0, 1.0), **USUAL | {"n": 300, "sd": 0.01, "draws": 8}, sign=sign) == 1.0
    assert chance_to_support(CURVES, (0.0, 1.0), **USUAL | {"sd": 100.0}, sign=sign) <= 0.1  # the level, and an error


def test_more_seeds_less_noise_and_a_larger_level_have_more_power():
    powers = [chance_to_support(CURVES, (0.0, 1.0), **USUAL | {"n": n, "sd": 1.0}) for n in (2, 8, 32)]
    assert powers == sorted(powers) and powers[0] < powers[-1]
    by_noise = [chance_to_support(CURVES, (0.0, 1.0), **USUAL | {"sd": sd}) for sd in (3.0, 0.3)]
    assert by_noise[0] < by_noise[1]
    by_level = [chance_to_support(CURVES, (0.0, 1.0), **USUAL | {"sd": 1.0, "level": at}) for at in (0.005, 0.2)]
    assert by_level[0] < by_level[1]


def test_a_window_that_the_shape_of_curves_fills_is_never_supported():
    """Seeds do not help where levels are too far apart to tell the exponent this well."""
    assert chance_to_support(CURVES, (0.49, 0.51), **USUAL | {"n": 300, "sd": 0.01, "draws": 8}) == 0.0


def test_runs_that_diverge_without_warmup_leave_some_power():
    """The optimum is where it was; with the levels above it diverging too, nothing is bracketed."""
    first = [replace(curve, diverged=(1.0, *curve.diverged[1:])) for curve in CURVES]
    most = [replace(curve, diverged=(0.0, 0.0, *[1.0] * (len(DOUBLES) - 2))) for curve in CURVES]
    assert chance_to_support(first, (0.0, 1.0), **USUAL) > 0.5
    assert chance_to_support(most, (0.0, 1.0), **USUAL) == 0.0


def curves_of(study, results):
    (claim,) = study.config.claims
    return planned_curves(claim, study.config.metric, Selection.of(study, tables_in_memory(study, results)))


def test_curves_are_those_of_the_config_before_there_are_runs(tmp_path):
    found = curves_of(exponents_of_a_study(), tmp_path)
    assert found == tuple(PlannedCurve(size, tuple(map(float, LEVELS)), (0.0,) * 5) for size in (100, 200))


def test_runs_diverge_as_often_as_they_did(tmp_path):
    study = exponents_of_a_study()
    finish(study, tmp_path, "warmups-100", seeds=2)
    ended = [run for run in study.runs.values() if run.recipe.warmup_epochs == 0.25 and run.seed == 1]
    from tests.analysis.published_runs import publish

    publish(tmp_path, next(run for run in ended if run.recipe.mini_batch_size == 100), "diverged", [1.0])
    assert [curve.diverged for curve in curves_of(study, tmp_path)] == [(0.5, 0, 0, 0, 0), (0,) * 5]


@pytest.mark.parametrize(
    ("levels", "sizes", "window", "why"),
    [
        (LEVELS[:4], (100, 200), (0, 1), "4 levels of warmup_epochs at 100 cannot bracket an optimum: 5 at least can"),
        (LEVELS, (100, 200), (4, 5), "optima with an exponent of 4.5 cannot all be 2 levels inside"),
        (LEVELS, (100,), (0, 1), "an exponent needs two values of mini_batch_size or more, and one curve at each"),
        (LEVELS, (100, 100), (0, 1), "an exponent needs two values of mini_batch_size or more"),
        (LEVELS, (100, math.nan), (0, 1), "an exponent needs two values of mini_batch_size or more"),
        (LEVELS, (100, 200), (0, 1), ""),
    ],
)
def test_what_no_seeds_can_find_is_said(levels, sizes, window, why):
    (claim,) = exponents_of_a_study(BETWEEN | {"range": list(window)}).config.claims
    curves = [PlannedCurve(size, tuple(levels), (0.0,) * len(levels)) for size in sizes]
    found = why_untestable(claim, curves) or why_no_power(claim, curves)
    assert found.startswith(why) and bool(found) == bool(why)


def test_an_exponent_has_a_simulated_power(tmp_path):
    study = exponents_of_a_study(planning={"sd": 0.1, "smallest_effect": 1.0})
    (need,) = needs(study, tmp_path)
    assert (need.standing, need.sd, need.effect) == ("unknown", 0.1, 1.0)
    assert need.note.endswith("their power is simulated")
    found = simulated_exponents([need], [8], study.config)["between"]
    assert (found.draws, found.power > 0.5) == (100, True)
    assert simulated_exponents([need], [1], study.config) == {}
    assert simulated_exponents([need] * FITS, [8] * FITS, study.config) == {}  # so many fits would take too long


def test_an_exponent_without_a_power_says_why(tmp_path):
    (narrow,) = needs(exponents_of_a_study(BETWEEN | {"range": [8, 9]}), tmp_path)
    assert narrow.note.startswith("optima with an exponent of 8.5 cannot all be 2 levels inside")
    (unknown,) = needs(exponents_of_a_study(planning={}), tmp_path)
    assert unknown.note == "too little is known of its spread: give planning.sd"
    for need in (narrow, unknown):
        assert simulated_exponents([need], [8], study_of().config) == {}
