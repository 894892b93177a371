"""Throughput experiments: the measurements that they ask for, their ids, and what is wrong with them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmscale.study import canonical_json, load_study
from warmscale.study.config import Experiment, ThroughputExperiment

from .study_builders import ROOT, lines_of, make_config, read_config, study_of

POINTS = {"name": "speed", "kind": "throughput", "worker_batch_size": [16, 32], "ranks_per_node": [1, 2]}
GRID = {"name": "first", "grid": {"warmup_epochs": [0, 1]}}


def experiment(**changes):
    return {**POINTS, **changes}


def measured(*experiments, **sections):
    return study_of(experiments=[*experiments], **sections).measurements


def changed(**sections):
    """A config with a throughput experiment in which keys of the recipe are changed."""
    return make_config(experiments=[POINTS], recipe={**make_config()["recipe"], **sections})


def test_a_study_may_have_trainings_and_measurements_in_any_order():
    study = study_of(experiments=[POINTS, GRID])
    assert [each.name for each in study.config.experiments] == ["speed", "first"]
    assert [type(each) for each in study.config.trainings] == [Experiment]
    assert [type(each) for each in study.config.throughputs] == [ThroughputExperiment]
    assert len(study.runs) == 2
    assert {point.experiment for point in study.points} == {"first"}
    assert study.runs.keys().isdisjoint(study.measurements)


def test_there_is_a_measurement_for_each_place_batch_and_repeat():
    found = measured(experiment(nodes=[1, 2], repeats=3))
    shapes = [(one.where.nodes, one.where.ranks_per_node, one.worker_batch_size, one.repeat) for one in found.values()]
    assert len(shapes) == len(set(shapes)) == 2 * 2 * 2 * 3


def test_without_workers_each_rank_has_one():
    for one in measured(experiment(nodes=[1, 2])).values():
        assert one.recipe.workers == one.where.ranks
        assert one.recipe.mini_batch_size == one.where.ranks * one.worker_batch_size


def test_with_workers_all_ranks_share_them():
    found = measured(experiment(nodes=[1, 2], workers=[4])).values()
    assert {(one.recipe.workers, one.recipe.mini_batch_size // one.worker_batch_size) for one in found} == {(4, 4)}


def test_without_ranks_a_node_has_those_of_the_placement():
    found = measured(experiment(ranks_per_node=None), placement={"ranks_per_node": 3}).values()
    assert {one.where.ranks_per_node for one in found} == {3}


def test_ids_begin_as_told_and_hash_the_content():
    for name, one in measured(experiment(nodes=[2])).items():
        where = one.where
        told = f"tp-n2x{where.ranks_per_node}-w{where.ranks}-b{one.worker_batch_size}-r{one.repeat}-"
        assert re.fullmatch(re.escape(told) + "[0-9a-f]{12}", name)
        assert one.content_json() == canonical_json(one.content)


def test_ids_match_their_wildcard_and_not_that_of_runs():
    rules = (ROOT / "workflow/rules/job_or_study.smk").read_text()
    constraints = {name: re.search(rf'{name}="(.*)"', rules).group(1) for name in ("run", "measurement")}
    for name in load_study(read_config("throughput-local")).measurements:
        assert [kind for kind, pattern in constraints.items() if re.fullmatch(pattern, name)] == ["measurement"]


def test_a_point_of_several_experiments_is_measured_once():
    strong = experiment(name="strong", ranks_per_node=[1, 2], workers=[2])
    found = measured(POINTS, strong, experiment(name="again"))
    both = [one for one in found.values() if "strong" in one.experiments and "speed" in one.experiments]
    assert {(one.where.ranks, one.recipe.workers) for one in both} == {(2, 2)}
    assert all(one.experiments == ("speed", "strong", "again") for one in both)
    assert len(found) == (4 + 2) * 3


def test_minutes_are_no_part_of_a_measurement_and_the_most_of_its_experiments_count():
    (name,) = (only := measured(experiment(worker_batch_size=[8], ranks_per_node=[2], repeats=1)))
    longer = experiment(name="longer", worker_batch_size=[8], ranks_per_node=[2], repeats=1, minutes=40)
    shorter = {**longer, "name": "shorter", "minutes": 5}
    assert only[name].minutes == 15
    assert measured(shorter, longer).keys() == only.keys()
    assert measured(shorter, longer)[name].minutes == measured(longer, shorter)[name].minutes == 40


def test_the_content_names_where_and_how_defaults_too():
    (one,) = measured(experiment(worker_batch_size=[8], ranks_per_node=[2], repeats=1)).values()
    assert one.content["throughput"] == {
        "steps": 40,
        "warmup_steps": 10,
        "repeat": 1,
        "data": "synthetic",
        "nodes": 1,
        "ranks_per_node": 2,
        "engine": "deepspeed",
        "zero_stage": 0,
        "device": "auto",
        "workers_per_pass": "auto",
        "channels_last": "auto",
        "fused_optimizer": "auto",
        "compile": "none",
        "cuda_graphs": False,
        "deterministic": True,
    }


@pytest.mark.parametrize("option", [{"engine": "ddp"}, {"deterministic": False}, {"workers_per_pass": 2}])
def test_another_way_to_step_is_another_measurement(option):
    assert measured(POINTS).keys().isdisjoint(measured(POINTS, placement=option))


@pytest.mark.parametrize("same", [{"audit_every_steps": 7}, {"keep_weights": True}, {"max_nodes": 4}])
def test_what_changes_no_step_changes_no_measurement(same):
    assert measured(POINTS).keys() == measured(POINTS, placement=same).keys()


@pytest.mark.parametrize(
    "schedule",
    [{"epochs": 50}, {"base_lr": 0.4}, {"warmup_epochs": 2}, {"decay": {"kind": "cosine"}}, {"mini_batch_size": 200}],
)
def test_another_schedule_measures_nothing_anew(schedule):
    assert measured(POINTS).keys() == measured(POINTS, recipe={**make_config()["recipe"], **schedule}).keys()


@pytest.mark.parametrize("other", [{"model": "resnet18"}, {"precision": "bf16"}, {"optimizer": {"name": "lamb"}}])
def test_another_step_is_measured_anew(other):
    assert measured(POINTS).keys().isdisjoint(measured(POINTS, recipe={**make_config()["recipe"], **other}))


def test_nothing_of_a_schedule_has_to_be_given():
    assert measured(POINTS, recipe={"model": "resnet8"}).keys()
    assert measured(experiment(recipe={"model": "resnet8"}), recipe={}).keys()


def test_synthetic_images_may_be_more_than_the_data_set_has():
    large = experiment(worker_batch_size=[1500], ranks_per_node=[1])
    assert not any(one.reads_data for one in measured(large).values())
    assert lines_of(make_config(experiments=[{**large, "data": "dataset"}])) == [
        "experiments.speed.worker_batch_size: 1500 is larger than the training set of 1000 images"
    ]


OF_NO_SYNTHETIC_STEP = [
    {"dataset": {"name": "other", "version": "2"}},
    {"dataset": {"num_train_images": 5000, "num_val_images": 7}},
    {"dataset": {"val_resize": 300, "decoder": "pil"}},
    {"placement": {"loader_threads": 3}},
    {"recipe": {"augmentation": "none"}},
]


@pytest.mark.parametrize("other", OF_NO_SYNTHETIC_STEP, ids=str)
def test_what_is_about_reading_images_changes_measurements_of_read_ones_only(other):
    sections = {name: {**make_config().get(name, {}), **values} for name, values in other.items()}
    assert measured(POINTS).keys() == measured(POINTS, **sections).keys()
    read = experiment(data="dataset")
    assert measured(read).keys().isdisjoint(measured(read, **sections))


@pytest.mark.parametrize("other", [{"image_size": 32}, {"num_classes": 7}])
def test_how_large_synthetic_images_are_and_their_classes_count(other):
    assert measured(POINTS).keys().isdisjoint(measured(POINTS, dataset={**make_config()["dataset"], **other}))


def test_real_images_are_read():
    assert all(one.reads_data for one in measured(experiment(data="dataset")).values())


WRONG = [
    (
        {"nodes": [3], "workers": [4], "ranks_per_node": [2]},
        ["experiments.speed.workers: 4 workers cannot be shared equally by 6 ranks, 2 on each of 3 nodes"],
    ),
    ({"step": 40}, ["experiments.speed.step: is not a known key: did you mean steps?"]),
    ({"grid": {}}, ["experiments.speed.grid: is not a known key: known keys: "]),
    ({"steps": 0}, ["experiments.speed.steps: is 0, must be greater than or equal to 1"]),
    ({"worker_batch_size": []}, ["experiments.speed.worker_batch_size: is [], must be of at least 1 item"]),
    ({"worker_batch_size": [16.0]}, ["experiments.speed.worker_batch_size[0]: is 16.0, must be a valid integer"]),
    ({"data": "real"}, ["experiments.speed.data: is 'real', must be 'synthetic' or 'dataset'"]),
    ({"recipe": {"model": "resnet9"}}, ["experiments.speed.recipe.model: is 'resnet9', must be "]),
    ({"recipe": {"modle": "resnet8"}}, ["experiments.speed.recipe.modle: is not a known key: did you mean model?"]),
    (
        {"recipe": {"mini_batch_size": 64}},
        ["experiments.speed.recipe.mini_batch_size: is what workers and worker_batch_size of the experiment say"],
    ),
    (
        {"recipe": {"decay": {"factor": 0.1}, "decay.factor": 0.2}},
        ["experiments.speed.recipe.decay.factor: stands twice"],
    ),
    ({"recipe": {"batchnorm_batch_size": 5}}, ["experiments.speed.recipe.batchnorm_batch_size: 5 does not divide the"]),
    ({"repeats": 100, "nodes": list(range(1, 100))}, ["experiments.speed: has 39600 measurements, more than 10000"]),
    ({"kind": "thruput"}, ["experiments.speed.kind: is 'thruput', must be 'training' or 'throughput'"]),
]


@pytest.mark.parametrize("changes, expected", WRONG)
def test_what_is_wrong_is_a_line_with_its_path(changes, expected):
    lines = lines_of(make_config(experiments=[experiment(**changes)]))
    for begin in expected:
        assert any(line.startswith(begin) for line in lines), lines
    assert all("\n" not in line for line in lines)


def test_what_is_missing_is_named():
    wanting = {name: value for name, value in POINTS.items() if name != "worker_batch_size"}
    assert lines_of(make_config(experiments=[wanting])) == ["experiments.speed.worker_batch_size: is missing"]


def test_one_error_hides_no_other():
    wrong = [experiment(steps=0, recipe={"model": "resnet9"}), {**GRID, "grid": {"warmup_epochs": [50]}}]
    paths = [line.partition(":")[0] for line in lines_of(make_config(experiments=wrong))]
    assert {"experiments.speed.steps", "experiments.speed.recipe.model"} <= set(paths)
    assert "experiments.first.grid.warmup_epochs" in paths


def test_names_differ_across_kinds():
    lines = lines_of(make_config(experiments=[GRID, experiment(name="first")]))
    assert lines == ["experiments.first: stands twice; names must differ"]


def test_a_name_that_figures_of_trainings_have_is_refused():
    lines = lines_of(make_config(experiments=[GRID, experiment(name="trainings")]))
    assert lines == ["experiments.trainings: is what figures of all trainings are called; take another name"]


def test_zero_stage_1_is_refused_where_it_would_train_something_else():
    placement = {"zero_stage": 1}
    lines = lines_of(make_config(experiments=[experiment(recipe={"precision": "bf16"})], placement=placement))
    assert lines == ["placement.zero_stage: 1 would change runs with sgd in bf16; it is for sgd in fp32 only"]


@given(
    nodes=st.lists(st.integers(1, 8), min_size=1, max_size=3),
    ranks=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    batches=st.lists(st.integers(1, 64), min_size=1, max_size=3),
    repeats=st.integers(1, 3),
)
def test_ids_tell_points_apart_and_are_the_same_every_time(nodes, ranks, batches, repeats):
    asked = experiment(nodes=nodes, ranks_per_node=ranks, worker_batch_size=batches, repeats=repeats)
    found = measured(asked)
    points = {(one.where, one.worker_batch_size, one.repeat) for one in found.values()}
    assert len(found) == len(points) == len(set(nodes)) * len(set(ranks)) * len(set(batches)) * repeats
    assert [*measured(asked)] == [*found]
