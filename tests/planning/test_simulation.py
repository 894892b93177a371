"""Power by formula and by simulation: the same truth, the same tests, the same number."""

from __future__ import annotations

import math

import pytest

from warmscale.planning.simulation import simulated_power, true_means

from .studies import BEST, BETTER, RULE, claim, finish, needs, study_of

KINDS = {
    "better": BETTER,
    "better by a margin": claim("margin", "better", levels=[1, 0], margin=1.0),
    "paired": claim("paired", "better", levels=[1, 0], paired=True),
    "equivalent": claim("equivalent", "equivalent", levels=[1, 0], margin=2.5),
    "best": BEST,
    "worst": claim("worst", "worst", level=1),
    "increasing": claim("increasing", "increasing"),
    "decreasing": claim("decreasing", "decreasing"),
    "strictly": claim("strictly", "increasing", strict=True),
    "above": claim("above", "above", level=1, value=50.0),
    "below": claim("below", "below", level=1, value=50.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_formula_is_what_simulation_finds(tmp_path, kind):
    study = study_of(KINDS[kind])
    (need,) = needs(study, tmp_path)
    n = min(need.needed, 8)
    found = simulated_power(need, study.config.metric, n, draws=400)
    assert abs(found.power - need.power(n)) < 4 * found.standard_error + 0.01


def test_fewer_seeds_have_less_power(tmp_path):
    study = study_of(BEST)
    (need,) = needs(study, tmp_path)
    few, many = (simulated_power(need, study.config.metric, n, draws=300).power for n in (3, 8))
    assert few < many


def test_one_seed_decides_nothing_and_an_exponent_is_not_simulated(tmp_path):
    study = study_of(BETTER)
    assert simulated_power(needs(study, tmp_path)[0], study.config.metric, 1) is None
    exponent = {"id": "exponent", "statement": "", "kind": "exponent", "experiments": ["warmups"], "value": 0.5}
    (unknown,) = needs(study_of(exponent), tmp_path)
    assert simulated_power(unknown, study.config.metric, 8) is None


def test_cells_diverge_as_often_as_they_did(tmp_path):
    study = study_of(RULE)
    (calm,) = needs(study, tmp_path)
    finish(study, tmp_path, "rules", seeds=1, state="diverged")
    (wild,) = needs(study, tmp_path)
    powers = [simulated_power(need, study.config.metric, 8, draws=200).power for need in (calm, wild)]
    assert powers[1] < powers[0]  # both cells always diverge: all runs tie


@pytest.mark.parametrize(
    ("kind", "means"),
    [("better", [2.0, 0.0]), ("better by a margin", [3.0, 0.0]), ("equivalent", [0.5, 0.0]), ("best", [0, 2.0, 0]),
     ("worst", [0, -2.0, 0]), ("increasing", [0, 1.0, 2.0]), ("decreasing", [0, -1.0, -2.0]),
     ("strictly", [0, 2.0, 4.0]), ("above", [52.0]), ("below", [48.0])],
)  # fmt: skip
def test_the_truth_is_the_effect_beyond_the_bound(tmp_path, kind, means):
    study = study_of(KINDS[kind])
    (need,) = needs(study, tmp_path)
    assert true_means(need.claim, study.config.metric, need.groups, 2.0) == pytest.approx(means)


def test_the_standard_error_of_a_certain_power_is_not_zero(tmp_path):
    study = study_of(claim("sure", "better", levels=[1, 0]), planning={"sd": 0.1, "smallest_effect": 5.0})
    found = simulated_power(needs(study, tmp_path)[0], study.config.metric, 8, draws=100)
    assert (found.power, found.standard_error) == (1.0, pytest.approx(0.01))
    assert not math.isnan(found.power)
