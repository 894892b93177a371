"""The files of a plan as Snakemake reads them: what is taken for one, when it is stale, what is said of it."""

from __future__ import annotations

import json

import pytest

from warmscale.cluster.placement import Where
from warmscale.cluster.site import Site
from warmscale.records import write_json
from warmscale.study import load_study
from warmscale.study.planned import (
    FACTS,
    PLAN,
    PlanFileError,
    as_analysed,
    digest,
    left_out_line,
    read_plan,
    with_plan,
)
from warmscale.study.staleness import fingerprint, is_stale, stale_line

from .study_builders import make_config

HEADER = "run_id,decision,nodes,ranks_per_node,walltime_min,priority"
ROWS = ("mb1,planned,2,6,55,2", "mb2,required,1,6,,1", "mb3,finished,,,,0", "mb4,left_out,4,6,90,0")


def write(results, *rows, header=HEADER, facts=None):
    """A plan of these rows, which plan.json tells the digest of."""
    text = "\n".join([header, *rows]) + "\n"
    (results / "plan").mkdir()
    (results / PLAN).write_text(text)
    told = {"fingerprint": "a-b", "digest": digest(text.encode())} if facts is None else facts
    (results / FACTS).write_text(json.dumps(told))


def refusal(results):
    with pytest.raises(PlanFileError) as refused:
        read_plan(results)
    (line,) = refused.value.lines
    assert line.startswith(f"{results / PLAN}: is not the plan that was written there: ")
    assert line.endswith("; make it again by `snakemake plan`, or delete it: all runs are carried out then")
    return line


def test_a_plan_is_read_as_it_was_written(tmp_path):
    write(tmp_path, *ROWS)
    plan = read_plan(tmp_path)
    assert plan.decisions == {"mb1": "planned", "mb2": "required", "mb3": "finished", "mb4": "left_out"}
    assert plan.jobs == {"mb1": (Where(2, 6), 55), "mb2": (Where(1, 6), None)}
    assert plan.priorities == {"mb1": 2, "mb2": 1, "mb3": 0, "mb4": 0}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("mb1,plannned,2,6,55,2", "mb1 has the decision 'plannned', not one of finished, planned, required, left_out"),
        ("mb1,planned,0,6,55,2", "mb1 has nodes '0', which must be a whole number from 1"),
        ("mb1,planned,2,six,55,2", "mb1 has ranks_per_node 'six', which must be a whole number from 1"),
        ("mb1,planned,2,6,0,2", "mb1 has walltime_min '0', which must be a whole number from 1"),
        ("mb1,planned,2,6,-5,2", "mb1 has walltime_min '-5', which must be a whole number from 1"),
        ("mb1,planned,2,6,55,high", "mb1 has priority 'high', which must be a whole number from 0"),
        ("mb1,planned,2", "mb1 has ranks_per_node '', which must be a whole number from 1"),
    ],
)
def test_a_mistyped_value_is_refused(tmp_path, row, told):
    write(tmp_path, row)
    assert told in refusal(tmp_path)


def test_a_missing_column_is_refused(tmp_path):
    write(tmp_path, "mb1,planned", header="run_id,decision")
    assert "it has no column nodes, priority, ranks_per_node, walltime_min" in refusal(tmp_path)


@pytest.mark.parametrize("facts", [{}, [1], {"digest": digest(b"another")}])
def test_a_plan_that_its_facts_are_not_of_is_refused(tmp_path, facts):
    write(tmp_path, *ROWS, facts=facts)
    assert "plan.json beside it" in refusal(tmp_path)


def test_a_plan_that_was_cut_short_is_refused(tmp_path):
    write(tmp_path, *ROWS)
    text = (tmp_path / PLAN).read_text()
    (tmp_path / PLAN).write_text(text[: text.index("mb2")])
    assert "plan.json beside it is of another text" in refusal(tmp_path)


def test_a_plan_from_before_a_crash_does_not_pass_for_the_one_after(tmp_path):
    write(tmp_path, *ROWS)
    later = {"fingerprint": "c-d", "digest": digest(b"what was not written any more")}
    (tmp_path / FACTS).write_text(json.dumps(later))
    refusal(tmp_path)


@pytest.mark.parametrize(
    ("state", "stays"),
    [("finished", True), ("diverged", True), ("failed", False), (None, False)],
)
def test_a_run_with_a_result_stays_although_the_plan_leaves_it_out(tmp_path, state, stays):
    write(tmp_path, *ROWS)
    if state:
        write_json(tmp_path / "runs/mb4/run.json", {"state": state})
    kept = read_plan(tmp_path).kept(["mb4", "mb1", "mb5", "mb2", "mb3"], tmp_path)
    assert kept == (["mb4"] if stays else []) + ["mb1", "mb2", "mb3"]  # mb5 is not in the plan


def test_a_study_knows_the_runs_with_a_result_that_its_plan_leaves_out(tmp_path):
    study = study_of()
    first, *others = study.runs
    write(tmp_path, *(f"{run_id},left_out,1,1,,0" for run_id in study.runs))
    assert with_plan(study, tmp_path).left_out == set(study.runs)
    write_json(tmp_path / f"runs/{first}/run.json", {"state": "finished"})
    assert with_plan(study, tmp_path).left_out == set(others)


def test_facts_without_a_plan_are_no_plan(tmp_path):
    write(tmp_path, *ROWS)
    (tmp_path / PLAN).unlink()
    assert read_plan(tmp_path) is None


def study_of(levels=(0, 1), **keys):
    experiments = [{"name": "warmups", "grid": {"warmup_epochs": list(levels)}}]
    return load_study(make_config(**{"experiments": experiments, "seeds": 2} | keys))


def plan_of(tmp_path, study):
    write(tmp_path, *ROWS, facts={"fingerprint": fingerprint(study, Site()), "digest": digest(TEXT.encode())})
    return read_plan(tmp_path)


TEXT = "\n".join([HEADER, *ROWS]) + "\n"


def test_a_plan_is_stale_where_runs_are_points_of_other_experiments(tmp_path):
    study = study_of()
    plan = plan_of(tmp_path, study)
    renamed = study_of(experiments=[{"name": "others", "grid": {"warmup_epochs": [0, 1]}}])
    shared = study_of(
        experiments=[
            {"name": "warmups", "grid": {"warmup_epochs": [0, 1]}},
            {"name": "more", "recipe": {"warmup_epochs": 1}, "grid": {"label_smoothing": [0.0]}},
        ]
    )
    assert not is_stale(plan, study, Site())
    assert study.runs.keys() == renamed.runs.keys() == shared.runs.keys()
    assert is_stale(plan, renamed, Site()) and is_stale(plan, shared, Site())


def test_a_plan_is_stale_where_other_steps_are_to_be_measured(tmp_path):
    warmups = {"name": "warmups", "grid": {"warmup_epochs": [0, 1]}}
    speed = {"name": "speed", "kind": "throughput", "worker_batch_size": [8]}
    study = study_of(experiments=[warmups, speed])
    plan = plan_of(tmp_path, study)
    assert not is_stale(plan, study_of(experiments=[warmups, speed | {"title": "In words", "minutes": 5}]), Site())
    assert is_stale(plan, study_of(experiments=[warmups, speed | {"repeats": 5}]), Site())
    assert is_stale(plan, study_of(experiments=[warmups]), Site())


def test_nodes_that_the_command_line_sets_make_no_plan_stale(tmp_path):
    study = study_of()
    plan, other = plan_of(tmp_path, study), study_of(placement={"nodes": 2, "ranks_per_node": 1})
    assert is_stale(plan, other, Site())
    assert not is_stale(plan, other, Site(), asked_for=["nodes"])
    assert is_stale(plan, study_of(seeds=3), Site(), asked_for=["nodes"])


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ("-n", ""),
        ("-np --cores 2", "-p --cores 2"),
        ("--dry-run -pn all", "-p"),
        ("--dryrun -nj4", "-j4"),
        ("--profile lsf results/x/report/index.html", "--profile lsf"),
        ("--nolock --no-lock", "--nolock --no-lock"),
    ],
)
def test_what_to_type_is_the_call_without_dry_run_and_targets(words, again):
    line = stale_line(words.split(), {"all", "results/x/report/index.html"})
    assert line.endswith(f"To plan again: {f'snakemake plan {again}'.strip()}")


def test_of_a_plan_the_analysis_is_told_what_it_predicts_from():
    planning = {"hardware": "cpu", "sd": 1.0, "weights": {"a": 2}}
    config = {"study": "x", "budget": {"node_hours": 5}, "planning": planning, "seeds": 2}
    assert json.loads(as_analysed(json.dumps(config))) == {"study": "x", "seeds": 2, "planning": {"hardware": "cpu"}}
    assert json.loads(as_analysed(json.dumps(config | {"planning": {"sd": 1.0}}))) == {"study": "x", "seeds": 2}


def test_one_run_and_many_are_told():
    assert left_out_line(1, 2).endswith("1 of 2 runs are carried out; 1 run is not in the plan")
    assert left_out_line(5, 2000).endswith("5 of 2,000 runs are carried out; 1,995 runs are not in the plan")
