"""Power by formula and by simulation: the same truth, the same tests, the same number; and all claims at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from warmscale.planning import simulation
from warmscale.planning.simulation import simulated_powers, simulated_verdicts, true_means

from .studies import BEST, BETTER, RULE, claim, finish, needs, study_of

KINDS = {
    "better": BETTER,
    "better by a margin": claim("margin", "better", levels=[1, 0], margin=1.0),
    "a mean of cells": {"id": "mean", "statement": "", "kind": "better", "experiment": "warmups"}
    | {"a": {"warmup_epochs": [1, 2]}, "b": {"warmup_epochs": 0}},
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
EXPONENT = {"id": "exponent", "statement": "", "kind": "exponent", "experiments": ["warmups"], "value": 0.5}


def power_of(study, need, n, draws):
    return simulated_powers([need], [n], study.config, draws)[need.claim.id]


@pytest.mark.parametrize("kind", KINDS)
def test_the_formula_is_what_simulation_finds(tmp_path, kind):
    study = study_of(KINDS[kind])
    (need,) = needs(study, tmp_path)
    n = min(need.needed, 8)
    found = power_of(study, need, n, draws=400)
    assert abs(found.power - need.power(n)) < 4 * found.standard_error + 0.01
    assert found.alone == found.power  # there is no other claim


def test_fewer_seeds_have_less_power(tmp_path):
    study = study_of(BEST)
    (need,) = needs(study, tmp_path)
    few, many = (power_of(study, need, n, draws=300).power for n in (3, 8))
    assert few < many


def test_one_seed_decides_nothing_and_an_exponent_has_no_cells_to_draw(tmp_path):
    study = study_of(BETTER, EXPONENT)
    assert simulated_powers(needs(study, tmp_path), [1, 8], study.config) == {"better": None, "exponent": None}


@pytest.mark.parametrize("looks", [1, 3])
def test_what_is_supported_at_the_level_of_a_plan_is_supported_by_the_report(tmp_path, looks):
    """Not on average: in every simulated study. So the level of a plan is conservative under Holm's procedure."""
    study = study_of(*KINDS.values(), RULE, EXPONENT, max_looks=looks)
    found = needs(study, tmp_path)
    together, alone = simulated_verdicts(found, [6] * len(found), study.config, draws=60)
    assert (alone <= together).all()
    assert alone.sum() < together.sum()
    assert 0.2 < alone[:, :-1].mean() < 0.9  # neither is trivial
    assert not together[:, -1].any()  # of the exponent nothing is known: it frees no share


def test_holms_procedure_supports_more_only_because_of_other_claims(tmp_path):
    study = study_of(BETTER, RULE, BEST)
    found = needs(study, tmp_path)
    together, alone = simulated_verdicts(found, [4] * 3, study.config, draws=200)
    freed = together & ~alone
    assert freed.any()
    assert together[freed.any(axis=1)].sum(axis=1).min() >= 2  # never the only one of a study


def test_without_sharing_the_risk_all_claims_are_decided_alone(tmp_path):
    study = study_of(*KINDS.values(), familywise="none")
    together, alone = simulated_verdicts(needs(study, tmp_path), [4] * len(KINDS), study.config, draws=30)
    assert (together == alone).all()


def test_claims_on_the_same_cells_see_the_same_deviations(tmp_path):
    """What is drawn of a cell belongs to its name: a second claim on two cells is supported in the same studies."""
    study = study_of(BETTER, BETTER | {"id": "again"}, RULE, claim("reverse", "better", levels=[0, 1]))
    again = simulated_verdicts(needs(study, tmp_path), [4] * 4, study.config, draws=100)[1]
    assert (again[:, 0] == again[:, 1]).all()
    assert 0 < again[:, 0].mean() < 1
    assert (again[:, 0] != again[:, 2]).any()  # the other rule is another cell
    # what lets a run exceed its mean helps one side of a contradiction and hurts the other
    assert np.corrcoef(again[:, 0], again[:, 3])[0, 1] < 0


def test_more_seeds_go_on_from_the_same_runs():
    few, many = (simulation._runs("cell", 5.0, 2.0, 0.3, n, 50) for n in (3, 8))
    np.testing.assert_array_equal(few, many[:, :3])
    assert 0.2 < np.isnan(many).mean() < 0.4
    assert abs(np.nanmean(many) - 5) < 0.5 and abs(np.nanstd(many) - 2) < 0.3


def test_cells_diverge_as_often_as_they_did(tmp_path):
    study = study_of(RULE)
    (calm,) = needs(study, tmp_path)
    finish(study, tmp_path, "rules", seeds=1, state="diverged")
    (wild,) = needs(study, tmp_path)
    powers = [power_of(study, need, 8, draws=200).power for need in (calm, wild)]
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
    found = power_of(study, needs(study, tmp_path)[0], 8, draws=100)
    assert (found.power, found.standard_error) == (1.0, pytest.approx(0.01))
    assert not math.isnan(found.power)


def test_with_many_claims_fewer_studies_are_drawn(tmp_path, monkeypatch):
    study = study_of(BETTER, RULE, EXPONENT)
    monkeypatch.setattr(simulation, "TESTS", 60)
    found = simulated_powers(needs(study, tmp_path), [4, 4, 8], study.config)
    assert [found[name].draws for name in ("better", "rule")] == [30, 30]
    assert found["better"].standard_error > 0.03


def test_a_study_without_claims_has_no_powers():
    assert simulated_powers([], [], study_of().config) == {}
