"""What claims need: their cells by the report's own selection, and seeds by the report's own power."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmscale.analysis.claims import groups_of
from warmscale.analysis.inference.power import contrasts, one_cell, two_cells
from warmscale.analysis.looks import number_of
from warmscale.planning.cells import cells_of, tables_in_memory
from warmscale.planning.selection import Selection

from .studies import BEST, BETTER, RULE, claim, finish, look_at, needs, study_of


def seeds_by(power, level, target=0.8):
    return next(n for n in range(2, 17) if power(n, level) >= target)


def test_a_cell_is_all_runs_that_differ_in_their_seed(tmp_path):
    study = study_of()
    cells = cells_of(study)
    assert len(cells) == 4  # warmups 0, 1, 2 and no scaling: the fourth level of the two grids is shared
    assert {len(cell.runs) for cell in cells.values()} == {8}
    assert sorted(run for cell in cells.values() for run in cell.runs) == sorted(study.runs)


def test_a_comparison_needs_the_seeds_at_which_its_power_is_enough(tmp_path):
    (need,) = needs(study_of(BETTER), tmp_path)
    assert (need.standing, len(need.seeds)) == ("open", 2)
    assert need.needed == seeds_by(lambda n, level: two_cells(2.0, n, level), 0.05)
    assert set(need.seeds.values()) == {need.needed}
    assert need.power(need.needed) >= 0.8 > need.power(need.needed - 1)


def test_each_claim_and_each_look_makes_the_level_smaller(tmp_path):
    (alone,) = needs(study_of(BETTER), tmp_path)
    shared = needs(study_of(BETTER, RULE, max_looks=2), tmp_path)
    assert alone.level == pytest.approx(0.05)
    assert [need.level for need in shared] == pytest.approx([0.05 / 2 / 2] * 2)
    assert shared[0].needed > alone.needed


def test_without_sharing_each_claim_has_the_whole_level(tmp_path):
    assert {need.level for need in needs(study_of(BETTER, RULE, familywise="none"), tmp_path)} == {1 - 0.95}


@pytest.mark.parametrize(
    ("fields", "cells", "power"),
    [
        (claim("a", "above", level=1, value=50.0), 1, lambda n, level: one_cell(2.0, n, level)),
        (claim("b", "below", level=1, value=50.0), 1, lambda n, level: one_cell(2.0, n, level)),
        (BEST, 3, lambda n, level: contrasts(((1.0, -1.0, 0.0), (1.0, 0.0, -1.0)), 2.0, n, level)),
        (claim("t", "increasing"), 3, lambda n, level: contrasts(((-1.0, 0.0, 1.0),), 2.0, n, level)),
        (claim("m", "better", levels=[1, 0], margin=1.0), 2, lambda n, level: two_cells(2.0, n, level)),
        (claim("p", "better", levels=[1, 0], paired=True), 2, lambda n, level: one_cell(2 / math.sqrt(2), n, level)),
    ],
)
def test_each_kind_has_its_cells_and_its_power(tmp_path, fields, cells, power):
    (need,) = needs(study_of(fields), tmp_path)
    assert len(need.seeds) == cells
    assert need.needed == seeds_by(power, 0.05)


def test_filters_choose_the_cells_as_in_the_report(tmp_path):
    sides = {"a": {"lr_scaling.rule": "linear", "warmup_epochs": 1}, "b": {"lr_scaling.rule": "none"}}
    (need,) = needs(study_of({"id": "sides", "statement": "", "kind": "better", **sides}), tmp_path)
    (by_levels,) = needs(study_of(RULE), tmp_path)
    assert set(need.seeds) == set(by_levels.seeds)


def test_a_claim_that_needs_more_seeds_than_the_config_has_says_how_many(tmp_path):
    (need,) = needs(study_of(BETTER, seeds=3), tmp_path)
    assert (need.standing, need.can_be_settled) == ("too_few", False)
    assert need.note == f"it needs {need.needed} seeds a cell, and the config has 3"
    (hopeless,) = needs(study_of(BETTER, planning={"sd": 20.0, "smallest_effect": 0.1}), tmp_path)
    assert hopeless.note == "it needs more than 16 seeds a cell, and the config has 8"


def test_an_exponent_asks_for_all_seeds_and_its_power_is_unknown(tmp_path):
    curves = [
        {"name": f"at-{size}", "recipe": {"mini_batch_size": size}, "grid": {"warmup_epochs": [0.25, 0.5, 1, 2, 4]}}
        for size in (100, 200)
    ]
    exponent = {"id": "exponent", "statement": "", "kind": "exponent", "experiments": ["at-100", "at-200"]}
    (need,) = needs(study_of(exponent | {"range": [0, 1]}, experiments=curves), tmp_path)
    assert (need.standing, set(need.seeds.values()), need.needed) == ("unknown", {8}, None)
    assert math.isnan(need.power(8))


def test_without_a_spread_all_seeds_are_asked_for(tmp_path):
    (need,) = needs(study_of(BETTER, planning={}), tmp_path)
    assert (need.standing, set(need.seeds.values())) == ("unknown", {8})
    assert "planning.sd" in need.note


def test_spreads_may_differ_and_the_largest_of_a_claim_counts(tmp_path):
    spreads = [{"where": {"warmup_epochs": 0}, "sd": 3.0}, {"where": {"warmup_epochs": [1, 2]}, "sd": 1.0}]
    planning = {"sd": spreads, "smallest_effect": 2.0}
    first, second = needs(study_of(BETTER, RULE, planning=planning), tmp_path)
    assert (first.sd, second.sd) == (3.0, 1.0)


def test_effects_may_differ_and_the_smallest_of_a_claim_counts(tmp_path):
    effects = [
        {"where": {"warmup_epochs": 0}, "smallest_effect": 4.0},
        {"where": {"warmup_epochs": [0, 1], "lr_scaling.rule": "linear"}, "smallest_effect": 3.0},
        {"where": {"lr_scaling.rule": "none"}, "smallest_effect": 6.0},
    ]
    better, rule = needs(study_of(BETTER, RULE, planning={"sd": 1.0, "smallest_effect": effects}), tmp_path)
    assert (better.effect, rule.effect) == (3.0, 3.0)  # of 4 and 3, of 3 and 6
    assert better.needed == seeds_by(lambda n, level: two_cells(3.0, n, level), 0.025)


def test_cells_in_no_group_have_the_effect_of_the_study(tmp_path):
    effects = [{"where": {"warmup_epochs": 0}, "smallest_effect": 4.0}]
    planning = {"sd": 1.0, "smallest_effect": effects}
    (small,) = needs(study_of(BETTER, planning=planning, smallest_effect=1.5), tmp_path)
    (large,) = needs(study_of(BETTER, planning=planning, smallest_effect=9.0), tmp_path)
    (plain,) = needs(study_of(BETTER, planning={"sd": 1.0}, smallest_effect=1.5), tmp_path)
    assert (small.effect, large.effect, plain.effect) == (1.5, 4.0, 1.5)


def test_a_metric_that_is_no_accuracy_is_left_out(tmp_path):
    (need,) = needs(study_of(claim("cost", "increasing", metric={"name": "node_hours", "goal": "minimize"})), tmp_path)
    assert (need.standing, need.seeds) == ("left_out", {})
    assert need.note.startswith("node_hours is no accuracy")


def test_the_spread_of_the_runs_takes_the_place_of_the_assumed_one(tmp_path):
    study = study_of(BETTER, planning={"sd": 9.0, "smallest_effect": 2.0})
    assert needs(study, tmp_path)[0].sd_is_assumed
    finish(study, tmp_path, "warmups", seeds=4, spread=0.5)
    (need,) = needs(study, tmp_path)
    assert not need.sd_is_assumed
    assert need.sd == pytest.approx(0.5 * math.sqrt(4 / 3))  # two runs on each side of the mean


def test_two_runs_are_too_few_to_tell_a_spread(tmp_path):
    study = study_of(RULE)
    finish(study, tmp_path, "rules", seeds=2, spread=0.01)
    (need,) = needs(study, tmp_path)
    assert (need.sd, need.sd_is_assumed) == (1.0, True)


@pytest.mark.parametrize(("seeds", "standing"), [(2, "unknown"), (3, "open")])
def test_where_none_is_assumed_few_runs_leave_the_spread_unknown(tmp_path, seeds, standing):
    study = study_of(RULE, planning={"smallest_effect": 2.0})
    finish(study, tmp_path, "rules", seeds=seeds)
    (need,) = needs(study, tmp_path)
    assert (need.standing, math.isnan(need.sd), need.sd_is_assumed) == (standing, seeds == 2, seeds == 2)


def test_runs_that_diverged_ask_for_more_seeds(tmp_path):
    study = study_of(RULE)
    finish(study, tmp_path, "rules", seeds=1)
    (before,) = needs(study, tmp_path)
    finish(study, tmp_path, "rules", seeds=1, state="diverged")
    (after,) = needs(study, tmp_path)
    assert before.needed < (after.needed or 17)


def test_settled_claims_ask_for_nothing_and_keep_their_share_of_the_level(tmp_path):
    study = study_of(BETTER, RULE)
    first = study.config.claims[0]
    settled, left = needs(study, tmp_path, look_at(first, "supported"))
    assert (settled.standing, settled.verdict, settled.seeds) == ("settled", "supported", {})
    assert left.level == pytest.approx(0.025)  # with new runs its looks are spent, and Holm's procedure frees nothing
    assert needs(study, tmp_path, look_at(first, "refuted"))[0].standing == "settled"


def test_a_claim_without_a_look_left_cannot_be_settled(tmp_path):
    study = study_of(BETTER, max_looks=2)
    (one,) = study.config.claims
    assert needs(study, tmp_path, look_at(one, "inconclusive", 1))[0].standing == "open"
    assert needs(study, tmp_path, look_at(one, "inconclusive", 2))[0].standing == "spent"


def test_looks_are_spent_by_id_and_a_verdict_is_of_what_was_claimed(tmp_path):
    study = study_of(BETTER, max_looks=2)
    (one,) = study.config.claims
    changed = one.model_copy(update={"levels": [2, 0]})
    assert needs(study, tmp_path, look_at(changed, "supported", 1))[0].standing == "open"  # it said something else
    last = look_at(changed, "inconclusive", 2)
    assert number_of(one.id, "other data", last.runs + 1, [last]) > study.config.max_looks
    assert needs(study, tmp_path, last)[0].standing == "spent"


def test_the_last_look_counts_also_where_it_corrects_the_one_before(tmp_path):
    study = study_of(BETTER, max_looks=2)
    (one,) = study.config.claims
    assert needs(study, tmp_path, look_at(one, "supported"), look_at(one, "inconclusive"))[0].standing == "open"
    assert needs(study, tmp_path, look_at(one, "inconclusive"), look_at(one, "supported"))[0].standing == "settled"


@given(st.floats(0.2, 4.0), st.floats(0.5, 4.0))
@settings(max_examples=8, deadline=None)
def test_a_larger_effect_never_needs_more_seeds(tmp_path_factory, sd, effect):
    folder = tmp_path_factory.mktemp("results")
    small, large = (
        needs(study_of(BEST, planning={"sd": sd, "smallest_effect": size}), folder)[0].needed
        for size in (effect, 1.5 * effect)
    )
    assert large <= small


def test_what_nobody_knows_yet_is_never_a_result(tmp_path):
    study = study_of(BETTER)
    needs(study, tmp_path)
    assert set(tables_in_memory(study, tmp_path).runs["state"]) == {"pending"}


def test_claims_about_the_same_levels_share_their_cells(tmp_path):
    """A thousand cells are grouped once, not once a claim."""
    increasing, paired = claim("up", "increasing"), claim("pair", "better", levels=[1, 0], paired=True)
    study = study_of(BEST, increasing, BETTER, paired, claim("down", "better", levels=[0, 1]))
    planned = Selection.of(study, tables_in_memory(study, tmp_path)).planned
    best, up, better, pair, down = (groups_of(one, study.config.metric, planned) for one in study.config.claims)
    assert best is up
    assert better is pair
    assert [group.level for group in down] == [group.level for group in reversed(better)] == [0, 1]
    other = study.config.metric.model_copy(update={"name": "top5"})
    assert [group.value for group in groups_of(study.config.claims[0], other, planned)] != [one.value for one in best]
