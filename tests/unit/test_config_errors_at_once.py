"""No error of a config hides another one, and none is reported that only follows from another."""

import pytest

from warmscale.study.grid import LEAVES

from .study_builders import MISSING, changed_config, lines_of, make_config

INDIVISIBLE = "recipe.mini_batch_size: 102 is not divisible by 4 workers; the nearest that is: 100"


def test_a_misspelt_key_hides_neither_divisibility_nor_warmup():
    recipe = {"epochs": 30, "workers": 8, "base_lrr": 0.1, "decay": {"epochs": [10, 20]}}
    grid = {"mini_batch_size": [1001], "warmup_epochs": [0, 50]}
    dataset = make_config()["dataset"] | {"num_train_images": 5000}
    first = {"name": "first", "grid": grid}
    assert lines_of(make_config(dataset=dataset, recipe=recipe, experiments=[first])) == [
        "recipe.base_lrr: is not a known key: did you mean base_lr?",
        "experiments.first.grid.mini_batch_size: 1001 is not divisible by 8 workers; the nearest that is: 1000",
        "experiments.first.grid.warmup_epochs: 50 epochs of warmup are longer than training, 30 epochs",
    ]


def test_a_misspelt_factor_is_not_missing_too():
    config = changed_config(
        ("recipe.mini_batch_size", MISSING), ("experiments[0].grid", {"mini_batch_sizes": [100, 101]})
    )
    assert lines_of(config) == [
        "experiments.first.grid.mini_batch_sizes: is not a known key: did you mean mini_batch_size?"
    ]


@pytest.mark.parametrize(
    "changes, line",
    [
        (
            [("dataset.num_classes", MISSING), ("dataset.num_clases", 10)],
            "dataset.num_clases: is not a known key: did you mean num_classes?",
        ),
        (
            [("experiments[0].name", MISSING), ("experiments[0].names", "first")],
            "experiments[0].names: is not a known key: did you mean name?",
        ),
        (
            [("recipe.workers", MISSING), ("recipe.worker_as", {"nodes": 1, "per_node": 4})],
            "recipe.worker_as: is not a known key: did you mean workers_as?",
        ),
        (
            [("recipe.decay", {"epoch": [3, 6]})],
            "recipe.decay.epoch: is not a known key: did you mean epochs?",
        ),
        (
            [("recipe.decay", {"milestones": [3, 6]})],
            "recipe.decay.milestones: is not a known key: known keys: kind, epochs, factor, power, final_fraction",
        ),
        (
            [("recipe.decay", MISSING), ("recipe.decays", {"epochs": [3, 6]})],
            "recipe.decays: is not a known key: did you mean decay?",
        ),
        (
            [("recipe.decay", MISSING), ("recipe.milestones", [3, 6])],
            f"recipe.milestones: is not a known key: known keys: {', '.join(LEAVES)}, workers_as",
        ),
        ([("recipe.decay", 5)], "recipe.decay: is 5, must be a mapping"),
        (
            [("recipe.lr_scaling", {"rule": "powr", "exponent": 0.5})],
            "recipe.lr_scaling.rule: is 'powr', must be 'none', 'linear', 'sqrt' or 'power'; did you mean power?",
        ),
        (
            [("recipe.optimizer", {"name": "lar", "always_adapt": True})],
            "recipe.optimizer.name: is 'lar', must be 'sgd', 'lars' or 'lamb'; did you mean lars?",
        ),
        ([("recipe.workers", 0), ("recipe.mini_batch_size", 102)], "recipe.workers: is 0, must be greater than 0"),
        ([("recipe.epochs", -10)], "recipe.epochs: is -10, must be greater than 0"),
        (
            [("experiments[0].grid", MISSING), ("experiments[0].grids", {"warmup_epochs": [0, 1]})],
            "experiments.first.grids: is not a known key: did you mean grid?",
        ),
    ],
)
def test_what_follows_from_an_error_is_not_reported(changes, line):
    assert lines_of(changed_config(*changes)) == [line]


def test_a_key_that_is_like_none_in_an_extra_point_is_an_error_although_the_grid_has_none():
    extra = {"point": {"study": None}}
    config = make_config(experiments=[{"name": "first", "grid": {"warmup_epochs": [0, 1]}, "extra": [extra]}])
    assert [line.partition(":")[0] for line in lines_of(config)] == ["experiments.first.extra[0].point.study"]


def test_a_key_that_is_like_none_leaves_what_is_missing():
    config = changed_config(("recipe.base_lr", MISSING), ("recipe.rate", 0.1))
    unknown, missing = lines_of(config)
    assert unknown.startswith("recipe.rate: is not a known key: known keys: ")
    assert missing == "recipe.base_lr: is missing"


@pytest.mark.parametrize(
    "path, value, line",
    [
        ("recipe.precision", "fp8", "recipe.precision: is 'fp8', must be 'fp64', 'fp32', 'bf16' or 'fp16'"),
        ("recipe.base_lr", MISSING, "recipe.base_lr: is missing"),
        ("recipe.decay.factr", 0.1, "recipe.decay.factr: is not a known key: did you mean factor?"),
        ("recipe.colour", 5, None),
        ("dataset.root", MISSING, "dataset.root: is missing"),
        ("dataset.num_train_images", MISSING, "dataset.num_train_images: is missing"),
        ("dataset", MISSING, "dataset: is missing"),
        ("experiments[0].name", 5, "experiments[0].name: is 5, must be a valid string"),
        ("experiments[0].figures", 5, "experiments.first.figures: is 5, must be a valid list"),
        ("experiments[0].colour", 5, None),
    ],
)
def test_an_error_elsewhere_hides_no_impossible_value(path, value, line):
    place = "experiments[0]" if path.endswith("name") else "experiments.first"
    lines = lines_of(
        changed_config(
            (path, value),
            ("recipe.mini_batch_size", 102),
            ("recipe.decay.epochs", [3, 10]),
            ("experiments[0].grid.warmup_epochs", [11]),
        )
    )
    assert set(lines) - {lines[0]} == {
        INDIVISIBLE,
        "recipe.decay.epochs: 10 is not before the end of training, 10 epochs",
        f"{place}.grid.warmup_epochs: 11 epochs of warmup are longer than training, 10 epochs",
    }
    assert line is None or lines[0] == line


def test_the_declared_images_are_used_although_the_data_set_has_errors():
    config = changed_config(("dataset.root", 5), ("recipe.mini_batch_size", 1004))
    assert lines_of(config) == [
        "dataset.root: is 5, must be a valid string",
        "recipe.mini_batch_size: 1004 is larger than the training set of 1000 images",
    ]


def test_without_a_recipe_the_values_of_experiments_are_checked_by_themselves():
    config = changed_config(("recipe", 5), ("experiments[0].recipe", {"epochs": 0, "worker": 4}))
    assert lines_of(config) == [
        "recipe: is 5, must be a mapping",
        "experiments.first.recipe.epochs: is 0, must be greater than 0",
        "experiments.first.recipe.worker: is not a known key: did you mean workers?",
    ]


def test_what_a_section_says_of_its_keys_together_is_not_hidden_by_one_of_them():
    config = changed_config(("recipe.decay", {"epochs": [8, 3], "factr": 0.1}))
    assert lines_of(config) == [
        "recipe.decay.factr: is not a known key: did you mean factor?",
        "recipe.decay: epochs [8.0, 3.0] must increase",
    ]


def test_seeds_that_would_repeat_a_run_are_reported_beside_other_errors():
    config = changed_config(
        ("recipe.init_seed", 1), ("recipe.data_seed", 2), ("seeds", 3), ("recipe.mini_batch_size", 102)
    )
    assert lines_of(config) == [
        INDIVISIBLE,
        "recipe.init_seed: with data_seed fixed too, 3 seeds repeat the same run",
    ]
