"""Plans of small studies: what is chosen, what is said not to fit, and how a plan moves on when runs are done."""

from __future__ import annotations

import json
import math
import re

import pytest

from tests.analysis.published_runs import publish
from warmscale.cluster.site import Site
from warmscale.planning.files import claim_rows, run_rows, simulate, write_plan
from warmscale.planning.plan import make_plan
from warmscale.planning.summary import summary_lines
from warmscale.planning.workload import PlanningError
from warmscale.records import write_json
from warmscale.study.planned import read_plan, with_plan
from warmscale.study.staleness import fingerprint

from .studies import BETTER, RULE, SEEDS, finish, look_at, study_of

CLUSTER = {
    "scheduler": "slurm",
    "launcher": "srun",
    "node": {"gpus": 0, "cores": 4},
    "walltime": [{"up_to_nodes": 4, "minutes": 6000}],
    "placement": {"max_nodes": 4},
}
SITE = Site.model_validate(CLUSTER)


def planned(study, results, site=SITE):
    return make_plan(study, site, results)


def decisions(plan):
    return {run.run_id: run.decision for run in plan.runs}


def runs_of(plan, *names):
    return [run for run in plan.runs if run.decision in names]


def hours_of_a_run(results):
    """Node-hours of one run of the study; all cost the same."""
    plan = planned(study_of(BETTER), results)
    return plan.runs[0].cost.node_hours


def test_without_a_budget_all_runs_are_planned_where_they_would_be(tmp_path):
    study = study_of(BETTER, RULE)
    plan = planned(study, tmp_path)
    assert set(decisions(plan).values()) == {"planned"}
    assert [run.run_id for run in plan.runs] != [] and {run.cost.nodes for run in plan.runs} == {1}
    assert all(one.is_bought for one in plan.claims)


def test_a_budget_buys_the_seeds_that_claims_need_and_no_more(tmp_path):
    study = study_of(BETTER, RULE, budget={"node_hours": 10**9})
    plan = planned(study, tmp_path)
    needed = plan.claims[0].need.needed
    assert needed < SEEDS
    assert len(runs_of(plan, "planned")) == 3 * needed  # the two claims share a cell
    assert len(runs_of(plan, "left_out")) == 4 * SEEDS - 3 * needed


def test_what_does_not_fit_is_listed_with_what_it_would_cost(tmp_path):
    study = study_of(BETTER, RULE, planning={"sd": 1.0, "smallest_effect": 2.0, "weights": {"rule": 2}})
    needed, hours = planned(study, tmp_path).claims[0].need.needed, hours_of_a_run(tmp_path)
    limited = study_of(
        BETTER, RULE, budget={"node_hours": (2 * needed + 1) * hours}, planning=dict(study.config.planning)
    )
    better, rule = planned(limited, tmp_path).claims
    assert (better.is_bought, rule.is_bought) == (False, True)
    assert better.more_node_hours == pytest.approx(needed * hours)  # the cell that is shared is there
    assert rule.more_node_hours == 0


def test_required_runs_are_kept_and_come_first(tmp_path):
    required = {"required": [{"warmup_epochs": 2, "seed": [1, 2]}]}
    study = study_of(BETTER, budget={"node_hours": 10**9}, planning={"sd": 1.0, "smallest_effect": 2.0} | required)
    plan = planned(study, tmp_path)
    kept = runs_of(plan, "required")
    assert {study.runs[run.run_id].recipe.warmup_epochs for run in kept} == {2}
    assert len(kept) == 2
    others = runs_of(plan, "planned")
    assert min(run.priority for run in kept) > max(run.priority for run in others)


def test_the_power_of_what_is_bought_is_checked_by_simulation(tmp_path):
    plan = planned(study_of(BETTER, budget={"node_hours": 10**9}), tmp_path)
    (row,) = claim_rows(plan, simulate(plan))
    assert row["power"] >= 0.8
    assert abs(row["power"] - row["power_simulated"]) < 4 * row["power_standard_error"]
    assert row["power_simulated_alone"] == row["power_simulated"]  # there is no other claim
    two = planned(study_of(BETTER, RULE, budget={"node_hours": 10**9}), tmp_path)
    for row in claim_rows(two, simulate(two)):
        assert row["power_simulated_alone"] <= row["power_simulated"]  # Holm's procedure frees what the plan does not
        assert abs(row["power"] - row["power_simulated_alone"]) < 4 * row["power_standard_error"] + 0.01


def test_finished_runs_are_free_and_kept(tmp_path):
    study = study_of(BETTER, budget={"node_hours": 10**9})
    before = planned(study, tmp_path)
    finish(study, tmp_path, "warmups", seeds=1)
    after = planned(study, tmp_path)
    assert len(runs_of(after, "finished")) == 3
    assert len(runs_of(after, "planned")) == len(runs_of(before, "planned")) - 2
    nothing = planned(study_of(BETTER, budget={"node_hours": 1e-9}), tmp_path)
    assert len(runs_of(nothing, "finished")) == 3


def test_a_run_that_is_half_done_costs_less_and_is_taken_before_others(tmp_path):
    study = study_of(BETTER, budget={"node_hours": 10**9})
    run = next(run for run in study.runs.values() if run.seed == SEEDS and run.recipe.warmup_epochs == 0)
    write_json(tmp_path / "state" / run.run_id / "checkpoint/latest.json", {"step": run.total_steps // 2})
    plan = {row.run_id: row for row in planned(study, tmp_path).runs}
    other = next(row for row in plan.values() if row.decision == "planned" and row.run_id != run.run_id)
    assert plan[run.run_id].decision == "planned"
    assert plan[run.run_id].cost.node_hours < other.cost.node_hours


def test_planning_again_moves_the_rest_to_the_claims_that_are_still_open(tmp_path):
    study = study_of(BETTER, RULE, max_looks=2)
    needed, hours = planned(study, tmp_path).claims[0].need.needed, hours_of_a_run(tmp_path)
    limited = study_of(BETTER, RULE, max_looks=2, budget={"node_hours": 2 * needed * hours})
    first = planned(limited, tmp_path)
    (bought,) = first.fitted.chosen.settled
    for run in runs_of(first, "planned"):
        publish(tmp_path, study.runs[run.run_id], "finished", [50.0 + (-1) ** study.runs[run.run_id].seed])
    from warmscale.analysis.looks import LOOKS, write_looks

    one = next(claim for claim in study.config.claims if claim.id == bought)
    write_looks(tmp_path / LOOKS, [], [look_at(one, "supported")])
    second = planned(limited, tmp_path)
    assert second.fitted.chosen.settled == tuple({"better", "rule"} - {bought})
    assert len(runs_of(second, "finished")) == len(runs_of(first, "planned"))


@pytest.mark.parametrize(
    ("budget", "name"),
    [({"node_hours": 0.001}, "node_hours"), ({"deadline_hours": 0.001}, "deadline_hours")],
)
def test_required_runs_that_do_not_fit_tell_the_smallest_budget_that_works(tmp_path, budget, name):
    planning = {"required": ["warmups"]}
    with pytest.raises(PlanningError) as refused:
        planned(study_of(budget=budget, planning=planning), tmp_path)
    (line,) = refused.value.lines
    assert line.startswith(f"budget.{name}: 0.001 is too small for the 24 required runs; as the rest is, ")
    least = float(line.removesuffix(" would do").rpartition(" ")[2])
    plan = planned(study_of(budget={name: least}, planning=planning), tmp_path)
    assert len(runs_of(plan, "required")) == 24
    with pytest.raises(PlanningError):
        planned(study_of(budget={name: 0.99 * least - 0.1}, planning=planning), tmp_path)


def test_where_no_single_key_is_to_blame_values_that_work_together_are_told(tmp_path):
    planning, budget = {"required": ["warmups"]}, {"node_hours": 0.001, "deadline_hours": 0.001}
    with pytest.raises(PlanningError) as refused:
        planned(study_of(budget=budget, planning=planning), tmp_path)
    (line,) = refused.value.lines
    told = dict(re.findall(r"(node_hours|deadline_hours): ([0-9.]+)", line))
    assert set(told) == set(budget)
    enough = {name: float(value) for name, value in told.items()}
    assert len(runs_of(planned(study_of(budget=enough, planning=planning), tmp_path), "required")) == 24


def test_what_was_spent_is_taken_off_the_budget(tmp_path):
    study = study_of(BETTER, budget={"node_hours": 100.0}, planning={"required": [{"seed": 8}]})
    finish(study, tmp_path, "rules", seeds=1)
    for record in (tmp_path / "runs").glob("*/run.json"):
        write_json(record, json.loads(record.read_text()) | {"node_hours": 30.0})
    assert planned(study, tmp_path).limits.node_hours == pytest.approx(40.0)
    less = study_of(BETTER, budget={"node_hours": 60.0}, planning={"required": [{"seed": 8}]})
    with pytest.raises(PlanningError) as refused:
        planned(less, tmp_path)
    assert "budget.node_hours: 60 is too small for the 4 required runs, as 60.0 are spent" in refused.value.lines[0]


def test_too_few_nodes_for_required_runs_are_told_too(tmp_path):
    planning = {"required": ["warmups"]}
    plan = planned(study_of(planning=planning), tmp_path)
    hours = max(run.cost.wall_sec for run in plan.runs) / 3600
    budget = {"deadline_hours": 1.01 * hours, "concurrent_nodes": 4}
    with pytest.raises(PlanningError) as refused:
        planned(study_of(budget=budget, planning=planning), tmp_path)
    assert any(line.startswith("budget.concurrent_nodes: 4 is too small") for line in refused.value.lines)
    assert "24 would do" in str(refused.value)


def test_allowed_nodes_are_chosen_for_the_deadline(tmp_path):
    placement, planning = {"nodes": [1, 4], "ranks_per_node": 1}, {"required": [{"seed": 1}]}
    slow = planned(study_of(placement=placement, planning=planning, budget={"node_hours": 10**9}), tmp_path)
    hours = slow.fitted.hours
    fast = planned(study_of(placement=placement, planning=planning, budget={"deadline_hours": 0.9 * hours}), tmp_path)
    assert {run.cost.nodes for run in runs_of(slow, "required")} == {1}
    assert 4 in {run.cost.nodes for run in runs_of(fast, "required")}
    assert fast.fitted.hours <= 0.9 * hours


def test_eligible_jobs_make_the_study_longer(tmp_path):
    one = Site.model_validate(CLUSTER | {"eligible_jobs": 1})
    free, queued = (planned(study_of(BETTER), tmp_path, site) for site in (SITE, one))
    assert queued.fitted.hours == pytest.approx(len(queued.runs) * free.fitted.hours, rel=1e-6)


def test_written_plans_are_read_back_as_they_are(tmp_path):
    study = study_of(BETTER, budget={"node_hours": 10**9})
    finish(study, tmp_path, "rules", seeds=1)
    plan = planned(study, tmp_path)
    write_plan(plan, SITE, tmp_path, simulate(plan))
    read = read_plan(tmp_path)
    assert read.decisions == decisions(plan)
    assert set(read.jobs) == {run.run_id for run in runs_of(plan, "planned", "required")}
    for run in runs_of(plan, "planned"):
        where, minutes = read.jobs[run.run_id]
        cost = run.cost
        assert (where.nodes, where.ranks_per_node, minutes) == (cost.nodes, cost.ranks_per_node, cost.walltime_min)
        assert read.priorities[run.run_id] == run.priority
    assert read.fingerprint == fingerprint(study, SITE)
    assert with_plan(study, tmp_path).left_out == {run.run_id for run in runs_of(plan, "left_out")}
    facts = json.loads((tmp_path / "plan/plan.json").read_text())
    assert facts["gap"] == 0 and facts["runs"]["finished"] == 2
    assert len(list(run_rows(plan))) == len(study.runs)


def test_what_is_finished_does_not_make_a_plan_stale_and_all_else_does(tmp_path):
    study = study_of(BETTER)
    before = fingerprint(study, SITE)
    finish(study, tmp_path, "rules", seeds=2)
    assert fingerprint(study, SITE) == before
    same = study_of(BETTER | {"statement": "In other words."}, title="Another title")
    assert fingerprint(same, SITE) == before
    for changed in (
        study_of(BETTER, seeds=7),
        study_of(RULE),
        study_of(BETTER, budget={"node_hours": 5.0}),
        study_of(BETTER, planning={"sd": 2.0}),
        study_of(BETTER, placement={"ranks_per_node": 2}),
        study_of(BETTER, confidence=0.9),
    ):
        assert fingerprint(changed, SITE) != before
    assert fingerprint(study, Site.model_validate(CLUSTER | {"eligible_jobs": 4})) != before


def test_a_summary_says_what_fits_and_what_not(tmp_path):
    plan = planned(study_of(BETTER, RULE, budget={"node_hours": 1e-6}), tmp_path)
    text = "\n".join(summary_lines(plan, tmp_path))
    assert "0 runs planned, 32 left out" in text
    assert "Of 2 claims: 2 beyond the budget" in text
    assert math.isclose(plan.fitted.hours, 0.0)
