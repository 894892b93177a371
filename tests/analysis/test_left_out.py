"""Runs that a plan leaves out: nobody waits for them, and no claim is settled without cells that it is about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.planning.studies import BEST, BETTER, finish, study_of
from warmscale.analysis.claims import test_claims as judged
from warmscale.analysis.missing import awaited_states, missing_text
from warmscale.analysis.observations import Observations
from warmscale.planning.cells import tables_in_memory


@pytest.fixture
def results(tmp_path):
    finish(study_of(), tmp_path, "warmups", seeds=4)
    return tmp_path


def left_out(study, keep):
    """The study with all runs left out of which `keep` is not true."""
    return replace(study, left_out=frozenset(run_id for run_id, run in study.runs.items() if not keep(run)))


def evidence(study, results):
    observations = Observations.of(study, tables_in_memory(study, results))
    return {one.claim.id: one for one in judged(study, observations, {})}


def test_a_claim_is_tested_on_the_seeds_that_are_carried_out(results):
    study = study_of(BETTER)
    waiting = evidence(study, results)["better"]
    assert not waiting.is_there
    assert waiting.notes == ("4 of 8 runs have not ended",)
    found = evidence(left_out(study, lambda run: run.seed <= 4), results)["better"]
    assert found.evidence.n == 4


def test_a_run_that_is_planned_and_not_there_is_waited_for(results):
    found = evidence(left_out(study_of(BETTER), lambda run: run.seed <= 5), results)["better"]
    assert found.notes == ("1 of 5 runs have not ended",)


def test_the_best_of_three_levels_is_not_settled_by_two(tmp_path):
    study = study_of(BEST)
    for point in study.points:
        if point.experiment == "warmups" and point.factors["warmup_epochs"] < 2 and point.seed <= 4:
            finish(replace(study, points=(point,)), tmp_path, "warmups", seeds=4)
    planned = left_out(study, lambda run: run.recipe.warmup_epochs < 2 and run.seed <= 4)
    found = evidence(planned, tmp_path)["best"]
    assert not found.is_there
    assert found.notes == ("8 of 8 runs have not ended",)


def test_a_study_without_the_runs_left_out_is_not_partial(results):
    study = study_of()
    runs = tables_in_memory(study, results).runs
    assert missing_text(awaited_states(runs, study)) != ""
    done = set(runs.loc[runs["state"] == "finished", "run_id"])
    assert missing_text(awaited_states(runs, left_out(study, lambda run: run.run_id in done))) == ""
