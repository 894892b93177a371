"""A run is its content: what is in the id, and what is not."""

import json
import random
import re

import pytest
import yaml

from warmscale.study import canonical_json, load_study
from warmscale.study import run as run_module
from warmscale.study.grid import LEAVES
from warmscale.study.recipe import Recipe
from warmscale.study.run import make_run, make_runs

from .study_builders import CONFIGS, ROOT, make_config, make_dataset, make_recipe, read_config, run_of, study_of

POWER = {"lr_scaling.rule": "power", "lr_scaling.exponent": 0.7}
LARS, LAMB = {"optimizer.name": "lars"}, {"optimizer.name": "lamb"}
CHANGES = {  # leaf: (another value, what else the recipe must say for the leaf to matter)
    "model": ("resnet18", {}),
    "zero_init_residual": (True, {}),
    "epochs": (11, {}),
    "workers": (5, {}),
    "mini_batch_size": (200, {}),
    "batchnorm_batch_size": (5, {}),
    "batchnorm_momentum": (0.2, {}),
    "batchnorm_momentum_per": ("batch", {}),
    "last_batch": ("carry", {}),
    "base_lr": (0.2, {}),
    "reference_batch_size": (64, {}),
    "reference_workers": (2, {"lr_scaling.of": "workers"}),
    "lr_scaling.rule": ("sqrt", {}),
    "lr_scaling.of": ("workers", {}),
    "lr_scaling.exponent": (0.8, POWER),
    "warmup_epochs": (2.1, {}),
    "warmup_shape": ("constant", {}),
    "warmup_start": ("zero", {}),
    "warmup_step": ("t", {}),
    "warmup_counts": ("before", {}),
    "decay.kind": ("cosine", {}),
    "decay.epochs": ((3, 6), {}),
    "decay.factor": (0.2, {}),
    "decay.power": (3.0, {"decay.kind": "polynomial"}),
    "decay.final_fraction": (0.1, {"decay.kind": "cosine"}),
    "optimizer.name": ("lars", {}),
    "optimizer.momentum": (0.8, {}),
    "optimizer.nesterov": (True, {}),
    "optimizer.weight_decay": (1e-4, {}),
    "optimizer.decay_norm_and_bias": (False, {}),
    "optimizer.trust_coefficient": (0.01, LARS),
    "optimizer.always_adapt": (True, LARS),
    "optimizer.betas": ((0.8, 0.99), LAMB),
    "optimizer.eps": (1e-5, LAMB),
    "label_smoothing": (0.1, {}),
    "gradient_clipping": (1.0, {}),
    "augmentation": ("none", {}),
    "precision": ("bf16", {}),
    "tf32": (True, {}),
    "divergence.loss_above": (20.0, {}),
    "divergence.for_steps": (3, {"divergence.loss_above": 10.0}),
    "data_seed": (9, {}),
    "init_seed": (9, {}),
}
DATASET_CHANGES = {
    "name": "other",
    "version": "2",
    "num_train_images": 1001,
    "num_val_images": 101,
    "num_classes": 11,
    "image_size": 160,
    "val_resize": 288,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "decoder": "pil",
    "reencode": {},
}


def id_of(dataset=None, seed=1, **leaves):
    return make_run(make_recipe(**{"warmup_epochs": 2} | leaves), dataset or make_dataset(), seed).run_id


def test_every_leaf_of_a_recipe_has_a_change():
    assert set(CHANGES) == set(LEAVES)


@pytest.mark.parametrize("leaf", CHANGES)
def test_changing_a_leaf_of_the_recipe_changes_the_id(leaf):
    value, context = CHANGES[leaf]
    assert id_of(**context | {leaf: value}) != id_of(**context)


def test_every_field_of_a_data_set_but_its_place_has_a_change():
    assert set(DATASET_CHANGES) == set(type(make_dataset()).model_fields) - {"root", "pack", "check"}


def test_how_images_are_coded_anew_is_in_the_id_even_at_its_defaults():
    ids = {id_of(make_dataset(reencode=reencode)) for reencode in (None, {}, {"quality": 80}, {"longest_side": 400})}
    assert len(ids) == 4
    assert id_of(make_dataset(reencode={"quality": 90, "longest_side": 500})) == id_of(make_dataset(reencode={}))


@pytest.mark.parametrize("field", DATASET_CHANGES)
def test_changing_what_a_data_set_is_changes_the_id(field):
    assert id_of(make_dataset(**{field: DATASET_CHANGES[field]})) != id_of()


@pytest.mark.parametrize("place", [{"root": "/elsewhere"}, {"pack": "/elsewhere"}, {"check": "decode"}])
def test_changing_where_a_data_set_is_changes_no_id(place):
    assert id_of(make_dataset(**place)) == id_of()


def test_changing_the_seed_or_the_training_version_changes_the_id(monkeypatch):
    before = id_of()
    assert id_of(seed=2) != before
    monkeypatch.setattr(run_module, "TRAINING_VERSION", run_module.TRAINING_VERSION + 1)
    assert id_of() != before


def test_writing_down_a_default_renames_no_run():
    written = Recipe.model_validate(make_recipe(warmup_epochs=2).model_dump())
    assert make_run(written, make_dataset(), 1).run_id == id_of()
    assert written.model_fields_set == set(Recipe.model_fields)


def test_a_field_at_its_default_is_not_in_the_content():
    content = run_of(warmup_epochs=2).content
    assert set(content) == {
        *("dataset", "model", "epochs", "workers", "mini_batch_size", "schedule", "data_seed", "init_seed"),
        "training_version",
    }
    assert "image_size" not in content["dataset"]


def test_worker_batch_size_as_batchnorm_batch_size_renames_no_run():
    assert id_of(batchnorm_batch_size=25) == id_of()


def test_whole_numbers_written_as_such_or_with_a_point_are_the_same_run():
    assert id_of(label_smoothing=0, base_lr=1) == id_of(label_smoothing=0.0, base_lr=1.0)


def test_a_seed_that_is_written_down_is_the_runs_own():
    assert id_of(data_seed=1, init_seed=1) == id_of()
    assert id_of(seed=5, data_seed=1, init_seed=1) == id_of()


def test_order_of_keys_changes_nothing():
    def shuffled(value):
        if isinstance(value, dict):
            items = list(value.items())
            random.Random(7).shuffle(items)
            return {key: shuffled(inner) for key, inner in items}
        return value

    config = read_config("digits")
    assert list(shuffled(config)) != list(config)
    assert set(load_study(shuffled(config)).runs) == set(load_study(config).runs)


def test_comments_and_layout_of_yaml_change_nothing():
    config = read_config("config")
    assert load_study(yaml.safe_load(yaml.safe_dump(config, default_flow_style=True))).runs == load_study(config).runs


def test_seeds_as_a_number_or_as_a_list_are_the_same_runs():
    assert list(study_of(seeds=3).runs) == list(study_of(seeds=[1, 2, 3]).runs)


@pytest.mark.parametrize(
    "sections",
    [
        {"study": "other", "title": "x", "note": "y", "target": 75.3},
        {"metric": {"name": "top5", "of_run": "last"}},
        {
            "placement": {
                "ranks_per_node": 4,
                "max_nodes": 3,
                "zero_stage": 1,
                "device": "cuda",
                "loader_threads": 3,
                "keep_weights": True,
            }
        },
        {"placement": {"checkpoint_minutes": 5, "audit_every_steps": 7, "deterministic": False}},
    ],
)
def test_what_is_no_content_changes_no_id(sections):
    assert list(study_of(**sections).runs) == list(study_of().runs)


def test_workers_as_says_nothing_about_where_a_run_goes():
    recipe = make_config()["recipe"]
    del recipe["workers"]
    forms = [{"workers": 4}, {"workers_as": {"nodes": 1, "per_node": 4}}, {"workers_as": {"nodes": 2, "per_node": 2}}]
    assert len({tuple(study_of(recipe=recipe | form).runs) for form in forms}) == 1


@pytest.mark.parametrize("name", CONFIGS)
def test_ids_match_the_wildcard_constraint_and_begin_with_a_letter(name):
    rules = (ROOT / "workflow/rules/job_or_study.smk").read_text()
    constraint = re.search(r'run="(.*)"', rules).group(1)
    ids = load_study(read_config(name)).runs
    assert all(re.fullmatch(constraint, run_id) and run_id[0].isalpha() for run_id in ids)


@pytest.mark.parametrize("base_lr", [1e-12, 2.5e-5, 0.1, 123456.789, 3e7])
def test_an_id_tells_size_workers_peak_and_seed(base_lr):
    run = run_of(base_lr=base_lr, **{"lr_scaling.rule": "none"})
    size, workers, lr = re.match(r"mb(\d+)-w(\d+)-lr([0-9.]+(?:e-?\d+)?)-up0-s1-[0-9a-f]{12}$", run.run_id).groups()
    assert (size, workers, float(lr)) == ("100", "4", pytest.approx(base_lr, rel=5e-3))


def test_seeds_that_are_resolved_together_are_the_runs_of_each(seeds=(1, 5, 2)):
    for leaves in ({}, {"data_seed": 7}, {"warmup_epochs": 2, "decay.kind": "cosine"}):
        recipe = make_recipe(**leaves)
        together = list(make_runs(recipe, make_dataset(), seeds))
        assert together == [make_run(recipe, make_dataset(), seed) for seed in seeds]
        assert [run.recipe.init_seed for run in together] == [run.content["init_seed"] for run in together]
        assert all(f"-s{seed}-" in run.run_id for seed, run in zip(seeds, together, strict=True))


def test_content_is_canonical_json_of_builtins():
    run = run_of()
    assert json.loads(run.content_json()) == run.content
    assert canonical_json({"b": 1, "a": [1.0, "é"]}) == '{"a":[1.0,"\\u00e9"],"b":1}'
    with pytest.raises(ValueError):
        canonical_json({"a": float("nan")})


def test_columns_of_a_run_are_all_leaves_and_what_follows_from_them():
    columns = run_of(warmup_epochs={"base_epochs": 1, "base_mini_batch_size": 50, "exponent": 1}).columns()
    assert set(columns) == {
        *LEAVES,
        *("worker_batch_size", "scale_factor", "peak_lr", "warmup_steps", "total_steps", "seed"),
    }
    assert columns["decay.epochs"] == "3.0;6.0;8.0"
    assert (columns["warmup_epochs"], columns["warmup_steps"], columns["batchnorm_batch_size"]) == (2.0, 20, 25)
    assert all(value is None or isinstance(value, bool | int | float | str) for value in columns.values())
