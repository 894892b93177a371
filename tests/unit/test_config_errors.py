"""What a config can have wrong beside a single value; all findings come at once."""

import pytest

from warmscale.study import StudyError, load_study

from .study_builders import changed_config, lines_of, make_config, read_config


def test_all_findings_of_a_file_come_at_once():
    config = changed_config(
        ("recipe.epochs", 0),
        ("recipe.base_lr", "5e-5"),
        ("dataset.image_size", 300),
        ("seeds", "three"),
        ("title", 5),
        ("experiments[0].grid.warmup_epoch", [1]),
        ("metric", {"name": "top2"}),
    )
    assert lines_of(config) == [
        "title: is 5, must be a valid string",
        "metric.name: is 'top2', must be 'top1' or 'top5'",
        "dataset: val_resize 256 is smaller than image_size 300",
        "seeds: is 'three', must be a valid integer or a valid list",
        "recipe.epochs: is 0, must be greater than 0",
        "recipe.base_lr: is '5e-5', must be a valid number; YAML takes it for text: write 5.0e-5",
        "experiments.first.grid.warmup_epoch: is not a known key: did you mean warmup_epochs?",
    ]


def test_findings_of_different_points_name_the_key_that_each_value_came_from():
    config = read_config("config")
    config["experiments"][0]["grid"]["mini_batch_size"] = [3841]
    config["experiments"][1]["recipe"]["mini_batch_size"] = 7690
    config["experiments"][2]["grid"]["warmup_epochs"] = [95]
    assert lines_of(config) == [
        "experiments.baseline.grid.mini_batch_size: 3841 is not divisible by 240 workers; the nearest that is: 3840",
        "experiments.warmup-7k.recipe.mini_batch_size: 7690 is not divisible by 60 workers; the nearest that is: 7680",
        "experiments.warmup-30k.grid.warmup_epochs: 95 epochs of warmup are longer than training, 90 epochs",
    ]


def test_names_of_experiments_must_differ():
    config = make_config()
    config["experiments"] *= 2
    assert lines_of(config) == ["experiments.first: stands twice; names must differ"]


def test_seeds_that_would_repeat_a_run_are_rejected():
    config = changed_config(("recipe.init_seed", 1), ("recipe.data_seed", 2), ("seeds", 3))
    assert lines_of(config) == ["recipe.init_seed: with data_seed fixed too, 3 seeds repeat the same run"]


def test_zeroed_gammas_of_a_model_of_ones_own_are_rejected():
    config = changed_config(("recipe.model", "my.models:tiny"), ("recipe.zero_init_residual", True))
    assert lines_of(config) == [
        "recipe.zero_init_residual: true, but my.models:tiny is a model of your own: zero its gammas there"
    ]


def test_a_section_that_is_no_mapping_is_rejected_although_an_experiment_sets_its_leaves():
    config = changed_config(("recipe.lr_scaling", 5), ("experiments[0].recipe", {"lr_scaling.rule": "none"}))
    assert lines_of(config) == ["recipe.lr_scaling: is 5, must be a mapping"]


def test_a_leaf_that_stands_both_nested_and_dotted_is_rejected():
    config = changed_config(("recipe.lr_scaling", {"rule": "none"}))
    config["recipe"]["lr_scaling.rule"] = "linear"
    assert lines_of(config) == ["recipe.lr_scaling.rule: stands twice"]


def test_a_grid_of_too_many_points_is_rejected_without_being_made():
    config = changed_config(
        ("experiments[0].grid", {name: list(range(1, 1001)) for name in ("warmup_epochs", "workers")})
    )
    assert lines_of(config) == ["experiments.first.grid: has more than 100000 points"]


@pytest.mark.parametrize("config", [None, [], "study", 5])
def test_a_config_that_is_no_mapping_is_rejected(config):
    assert lines_of(config) == [f"the config is {config!r}, must be a mapping"]


def test_keys_that_are_no_text_are_unknown_keys():
    assert lines_of(make_config() | {5: 1})[0].startswith("5: is not a known key: known keys: study, ")
    lines = lines_of(changed_config(("recipe", {**make_config()["recipe"], None: 1})))
    assert any(line.startswith("recipe.None: is not a known key: known keys: model, ") for line in lines)


def test_a_finding_is_one_short_line_whatever_the_value():
    (line,) = lines_of(changed_config(("title", ["a\nb"] * 1000)))
    assert line.startswith("title: is ['a\\nb', 'a\\nb'") and line.endswith("..., must be a valid string")
    assert len(line) < 150
    assert all("\n" not in line for line in lines_of(make_config() | {"a\nb": 1}))


def test_the_text_of_an_error_is_its_lines():
    assert str(StudyError(["b: 1", "a: 2", "b: 1"])) == "b: 1\na: 2"


@pytest.mark.parametrize(
    ("recipe", "line"),
    [
        (
            {"precision": "bf16"},
            "placement.zero_stage: 1 would change runs with sgd in bf16; it is for sgd in fp32 only",
        ),
        (
            {"optimizer": {"name": "lars"}},
            "placement.zero_stage: 1 would change runs with lars in fp32; it is for sgd in fp32 only",
        ),
    ],
)
def test_zero_stage_1_is_refused_where_it_would_change_what_is_trained(recipe, line):
    config = read_config("config")
    config["placement"] = {"zero_stage": 1}
    config["recipe"] = {**config["recipe"], **recipe}
    assert lines_of(config) == [line]


def test_zero_stage_1_is_refused_with_an_engine_that_has_none():
    config = read_config("config") | {"placement": {"zero_stage": 1, "engine": "ddp"}}
    assert lines_of(config) == [
        "placement: zero_stage 1 is DeepSpeed's: engine ddp has stage 0 only; set one or the other"
    ]


def test_the_engine_renames_no_run():
    config = read_config("config")
    assert load_study(config | {"placement": {"engine": "ddp"}}).runs.keys() == load_study(config).runs.keys()


def test_zero_stage_1_is_allowed_for_sgd_in_fp32():
    config = read_config("config")
    assert load_study(config | {"placement": {"zero_stage": 1}}).runs.keys() == load_study(config).runs.keys()
