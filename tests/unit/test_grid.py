"""From experiments to runs: products, exclusions, extra points, and runs that several experiments share."""

import itertools

import pytest

from warmscale.study import load_study
from warmscale.study.grid import LEAVES
from warmscale.study.recipe import WarmupRule

from .study_builders import changed_config, make_config, read_config, study_of
from .test_run_ids import CHANGES


def study_with(**experiment):
    return study_of(experiments=[{"name": "first"} | experiment])


def levels(study):
    return [tuple(point.factors.values()) for point in study.points]


@pytest.mark.parametrize("name", ["config", "poster-by-workers"])
def test_posters_study_has_13_distinct_runs_a_seed_of_15_points(name):
    config = read_config(name)
    assert (len(load_study(config).runs), len(load_study(config).points)) == (39, 45)
    one_seed = load_study(config | {"seeds": 1})
    assert (len(one_seed.runs), len(one_seed.points)) == (13, 15)
    assert [sum(p.experiment == e.name for p in one_seed.points) for e in one_seed.config.trainings] == [5, 4, 4, 2]


def test_one_point_of_the_poster_stands_in_three_experiments():
    study = load_study(read_config("config"))
    shared = [run for run in study.runs if len(study.experiments_of(run)) > 1]
    assert len(shared) == 3
    assert {tuple(study.experiments_of(run)) for run in shared} == {("baseline", "warmup-30k", "lr-scaling-30k")}
    assert {study.runs[run].recipe.mini_batch_size for run in shared} == {30720}
    assert all(study.runs[run].recipe.warmup_epochs == 5 for run in shared)


def test_a_new_warmup_value_adds_exactly_its_runs():
    config = read_config("config")
    before = set(load_study(config).runs)
    config["experiments"][1]["grid"]["warmup_epochs"].append(15)
    after = load_study(config).runs
    added = [after[run] for run in after if run not in before]
    assert before <= set(after)
    assert [(run.recipe.warmup_epochs, run.recipe.mini_batch_size, run.seed) for run in added] == [
        (15, 7680, seed) for seed in (1, 2, 3)
    ]


def test_digits_study_has_more_seeds_where_the_spread_is_large():
    study = load_study(read_config("digits"))
    seeds = {}
    for point in study.points:
        seeds.setdefault(point.experiment, set()).add(point.seed)
    seeds = {name: max(own) for name, own in seeds.items()}
    assert seeds == {"baseline": 5, "warmup-160": 3, "warmup-640": 5, "lr-scaling-640": 5}
    assert len(study.runs) >= 39


def test_a_grid_is_the_cartesian_product_of_its_levels():
    grid = {"warmup_epochs": [0, 1, 2], "base_lr": [0.1, 0.2], "optimizer.nesterov": [True, False]}
    study = study_with(grid=grid)
    assert levels(study) == list(itertools.product(*grid.values()))
    assert len(study.runs) == 12


def test_excluded_points_are_those_with_all_the_values():
    grid = {"warmup_epochs": [0, 1], "base_lr": [0.1, 0.2]}
    study = study_with(grid=grid, exclude=[{"warmup_epochs": 0, "base_lr": 0.2}])
    assert levels(study) == [(0, 0.1), (1, 0.1), (1, 0.2)]
    assert levels(study_with(grid=grid, exclude=[{"warmup_epochs": 0}])) == [(1, 0.1), (1, 0.2)]


def test_extra_points_stand_beside_the_grid_with_seeds_of_their_own():
    extra = [{"point": {"warmup_epochs": 3}}, {"point": {"warmup_epochs": 4, "base_lr": 0.3}, "seeds": [8, 9]}]
    study = study_with(grid={"warmup_epochs": [0]}, extra=extra, seeds=2)
    assert [(dict(point.factors), point.seed) for point in study.points] == [
        ({"warmup_epochs": 0, "base_lr": 0.1}, 1),
        ({"warmup_epochs": 0, "base_lr": 0.1}, 2),
        ({"warmup_epochs": 3, "base_lr": 0.1}, 1),
        ({"warmup_epochs": 3, "base_lr": 0.1}, 2),
        ({"warmup_epochs": 4, "base_lr": 0.3}, 8),
        ({"warmup_epochs": 4, "base_lr": 0.3}, 9),
    ]


def test_extra_points_need_no_grid():
    assert levels(study_with(extra=[{"point": {"workers": 2}}, {"point": {"workers": 5}}])) == [(2,), (5,)]


def test_an_extra_point_that_the_grid_has_stands_once():
    study = study_with(grid={"warmup_epochs": [0, 1]}, extra=[{"point": {"warmup_epochs": 1}, "seeds": 2}])
    assert [(point.factors["warmup_epochs"], point.seed) for point in study.points] == [(0, 1), (1, 1), (1, 2)]


def test_seeds_of_an_experiment_replace_the_studys():
    config = make_config(seeds=5)
    assert len(load_study(config).runs) == 10
    config["experiments"][0]["seeds"] = [7]
    assert {run.seed for run in load_study(config).runs.values()} == {7}


@pytest.mark.parametrize("override", [{"decay": {"factor": 0.5}}, {"decay.factor": 0.5}])
def test_an_experiment_overrides_a_leaf_and_keeps_its_neighbours(override):
    (run,) = study_with(recipe=override, extra=[{"point": {}}]).runs.values()
    assert (run.recipe.decay.factor, run.recipe.decay.epochs) == (0.5, (3, 6, 8))


def test_a_grid_overrides_the_experiment_which_overrides_the_study():
    study = study_with(recipe={"base_lr": 0.2, "workers": 2}, grid={"base_lr": [0.3]})
    (run,) = study.runs.values()
    assert (run.recipe.base_lr, run.recipe.workers, run.recipe.mini_batch_size) == (0.3, 2, 100)


def test_workers_as_is_the_product_and_overrides_workers_of_an_outer_section():
    shorthand = {"nodes": 5, "per_node": 2}
    (run,) = study_with(recipe={"workers_as": shorthand}, extra=[{"point": {}}]).runs.values()
    assert run.recipe.workers == 10
    (run,) = study_with(recipe={"workers_as": shorthand}, extra=[{"point": {"workers": 4}}]).runs.values()
    assert run.recipe.workers == 4


def test_workers_as_is_a_factor_by_the_number_it_stands_for():
    study = study_with(grid={"workers_as": [{"nodes": 1, "per_node": 2}, {"nodes": 2, "per_node": 5}]})
    assert [dict(point.factors) for point in study.points] == [{"workers": 2}, {"workers": 10}]


@pytest.mark.parametrize("leaf", LEAVES)
def test_any_leaf_may_be_a_factor(leaf):
    value, context = CHANGES[leaf]
    value = list(value) if isinstance(value, tuple) else value
    study = study_with(recipe={"warmup_epochs": 2} | context, grid={leaf: [value]}, extra=[{"point": {}}])
    assert [list(point.factors) for point in study.points] == [[leaf], [leaf]]
    assert len(study.runs) == 2


def test_a_warmup_rule_may_be_a_level():
    rule = {"base_epochs": 2, "base_mini_batch_size": 100, "exponent": 1}
    study = study_with(grid={"warmup_epochs": [rule, 3]})
    assert levels(study) == [(WarmupRule(**rule),), (3,)]
    assert [run.warmup_steps for run in study.runs.values()] == [20, 30]


def test_levels_that_are_the_same_training_share_its_run():
    study = study_with(grid={"warmup_epochs": [0, 2]}, recipe={"lr_scaling.rule": "none"})
    assert len(study.points) == 2
    assert len(study.runs) == 1


@pytest.mark.parametrize("workers, most, ranks", [(20, 1, 1), (20, 8, 5), (20, 3, 2), (7, 6, 1), (4, 64, 4)])
def test_ranks_are_the_most_that_share_the_workers_equally(workers, most, ranks):
    config = changed_config(("recipe.workers", workers), ("placement.ranks_per_node", most))
    config["recipe"]["mini_batch_size"] = workers
    study = load_study(config)
    assert {study.where(run).ranks for run in study.runs.values()} == {ranks}


@pytest.mark.parametrize("kind, rule", [("step", "median_last_5"), ("cosine", "last"), ("polynomial", "last")])
def test_metric_is_the_median_with_step_decay_and_the_last_epoch_otherwise(kind, rule):
    config = changed_config(("recipe.decay.kind", kind))
    study = load_study(config)
    assert {study.metric_rule(run) for run in study.runs.values()} == {rule}
    study = load_study(config | {"metric": {"of_run": "last"}})
    assert {study.metric_rule(run) for run in study.runs.values()} == {"last"}


def test_a_run_in_no_experiment_has_no_names():
    assert study_of().experiments_of("mb1-none") == []
