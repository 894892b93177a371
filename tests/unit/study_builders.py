"""Recipes, data sets and configs for the unit tests, and what hypothesis draws of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from warmscale.study import Run, Study, StudyError, load_study
from warmscale.study.config import Dataset
from warmscale.study.recipe import Recipe
from warmscale.study.run import make_run

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {name: ROOT / f"config/{name}.yaml" for name in ("config", "poster-by-workers", "digits", "throughput-local")}
IMAGENET_IMAGES = 1_281_167


def read_config(name: str) -> dict[str, Any]:
    return yaml.safe_load(CONFIGS[name].read_text())


def make_dataset(num_train_images: int = 1000, **fields: Any) -> Dataset:
    needed = {"name": "tree", "root": "data", "num_val_images": 100, "num_classes": 10}
    return Dataset(num_train_images=num_train_images, **needed | fields)


def nested(leaves: dict[str, Any]) -> dict[str, Any]:
    """{"decay.kind": "cosine"} as {"decay": {"kind": "cosine"}}."""
    tree: dict[str, Any] = {}
    for leaf, value in leaves.items():
        section, _, field = leaf.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[field] = value
    return tree


def make_recipe(**leaves: Any) -> Recipe:
    """A recipe of 10 epochs of 10 steps on 1000 images; nested leaves are dotted."""
    usual = {"epochs": 10, "workers": 4, "mini_batch_size": 100, "base_lr": 0.1, "decay.epochs": (3, 6, 8)}
    return Recipe.model_validate(nested(usual | leaves))


def run_of(num_train_images: int = 1000, seed: int = 1, **leaves: Any) -> Run:
    return make_run(make_recipe(**leaves), make_dataset(num_train_images), seed)


def make_config(**sections: Any) -> dict[str, Any]:
    """A small valid config as YAML gives it; sections replace its own."""
    return {
        "study": "small",
        "dataset": {"name": "tree", "root": "data", "num_train_images": 1000, "num_val_images": 100, "num_classes": 10},
        "recipe": {
            "epochs": 10,
            "workers": 4,
            "mini_batch_size": 100,
            "base_lr": 0.1,
            "decay": {"kind": "step", "epochs": [3, 6, 8]},
        },
        "experiments": [{"name": "first", "grid": {"warmup_epochs": [0, 1]}}],
    } | sections


def study_of(**sections: Any) -> Study:
    return load_study(make_config(**sections))


MISSING = object()
"""Given as a value: the key is deleted."""


def changed_config(*changes: tuple[str, Any]) -> dict[str, Any]:
    """A small valid config in which (path, value) pairs are set; paths as in `recipe.epochs` and `experiments[0]`."""
    config = make_config()
    for path, value in changes:
        *keys, last = path.replace("[", ".[").split(".")
        inner = config
        for key in keys:
            inner = inner[int(key[1:-1])] if key.startswith("[") else inner.setdefault(key, {})
        if value is MISSING:
            del inner[last]
        elif last.startswith("["):
            inner[int(last[1:-1])] = value
        else:
            inner[last] = value
    return config


def lines_of(config: Any) -> list[str]:
    """The findings about a config that has some."""
    with pytest.raises(StudyError) as caught:
        load_study(config)
    return caught.value.lines


@st.composite
def recipes(draw: st.DrawFn) -> tuple[Recipe, int]:
    """A possible recipe of few steps and the number of training images for it."""
    workers = draw(st.sampled_from([1, 2, 5]))
    size = workers * draw(st.integers(1, 8))
    images = draw(st.integers(size, 12 * size))
    epochs = draw(st.integers(1, 6))
    milestones = draw(st.lists(st.integers(1, epochs * 10 - 1), max_size=3, unique=True)) if epochs > 1 else []
    leaves = {
        "epochs": epochs,
        "workers": workers,
        "mini_batch_size": size,
        "base_lr": draw(st.sampled_from([0.1, 0.0125, 0.3])),
        "reference_batch_size": draw(st.sampled_from([1, 4, 32])),
        "lr_scaling.rule": draw(st.sampled_from(["none", "linear", "sqrt", "power"])),
        "lr_scaling.of": draw(st.sampled_from(["mini_batch_size", "workers"])),
        "warmup_epochs": draw(st.integers(0, epochs * 4)) / 4,
        "warmup_shape": draw(st.sampled_from(["gradual", "constant", "none"])),
        "warmup_start": draw(st.sampled_from(["base_lr", "zero", 0.25, 1.0])),
        "warmup_step": draw(st.sampled_from(["t+1", "t"])),
        "warmup_counts": draw(st.sampled_from(["inside", "before"])),
        "last_batch": draw(st.sampled_from(["drop", "carry"])),
        "decay.kind": draw(st.sampled_from(["step", "cosine", "polynomial"])),
        "decay.epochs": tuple(sorted(milestone / 10 for milestone in milestones)),
        "decay.factor": draw(st.sampled_from([0.1, 0.5, 1.0])),
        "decay.power": draw(st.sampled_from([1.0, 2.0, 0.5])),
        "decay.final_fraction": draw(st.sampled_from([0.0, 0.01, 1.0])),
    }
    if leaves["lr_scaling.rule"] == "power":
        leaves["lr_scaling.exponent"] = draw(st.sampled_from([0.0, 0.5, 1.0, -0.5]))
    return make_recipe(**leaves), images


def oracle(recipe: Recipe, images: int, step: int) -> float:
    """The documented learning rate of a step, written a second time and as plainly as possible."""
    an_epoch = images / recipe.mini_batch_size if recipe.last_batch == "carry" else images // recipe.mini_batch_size
    k = recipe.mini_batch_size / recipe.reference_batch_size
    if recipe.lr_scaling.of == "workers":
        k = recipe.workers / recipe.reference_workers
    power = {"none": 0, "linear": 1, "sqrt": 1 / 2, "power": recipe.lr_scaling.exponent}[recipe.lr_scaling.rule]
    peak = recipe.base_lr * k**power
    warmup = 0 if recipe.warmup_shape == "none" else math.floor(recipe.warmup_epochs * an_epoch + 1e-7)
    start = recipe.warmup_start
    start = recipe.base_lr if start == "base_lr" else 0.0 if start == "zero" else start * peak
    if step < warmup and recipe.warmup_shape == "constant":
        return start
    if step < warmup:
        share = (step + 1) / warmup if recipe.warmup_step == "t+1" else step / warmup
        return (1 - share) * start + share * peak
    clock = step - warmup if recipe.warmup_counts == "before" else step
    if recipe.decay.kind == "step":
        passed = [epoch for epoch in recipe.decay.epochs if clock >= math.floor(epoch * an_epoch + 1e-7)]
        return peak * recipe.decay.factor ** len(passed)
    done = min(1.0, clock / math.floor(recipe.epochs * an_epoch + 1e-7))
    left = math.cos(math.pi / 2 * done) ** 2 if recipe.decay.kind == "cosine" else (1 - done) ** recipe.decay.power
    return peak * (recipe.decay.final_fraction + (1 - recipe.decay.final_fraction) * left)
