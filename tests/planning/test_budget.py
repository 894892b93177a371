"""What throughput measurements take of a budget, and what is said where seeds are too few for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from warmscale.cluster.site import load_site, placement_of
from warmscale.config_files import read_config
from warmscale.planning.budget import measuring, node_hours_of
from warmscale.planning.files import simulate, write_plan
from warmscale.planning.plan import make_plan
from warmscale.planning.prices import Prices
from warmscale.planning.step_time import StepShape, step_time
from warmscale.planning.summary import summary_lines
from warmscale.planning.workload import PlanningError
from warmscale.study import load_trained
from warmscale.training.passes import workers_together

from .studies import BETTER, RULES, SEEDS, SPEED, WARMUPS, measure, study_of
from .test_page import shown
from .test_plan import SITE, hours_of_a_run, planned, runs_of

ROOT = Path(__file__).parents[2]


def measured_study(*claims, speed=None, **sections):
    """The study with two measurements on one node."""
    return study_of(*claims, experiments=[WARMUPS, RULES, SPEED | (speed or {})], **sections)


def cost(study, results, site=SITE):
    return measuring(Prices(study, site, []), results)


@pytest.mark.parametrize(
    ("zero_stage", "whole", "alone", "averages"),
    [
        (0, 5 + 12 + 4, 12 + 4, 12 + 1),  # four blocks of three, each after a step that is not timed
        (1, 5 + 12 + 4, 0, 0),
    ],
)
def test_a_measurement_costs_its_start_and_all_its_steps_on_all_its_nodes(tmp_path, zero_stage, whole, alone, averages):
    speed = {"nodes": [4], "ranks_per_node": [1], "steps": 12, "warmup_steps": 5}
    study = measured_study(speed=speed, placement={"zero_stage": zero_stage})
    (measurement,) = study.measurements.values()
    model = Prices(study, SITE, []).model_of(measurement)
    together = workers_together("auto", 1, images_a_worker=8, image_size=224, device="cpu")
    shape = StepShape(4, 1, 4, 8, together, overlaps=not zero_stage)
    step = step_time(shape, model.work, model.hardware, has_input=False)
    steps_sec = whole * step.step_sec + alone * step.alone_sec + averages * step.communication_sec
    start_sec = model.hardware.start_up_sec.of
    found = node_hours_of(measurement, model, study.config.placement)
    assert measurement.total_steps == whole + alone
    assert found[0] == pytest.approx(4 * (start_sec + steps_sec) / 3600)
    end = model.predict(shape, has_input=False).high_sec / step.step_sec
    assert found[2] == pytest.approx(4 * (start_sec + end * steps_sec) / 3600)
    assert found[1] < found[0] < found[2]
    made = cost(study, tmp_path)
    assert (made.number, made.node_hours) == (1, found[0])


def test_only_measurements_that_are_not_done_cost_anything(tmp_path):
    study = measured_study()
    first, second = study.measurements
    both = cost(study, tmp_path)
    measure(tmp_path, first)
    one = cost(study, tmp_path)
    assert (both.number, one.number) == (2, 1)
    assert 0 < one.node_hours < both.node_hours
    measure(tmp_path, second, state="failed")  # published as that, and not tried again
    assert (cost(study, tmp_path).number, cost(study, tmp_path).node_hours) == (0, 0.0)


def test_points_that_the_site_has_no_nodes_for_cost_nothing(tmp_path):
    few, more = (cost(measured_study(speed={"nodes": nodes}), tmp_path) for nodes in ([1], [1, 8]))
    assert few == more


def test_measurements_are_taken_off_the_node_hours_before_runs_are_chosen(tmp_path):
    needed, hours = planned(study_of(BETTER), tmp_path).claims[0].need.needed, hours_of_a_run(tmp_path)
    taken = cost(measured_study(BETTER), tmp_path).node_hours
    budget = {"node_hours": 2 * needed * hours + taken / 2}
    assert planned(study_of(BETTER, budget=budget), tmp_path).claims[0].is_bought
    plan = planned(measured_study(BETTER, budget=budget), tmp_path)
    assert not plan.claims[0].is_bought
    assert plan.limits.node_hours == pytest.approx(2 * needed * hours - taken / 2)
    enough = {"node_hours": budget["node_hours"] + taken}
    assert planned(measured_study(BETTER, budget=enough), tmp_path).claims[0].is_bought


def test_what_measurements_take_is_said_everywhere(tmp_path):
    study = measured_study(BETTER, budget={"node_hours": 10**6})
    plan, text = shown(study, tmp_path)
    made = plan.taken_off.measuring
    assert "node-hours of 2 measurements 1,000,000" in text
    assert f"{made.node_hours:.4g} (from {made.node_hours_low:.4g} to {made.node_hours_high:.4g})" in text
    assert "Measurements are carried out first" in text
    assert "for 2 measurements" in summary_lines(plan, tmp_path)[0]
    write_plan(plan, SITE, tmp_path, simulate(plan))
    facts = json.loads((tmp_path / "plan/plan.json").read_text())["measurements"]
    assert facts["number"] == 2
    assert facts["node_hours"] == pytest.approx(made.node_hours, rel=1e-5)
    for each in study.measurements:
        measure(tmp_path, each)
    plan, text = shown(study, tmp_path)
    assert "2 measurements" not in text.partition("What it buys")[0]
    assert "beside" not in summary_lines(plan, tmp_path)[0]
    assert "Fitted to 2 measurements" in text


def test_what_is_required_names_measurements_where_the_budget_is_too_small(tmp_path):
    plain, taken = planned(measured_study(), tmp_path), cost(measured_study(), tmp_path).node_hours
    hours = sum(run.cost.node_hours for run in plain.runs)
    planning = {"required": ["warmups", "rules"]}
    with pytest.raises(PlanningError) as refused:
        planned(measured_study(budget={"node_hours": hours}, planning=planning), tmp_path)
    (line,) = refused.value.lines
    assert (
        f"is too small for the {4 * SEEDS} required runs, as {taken:.2g} go to measurements; as the rest is, " in line
    )
    least = float(line.removesuffix(" would do").rpartition(" ")[2])
    assert hours + taken <= least <= hours + taken + 0.1
    assert len(runs_of(planned(measured_study(budget={"node_hours": least}, planning=planning), tmp_path), "required"))


def test_measurements_beyond_the_budget_are_said(tmp_path):
    taken = cost(measured_study(), tmp_path).node_hours
    within, beyond = (
        "\n".join(summary_lines(planned(measured_study(BETTER, budget={"node_hours": hours}), tmp_path), tmp_path))
        for hours in (2 * taken, taken / 2)
    )
    assert "Measurements alone take" in beyond and "Measurements alone take" not in within


def warned(study, results):
    """The lines about seeds that are too few."""
    return [line for line in summary_lines(planned(study, results), results) if "are left out, as for" in line]


def test_budget_that_is_left_because_seeds_are_too_few_is_said(tmp_path):
    needed = planned(study_of(BETTER), tmp_path).claims[0].need.needed
    budget = {"node_hours": 10**6}
    (line,) = warned(study_of(BETTER, seeds=needed - 1, budget=budget), tmp_path)
    assert line.startswith("1,000,000 node-hours of the budget are unused while ")
    assert f"{2 * (needed - 1)} runs are left out, as for 1 of 1 claim the config has too few seeds" in line
    assert line.endswith(f": raise seeds to {needed}, or name the runs in planning.required")
    assert line in shown(study_of(BETTER, seeds=needed - 1, budget=budget), tmp_path)[1]
    raised = planned(study_of(BETTER, seeds=needed, budget=budget), tmp_path)
    assert raised.claims[0].is_bought and warned(study_of(BETTER, seeds=needed, budget=budget), tmp_path) == []


def test_where_no_number_of_seeds_is_enough_only_required_runs_help(tmp_path):
    planning = {"sd": 20.0, "smallest_effect": 0.1}
    (line,) = warned(study_of(BETTER, budget={"node_hours": 10**6}, planning=planning), tmp_path)
    assert line.endswith("the config has too few seeds: name the runs in planning.required")
    required = planning | {"required": ["warmups"]}
    assert warned(study_of(BETTER, budget={"node_hours": 10**6}, planning=required), tmp_path) == []


def test_nothing_is_said_of_seeds_without_budget_for_a_further_run(tmp_path):
    needed, hours = planned(study_of(BETTER), tmp_path).claims[0].need.needed, hours_of_a_run(tmp_path)
    few = needed - 1
    assert warned(study_of(BETTER, seeds=few), tmp_path) == []  # no budget: all runs are planned
    assert warned(study_of(BETTER, seeds=few, budget={"node_hours": 0.9 * hours}), tmp_path) == []
    assert len(warned(study_of(BETTER, seeds=few, budget={"node_hours": 1.1 * hours}), tmp_path)) == 1


def posters(seeds):
    """The poster's study on Summit, with 2,000 node-hours and so many seeds."""
    site = load_site(ROOT / "profiles/lsf/presets/summit.yaml")
    raw = {**read_config(ROOT / "config/config.yaml"), "seeds": seeds, "budget": {"node_hours": 2000}}
    return load_trained(raw | {"placement": placement_of(None, site)}), site


def documented():
    """The quotations of docs/plan.md, as one line."""
    lines = (ROOT / "docs/plan.md").read_text().splitlines()
    return " ".join(line.removeprefix(">").strip() for line in lines if line.startswith(">"))


def test_the_posters_three_seeds_leave_all_of_2000_node_hours_unused(tmp_path):
    study, site = posters(seeds=3)
    plan = make_plan(study, site, tmp_path)
    (line,) = [line for line in summary_lines(plan, tmp_path) if "are left out, as for" in line]
    assert "for 10 of 14 claims the config has too few seeds: raise seeds to 10" in line
    assert line in documented()
    assert not runs_of(plan, "planned")
    untestable = [one.need for one in plan.claims if one.need.standing == "untestable"]
    assert [need.claim.kind for need in untestable] == ["exponent"] * 3
    assert all("4 levels of warmup_epochs" in need.note for need in untestable)


def test_with_ten_seeds_2000_node_hours_buy_the_poster_nine_of_its_claims(tmp_path):
    study, site = posters(seeds=10)
    plan = make_plan(study, site, tmp_path)
    bought = {one.need.claim.id: one for one in plan.claims if one.is_bought}
    assert len(bought) == 9
    others = [one.need for one in plan.claims if one.need.claim.id not in bought and one.need.standing != "untestable"]
    assert {need.claim.id for need in others} == {"larger-is-worse", "computation-to-communication"}
    assert all(one.seeds >= (one.need.needed or study.config.seeds) for one in bought.values())
    assert plan.fitted.chosen.gap == 0
    first, *others = summary_lines(plan, tmp_path)
    assert all(line in documented() for line in [first.partition(": ")[2], *others])
    taken, cells = plan.taken_off.measuring, {}
    for run in runs_of(plan, "planned"):
        cells[run.cell] = cells.get(run.cell, 0) + 1
    assert taken.number == 60
    assert 1000 < sum(run.cost.node_hours for run in runs_of(plan, "planned")) <= 2000 - taken.node_hours
    assert sum(cells.values()) == 90 and max(cells.values()) == 10
    further = next(one for one in plan.claims if one.need.claim.id == "larger-is-worse")
    assert further.more_node_hours > plan.limits.node_hours - plan.fitted.chosen.node_hours  # it does not fit beside
