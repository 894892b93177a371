"""`snakemake plan`, and what a later call makes of it."""

from __future__ import annotations

import csv
import json
import re
import shutil

import pytest
import yaml

from warmscale.cluster.site import Site
from warmscale.planning.plan import make_plan
from warmscale.records import rows_to_csv
from warmscale.study import load_study
from warmscale.study.planned import digest

from .conftest import REPOSITORY, TINY

GRID = {"name": "warmup", "grid": {"warmup_epochs": [0, 1]}, "seeds": 6}
OTHER = {"name": "scaling", "recipe": {"warmup_epochs": 0.5}, "grid": {"lr_scaling.rule": ["linear", "none"]}}
BETTER = {"kind": "better", "statement": "It helps."}
CLAIMS = [
    BETTER | {"id": "warmup", "experiment": "warmup", "factor": "warmup_epochs", "levels": [1, 0]},
    BETTER | {"id": "scaling", "experiment": "scaling", "factor": "lr_scaling.rule", "levels": ["linear", "none"]},
]
WANTED = 3
"""Seeds a cell that the claims below need with an sd of 1 and an effect of 5, two claims and one look."""


def study(**keys):
    """Two comparisons of two cells of six seeds, of which a plan needs three."""
    planning = {"sd": 1.0, "smallest_effect": 5.0}
    sections = {"experiments": [GRID, {**OTHER, "seeds": 6}], "claims": CLAIMS, "planning": planning, "max_looks": 1}
    return {**TINY, **sections, **keys}


def planned(checkout, folder="results/tiny"):
    with (checkout.folder / folder / "plan/plan.csv").open(newline="") as file:
        return {row["run_id"]: row for row in csv.DictReader(file)}


def ids(rows, *decisions):
    return {run_id for run_id, row in rows.items() if row["decision"] in decisions}


def in_dry_run(checkout, *words):
    """Ids of the runs that a call would train, and all that it says."""
    said = checkout.snakemake("-n", *words).stdout
    return set(re.findall(r"wildcards: run=(\S+)", said)), said


def plan_for_one_claim(checkout):
    """Plan with a budget that pays the more valuable of the two claims only; returns the rows."""
    cost = make_plan(load_study(study()), Site(), checkout.folder / "results/tiny").runs[0].cost
    budget = {"node_hours": (2 * WANTED + 1) * cost.node_hours}
    checkout.write(study(budget=budget, planning={**study()["planning"], "weights": {"scaling": 2}}))
    done = checkout.snakemake("plan")
    assert done.returncode == 0, done.stdout
    return planned(checkout)


def test_a_dry_run_shows_exactly_the_planned_runs_and_never_plans_again(checkout):
    rows = plan_for_one_claim(checkout)
    chosen = ids(rows, "planned")
    assert {row["experiments"] for run_id, row in rows.items() if run_id in chosen} == {"scaling"}
    assert len(chosen) == 2 * WANTED
    path = checkout.folder / "results/tiny/plan/plan.csv"
    before = path.read_bytes(), path.stat().st_mtime_ns
    shown, said = in_dry_run(checkout)
    assert shown == chosen
    assert "results/tiny/plan/plan.csv: 6 of 24 runs are carried out; 18 runs are not in the plan" in said
    assert "stale" not in said
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert not (checkout.folder / "data").exists()  # neither data nor an index were needed for any of it


def test_a_stale_plan_is_said_and_carried_out_as_it_is(checkout):
    chosen = ids(plan_for_one_claim(checkout), "planned")
    checkout.write(study(experiments=[{**GRID, "seeds": 7}, {**OTHER, "seeds": 6}]))
    shown, said = in_dry_run(checkout)
    assert shown == chosen
    (line,) = [line for line in said.splitlines() if "is stale" in line]
    assert line.startswith("results/tiny/plan/plan.csv is stale")
    assert line.endswith("To plan again: snakemake plan --profile profiles/local --cores 2")


def test_what_is_required_does_not_fit_is_one_line_with_the_smallest_budget_that_does(checkout):
    hours = 1.0e-6
    checkout.write(study(budget={"node_hours": hours}, planning={"required": ["scaling"]}))
    done = checkout.snakemake("plan")
    assert done.returncode != 0
    assert "budget.node_hours: 1e-06 is too small for the 12 required runs; as the rest is, " in done.stdout
    assert "Traceback" not in done.stdout
    assert not (checkout.folder / "results/tiny/plan/plan.csv").exists()


def test_finished_runs_stay_and_a_complete_plan_makes_a_complete_study(finished):
    before = set((finished.folder / "results/tiny/runs").iterdir())
    experiments = [{**TINY["experiments"][0], "seeds": 3}, TINY["experiments"][1]]
    claim = {**CLAIMS[0], "levels": [1, 0]}
    changed = {**TINY, "experiments": experiments, "claims": [claim], "max_looks": 2}
    planning = {"sd": 0.5, "smallest_effect": 20.0, "power": 0.5}
    finished.write({**changed, "planning": planning, "budget": {"node_hours": 100, "concurrent_nodes": 1}})
    assert finished.snakemake("plan").returncode == 0
    rows = planned(finished)
    assert len(ids(rows, "finished")) == 3
    assert len(ids(rows, "planned")) == 2  # a second seed for each of two cells
    assert len(ids(rows, "left_out")) == 2
    assert in_dry_run(finished)[0] == ids(rows, "planned")
    done = finished.snakemake()
    assert done.returncode == 0, done.stdout
    assert (finished.folder / "results/tiny/complete").exists()
    after = set((finished.folder / "results/tiny/runs").iterdir())
    assert before < after and len(after) == 5
    first, second = sorted(_times(path) for path in after - before)
    assert first[1] <= second[0]  # one node at a time, though this machine has two cores
    page = (finished.folder / "results/tiny/report/index.html").read_text()
    assert "2 runs are not in the plan" in page
    assert "Partial" not in page
    with (finished.folder / "results/tiny/tables/claims.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["verdict"] != "not_run"
    assert finished.jobs() == {}
    assert finished.snakemake("plan").returncode == 0
    assert len(ids(planned(finished), "finished")) == 5
    assert "stale" not in in_dry_run(finished)[1]
    finished.write({**changed, "planning": planning | {"sd": 0.4}, "budget": {"node_hours": 90}})
    assert finished.jobs() == {}  # no table, figure or page is about a budget


def _times(published):
    """When a run began and ended, as its files have it."""
    attempts = json.loads((published / "run.json").read_text())["attempts"]
    return attempts[0]["started"], attempts[-1]["ended"]


def test_a_plan_needs_no_cluster_and_its_walltimes_are_asked_for(checkout):
    path = checkout.folder / "profiles/lsf/site.yaml"
    facts = {"node": {"gpus": 0, "cores": 4}, "placement": {"max_nodes": 1}, "eligible_jobs": 2}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | facts))
    checkout.write(study(budget={"concurrent_nodes": 3}))
    words = ("--profile", "lsf")
    done = checkout.snakemake(*words, "plan", profile=False)
    assert done.returncode == 0, done.stdout
    assert not shutil.which("bsub") and "bsub" not in done.stdout
    rows = planned(checkout)
    rows = {run_id: row for run_id, row in rows.items() if row["decision"] == "planned"}
    minutes = {row["walltime_min"] for row in rows.values()}
    assert minutes and max(map(int, minutes)) < 720  # what the site would give
    said = checkout.snakemake("-n", *words, profile=False).stdout
    assert set(re.findall(r"runtime=(\d+)", said)) == minutes
    assert set(re.findall(r"priority: (\d+)", said)) == {row["priority"] for row in rows.values()}
    assert said.count("study_nodes=1") == len(rows)  # of the three that Snakemake counts
    facts = json.loads((checkout.folder / "results/tiny/plan/plan.json").read_text())
    assert facts["eligible_jobs"] == 2


def jobs_shown(said):
    """{run_id: (nodes, minutes)} of the trainings of a dry run."""
    blocks = re.findall(r"^rule train:\n((?:    .+\n)+)", said, flags=re.MULTILINE)
    patterns = (r"wildcards: run=(\S+)", r"\bnodes=(\d+)", r"\bruntime=(\d+)")
    found = [[re.search(pattern, block)[1] for pattern in patterns] for block in blocks]
    return {run_id: (int(nodes), int(minutes)) for run_id, nodes, minutes in found}


def test_each_run_is_carried_out_on_its_planned_nodes_for_its_planned_time(checkout):
    path = checkout.folder / "profiles/lsf/site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"node": {"gpus": 0, "cores": 4}}))
    long = {"name": "long", "recipe": {"epochs": 400, "decay": {"epochs": [1]}}, "grid": {"warmup_epochs": [1]}}
    nodes = {"placement": {"nodes": [1, 2], "ranks_per_node": 1}, "planning": {"required": [{"seed": [1, 2]}]}}
    two_lengths = study(experiments=[GRID | {"seeds": 2}, long | {"seeds": 2}], claims=[], **nodes)
    words = ("--profile", "lsf")

    def planned_with(budget):
        checkout.write({**two_lengths, "budget": budget})
        done = checkout.snakemake(*words, "plan", profile=False)
        assert done.returncode == 0, done.stdout
        rows = {run_id: row for run_id, row in planned(checkout).items() if row["decision"] == "required"}
        said = checkout.snakemake("-n", *words, profile=False).stdout
        wanted = {run_id: (int(row["nodes"]), int(row["walltime_min"])) for run_id, row in rows.items()}
        assert len(wanted) == 6 and jobs_shown(said) == wanted
        return rows

    rows = planned_with({"node_hours": 10**6})
    assert {row["nodes"] for row in rows.values()} == {"1"}  # the cheapest
    unplanned = load_study(two_lengths)
    assert {unplanned.where(run).nodes for run in unplanned.runs.values()} == {2}
    slowest = max(float(row["end_hour"]) - float(row["start_hour"]) for row in rows.values())
    rows = planned_with({"node_hours": 10**6, "deadline_hours": 0.9 * slowest})
    assert {row["experiments"]: row["nodes"] for row in rows.values()} == {"warmup": "1", "long": "2"}
    assert len({row["walltime_min"] for row in rows.values()}) == 2


def test_the_posters_study_is_planned_for_summit(checkout):
    shutil.copy(REPOSITORY / "profiles/lsf/presets/summit.yaml", checkout.folder / "profiles/lsf/site.yaml")
    done = checkout.snakemake("--profile", "lsf", "plan", profile=False)
    assert done.returncode == 0, done.stdout
    rows = planned(checkout, "results/poster")
    assert len(rows) == 39
    assert {row["nodes"] for row in rows.values()} == {"10", "40"}
    page = (checkout.folder / "results/poster/plan/index.html").read_text()
    assert "summit-v100" in page and "Nothing is measured yet" in page


def rewrite(checkout, change):
    """Change every row of a plan by hand, with its digest."""
    plan = checkout.folder / "results/tiny/plan/plan.csv"
    rows = list(planned(checkout).values())
    plan.write_text(rows_to_csv([row | change for row in rows], list(rows[0])))
    facts = json.loads(plan.with_name("plan.json").read_text())
    plan.with_name("plan.json").write_text(json.dumps(facts | {"digest": digest(plan.read_bytes())}))


@pytest.mark.parametrize("asked", [(), ("plan", "all")])
def test_a_damaged_plan_is_one_line_and_can_be_made_again(checkout, asked):
    checkout.write(study())
    path = checkout.folder / "results/tiny/plan/plan.csv"
    path.parent.mkdir(parents=True)
    path.write_text("run_id,decision\nmb1,planned\n")
    done = checkout.snakemake("-n", *asked)
    assert done.returncode != 0
    assert "results/tiny/plan/plan.csv: is not the plan that was written there" in done.stdout
    assert "Traceback" not in done.stdout
    assert checkout.snakemake("plan").returncode == 0
    assert checkout.snakemake("-n").returncode == 0


def test_a_plan_for_places_that_are_no_more_says_so_and_can_be_made_again(checkout):
    checkout.write(study())
    assert checkout.snakemake("plan").returncode == 0
    rewrite(checkout, {"nodes": "2"})
    checkout.write(study(experiments=[{**GRID, "seeds": 7}, {**OTHER, "seeds": 6}]))
    done = checkout.snakemake("-np", "all")
    assert done.returncode != 0
    error, stale = done.stdout.strip().splitlines()[-2:]
    assert error.startswith("placement.nodes: 2 nodes, and ")
    assert stale.startswith("results/tiny/plan/plan.csv is stale")
    assert stale.endswith("To plan again: snakemake plan --profile profiles/local --cores 2 -p")
    assert checkout.snakemake("plan").returncode == 0
    assert checkout.snakemake("-n").returncode == 0


def test_nodes_of_the_command_line_make_no_plan_stale(checkout):
    checkout.write(study())
    assert checkout.snakemake("plan").returncode == 0
    assert "stale" not in in_dry_run(checkout, "--set-resources", "train:nodes=1")[1]


def test_measurements_go_before_planned_trainings(checkout):
    speed = {"name": "speed", "kind": "throughput", "steps": 2, "warmup_steps": 1, "repeats": 1}
    checkout.write(study(experiments=[*study()["experiments"], speed | {"worker_batch_size": [8]}]))
    assert checkout.snakemake("plan").returncode == 0
    said = in_dry_run(checkout)[1]
    ranks = {rule: {int(number) for number in re.findall(rf"rule {rule}:(?:\n    .+)*?\n    priority: (\d+)", said)}
             for rule in ("measure", "train")}  # fmt: skip
    assert ranks["train"] and min(ranks["measure"]) > max(ranks["train"])


def test_only_what_is_measured_can_be_asked_for_and_the_plan_is_fitted_to_it(checkout):
    speed = {"name": "speed", "kind": "throughput", "steps": 2, "warmup_steps": 1, "repeats": 1}
    checkout.write(study(experiments=[*study()["experiments"], speed | {"worker_batch_size": [8, 16]}]))
    asked = ("--until", "measure")
    assert checkout.jobs(*asked) == {"measure": 2, "total": 2}
    assert checkout.snakemake(*asked).returncode == 0
    assert not (checkout.folder / "results/tiny/tables").exists()
    done = checkout.snakemake("plan")
    assert done.returncode == 0 and "beside" not in done.stdout
    assert "Fitted to 2 measurements" in (checkout.folder / "results/tiny/plan/index.html").read_text()


def test_results_of_others_are_nothing_to_plan(checkout):
    done = checkout.snakemake("plan", "--configfile", "config/replay/goyal2017.yaml")
    assert done.returncode != 0
    line = "study goyal2017: its results are there already, so that there is nothing to plan"
    assert done.stdout.strip().splitlines()[-1] == line
