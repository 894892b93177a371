"""What a value of a config can have wrong: one line with the path of the key, the value and what is allowed."""

import pytest

from .study_builders import MISSING, changed_config, lines_of

FIRST = "experiments[0]."
ERRORS = [
    # unknown keys
    ("recipe.warmup_epoch", 5, "recipe.warmup_epoch: is not a known key: did you mean warmup_epochs?"),
    ("recipe.Model", "resnet8", "recipe.Model: is not a known key: did you mean model?"),
    (
        "recipe.decay.milestones",
        [3],
        "recipe.decay.milestones: is not a known key: known keys: kind, epochs, factor, power, final_fraction",
    ),
    ("recipe.optimiser", {"name": "lars"}, "recipe.optimiser: is not a known key: did you mean optimizer?"),
    ("dataset.num_clases", 5, "dataset.num_clases: is not a known key: did you mean num_classes?"),
    ("dataset.Root", "x", "dataset.Root: is not a known key: did you mean root?"),
    ("placement.node", 5, "placement.node: is not a known key: did you mean nodes?"),
    ("experiment", [], "experiment: is not a known key: did you mean experiments?"),
    (
        FIRST + "grid.warmup_epoch",
        [1],
        "experiments.first.grid.warmup_epoch: is not a known key: did you mean warmup_epochs?",
    ),
    (FIRST + "recipe.worker", 2, "experiments.first.recipe.worker: is not a known key: did you mean workers?"),
    (FIRST + "grids", {}, "experiments.first.grids: is not a known key: did you mean grid?"),
    # missing keys
    ("recipe.base_lr", MISSING, "recipe.base_lr: is missing"),
    ("dataset.num_train_images", MISSING, "dataset.num_train_images: is missing"),
    ("study", MISSING, "study: is missing"),
    ("experiments", [], "experiments: is [], must be of at least 1 item"),
    # wrong types
    ("recipe.epochs", 10.0, "recipe.epochs: is 10.0, must be a valid integer; write 10"),
    ("recipe.epochs", 10.5, "recipe.epochs: is 10.5, must be a valid integer"),
    ("recipe.epochs", 0.0, "recipe.epochs: is 0.0, must be a valid integer"),
    ("recipe.epochs", float("inf"), "recipe.epochs: is inf, must be a valid integer"),
    (
        FIRST + "grid.mini_batch_size",
        ["1e3"],
        "experiments.first.grid.mini_batch_size: is '1e3', must be a valid integer; YAML takes it for text: write 1000",
    ),
    ("seeds", "1.0e1", "seeds: is '1.0e1', must be a valid integer or a valid list; YAML takes it for text: write 10"),
    ("recipe.epochs", "1e-3", "recipe.epochs: is '1e-3', must be a valid integer"),
    ("recipe.epochs", "1e999999999", "recipe.epochs: is '1e999999999', must be a valid integer"),
    ("recipe.epochs", "10", "recipe.epochs: is '10', must be a valid integer"),
    ("recipe.nesterov", True, "recipe.nesterov: is not a known key: did you mean optimizer.nesterov?"),
    ("recipe.tf32", "yes", "recipe.tf32: is 'yes', must be a valid boolean"),
    ("recipe.base_lr", True, "recipe.base_lr: is True, must be a valid number"),
    (
        "recipe.base_lr",
        "5e-5",
        "recipe.base_lr: is '5e-5', must be a valid number; YAML takes it for text: write 5.0e-5",
    ),
    ("recipe.base_lr", "5e5", "recipe.base_lr: is '5e5', must be a valid number; YAML takes it for text: write 5.0e+5"),
    (
        "recipe.base_lr",
        "1.25e2",
        "recipe.base_lr: is '1.25e2', must be a valid number; YAML takes it for text: write 1.25e+2",
    ),
    (
        "recipe.optimizer",
        {"weight_decay": "5e-5"},
        "recipe.optimizer.weight_decay: is '5e-5', must be a valid number; YAML takes it for text: write 5.0e-5",
    ),
    ("recipe.base_lr", 0, "recipe.base_lr: is 0, must be greater than 0"),
    ("recipe.base_lr", float("inf"), "recipe.base_lr: is inf, must be a finite number"),
    ("recipe.decay", 0.1, "recipe.decay: is 0.1, must be a mapping"),
    ("recipe", None, "recipe: is None, must be a mapping"),
    ("recipe.warmup_shape", "linear", "recipe.warmup_shape: is 'linear', must be 'gradual', 'constant' or 'none'"),
    ("recipe.last_batch", "dropp", "recipe.last_batch: is 'dropp', must be 'drop' or 'carry'; did you mean drop?"),
    ("recipe.warmup_start", "peak", "recipe.warmup_start: is 'peak', must be 'base_lr' or 'zero' or a valid number"),
    (
        "recipe.warmup_epochs",
        {"base_epochs": -1, "base_mini_batch_size": 10, "exponent": 1},
        "recipe.warmup_epochs.base_epochs: is -1, must be greater than or equal to 0",
    ),
    ("recipe.workers_as", {"nodes": 1, "per_node": 4}, "recipe.workers: stands twice, as workers_as too"),
    (
        FIRST + "recipe",
        {"workers_as": {"nodes": 4}},
        "experiments.first.recipe.workers_as: is {'nodes': 4}, must be a mapping of nodes and per_node, "
        "whole numbers above 0",
    ),
    ("seeds", 0, "seeds: is 0, must be greater than 0 or a valid list"),
    ("seeds", [1, -1], "seeds[1]: is -1, must be greater than or equal to 0"),
    ("target", float("nan"), "target: is nan, must be a finite number"),
    (
        FIRST + "figures",
        ["curve"],
        "experiments.first.figures[0]: is 'curve', must be 'curves' or 'final'; did you mean curves?",
    ),
    (FIRST + "grid", {"warmup_epochs": []}, "experiments.first.grid.warmup_epochs: is [], must be of at least 1 item"),
    (
        FIRST + "name",
        "First one",
        "experiments.First one.name: is 'First one', must be lower-case letters, digits, - and _, a letter first",
    ),
    ("study", "my study", "study: is 'my study', must be lower-case letters, digits, - and _, a letter first"),
    (
        "recipe.model",
        "resnet51",
        "recipe.model: is 'resnet51', must be 'resnet8', 'resnet18', 'resnet34', 'resnet50', "
        "'resnet101' or 'resnet152' or package.module:function; did you mean resnet50?",
    ),
    ("target", 7530, "target: is 7530, must be less than or equal to 100"),
    (FIRST + "zoom", {"top1": [70, 700]}, "experiments.first.zoom.top1[1]: is 700, must be less than or equal to 100"),
    (FIRST + "zoom", {"epochs": [90, 60]}, "experiments.first.zoom.epochs: [90, 60] must be from low to high"),
    (FIRST + "zoom", {"top1": [70.5, 70.5]}, "experiments.first.zoom.top1: [70.5, 70.5] must be from low to high"),
    # impossible values
    (
        "recipe.mini_batch_size",
        102,
        "recipe.mini_batch_size: 102 is not divisible by 4 workers; the nearest that is: 100",
    ),
    (
        "recipe.mini_batch_size",
        103,
        "recipe.mini_batch_size: 103 is not divisible by 4 workers; the nearest that is: 104",
    ),
    ("recipe.mini_batch_size", 1, "recipe.mini_batch_size: 1 is not divisible by 4 workers; the nearest that is: 4"),
    ("recipe.mini_batch_size", 1004, "recipe.mini_batch_size: 1004 is larger than the training set of 1000 images"),
    ("recipe.batchnorm_batch_size", 10, "recipe.batchnorm_batch_size: 10 does not divide the 25 images of a worker"),
    (
        FIRST + "grid.warmup_epochs",
        [10.5],
        "experiments.first.grid.warmup_epochs: 10.5 epochs of warmup are longer than training, 10 epochs",
    ),
    ("recipe.decay.epochs", [3, 10], "recipe.decay.epochs: 10 is not before the end of training, 10 epochs"),
    ("recipe.decay.epochs", [3, 8, 6], "recipe.decay: epochs [3.0, 8.0, 6.0] must increase"),
    ("recipe.decay", {}, "recipe.decay.epochs: 80 is not before the end of training, 10 epochs"),
    (
        "recipe.lr_scaling",
        {"rule": "power"},
        "recipe.lr_scaling: exponent is None with rule power: give it with rule power, only there",
    ),
    (
        "recipe.lr_scaling",
        {"exponent": 0.5},
        "recipe.lr_scaling: exponent is 0.5 with rule linear: give it with rule power, only there",
    ),
    (
        "recipe.optimizer",
        {"name": "lamb", "nesterov": True},
        "recipe.optimizer: nesterov has no meaning for lamb: leave it out",
    ),
    (
        "recipe.optimizer",
        {"betas": [0.9, 0.99], "eps": 1e-6},
        "recipe.optimizer: betas, eps has no meaning for sgd: leave it out",
    ),
    (
        "recipe.base_lr",
        1e308,
        "recipe.base_lr: 1e+308, scaled by 3.125 with rule linear, is inf, which is no learning rate",
    ),
    ("recipe.epochs", 10**9, "recipe.epochs: 1000000000 epochs are 10000000000 steps, more than 1000000000"),
    ("dataset.image_size", 300, "dataset: val_resize 256 is smaller than image_size 300"),
    # grids
    (FIRST + "grid.warmup_epochs", [0, 5, 0], "experiments.first.grid.warmup_epochs: 0 stands twice"),
    (
        FIRST + "grid.decay",
        [{}],
        "experiments.first.grid.decay: is a section, not a leaf: "
        "decay.kind, decay.epochs, decay.factor, decay.power, decay.final_fraction",
    ),
    (
        FIRST + "exclude",
        [{"workers": 4}],
        "experiments.first.exclude[0].workers: is not a factor of this grid; known keys: warmup_epochs",
    ),
    (FIRST + "exclude", [{"warmup_epochs": 7}], "experiments.first.exclude[0].warmup_epochs: 7 is not a level: [0, 1]"),
    (FIRST + "exclude", [{}], "experiments.first.exclude[0]: is {}, must be of at least 1 item"),
    (FIRST + "grid", {}, "experiments.first: has no points: give it a grid or extra points"),
    (
        FIRST + "grid",
        {"workers": [1, 2], "workers_as": [{"nodes": 1, "per_node": 4}]},
        "experiments.first.grid.workers: stands twice, as workers_as too",
    ),
    (
        FIRST + "extra",
        [{"point": {"mini_batch_size": 7}}],
        "experiments.first.extra[0].point.mini_batch_size: 7 is not divisible by 4 workers; the nearest that is: 8",
    ),
    (FIRST + "extra", [{"point": {}, "seeds": [3, 3]}], "experiments.first.extra[0].seeds: 3 stands twice"),
    (FIRST + "seeds", [3, 4, 3], "experiments.first.seeds: 3 stands twice"),
    ("seeds", [2, 2], "seeds: 2 stands twice"),
]


@pytest.mark.parametrize("path, value, line", ERRORS)
def test_a_finding_is_one_line_with_path_value_and_what_is_allowed(path, value, line):
    assert lines_of(changed_config((path, value))) == [line]
