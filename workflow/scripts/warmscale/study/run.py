"""A run is its content: what the trainer is told, and the id that is a hash of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .config import Dataset
from .rates import epoch_clock, peak_lr, resolve_schedule, scale_factor, total_epochs, warmup_epochs, warmup_steps
from .recipe import Recipe, leaf_values
from .schedule import Schedule

TRAINING_VERSION = 1
"""Raised by hand when the trainer's results change on purpose: every run gets a new id and is trained again."""

MOST_STEPS = 10**9
"""Steps of a training; more are a slip of the pen."""

RESOLVED = {
    "epochs",
    "workers",
    "mini_batch_size",
    "batchnorm_batch_size",
    "base_lr",
    "reference_batch_size",
    "reference_workers",
    "lr_scaling",
    "warmup_epochs",
    "warmup_shape",
    "warmup_start",
    "warmup_step",
    "warmup_counts",
    "decay",
    "data_seed",
    "init_seed",
}
"""Fields of a recipe that stand in the content in another form, above all as the schedule that follows from them."""


@dataclass(frozen=True)
class Run:
    """One training: a point of a grid with one seed."""

    run_id: str
    """Readable parts and a hash of the content: a Snakemake wildcard, a folder."""
    content: Mapping[str, Any]
    """All that decides the result, canonical, plain built-ins."""
    recipe: Recipe
    """The recipe that led here; several may lead to the same content."""
    seed: int
    worker_batch_size: int
    """Images of one worker in one step."""
    scale_factor: float
    """k of the learning-rate scaling."""
    peak_lr: float
    """Rate after scaling, reached at the end of warmup."""
    warmup_steps: int
    total_steps: int

    def columns(self) -> dict[str, Any]:
        """The run as a row of built-in values: recipe leaves, then what follows from them."""
        leaves = leaf_values(self.recipe)
        leaves |= {name: ";".join(map(str, value)) for name, value in leaves.items() if isinstance(value, tuple)}
        derived = ("worker_batch_size", "scale_factor", "peak_lr", "warmup_steps", "total_steps")
        return leaves | {name: getattr(self, name) for name in derived} | {"seed": self.seed}

    def content_json(self) -> str:
        """The content as one line of canonical JSON, the form that is hashed and handed to the trainer."""
        return canonical_json(self.content)


def canonical_json(content: Mapping[str, Any]) -> str:
    """JSON with sorted keys and no blanks: equal contents give equal text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def check_point(recipe: Recipe, dataset: Dataset) -> list[tuple[str, str]]:
    """What is impossible about a recipe on a data set, as (leaf, message) pairs; messages name values."""
    return list(_impossible(recipe, dataset))


def _impossible(recipe: Recipe, dataset: Dataset) -> Iterator[tuple[str, str]]:
    size, workers, images = recipe.mini_batch_size, recipe.workers, dataset.num_train_images
    if size % workers:
        below, above = size - size % workers, size - size % workers + workers
        nearest = above if below == 0 or above - size < size - below else below
        yield "mini_batch_size", f"{size} is not divisible by {workers} workers; the nearest that is: {nearest}"
    elif (size // workers) % (recipe.batchnorm_batch_size or 1):
        yield (
            "batchnorm_batch_size",
            f"{recipe.batchnorm_batch_size} does not divide the {size // workers} images of a worker",
        )
    if size > images:
        yield "mini_batch_size", f"{size} is larger than the training set of {images} images"
    if warmup_epochs(recipe) > recipe.epochs:
        yield (
            "warmup_epochs",
            f"{warmup_epochs(recipe):g} epochs of warmup are longer than training, {recipe.epochs} epochs",
        )
    if recipe.decay.kind == "step" and recipe.decay.epochs and recipe.decay.epochs[-1] >= recipe.epochs:
        yield (
            "decay.epochs",
            f"{recipe.decay.epochs[-1]:g} is not before the end of training, {recipe.epochs} epochs",
        )
    if not 0 < peak_lr(recipe) < math.inf:
        scaled = f"{recipe.base_lr:g}, scaled by {scale_factor(recipe):g} with rule {recipe.lr_scaling.rule}"
        yield "base_lr", f"{scaled}, is {peak_lr(recipe):g}, which is no learning rate"
    if (steps := epoch_clock(recipe, images).steps_until(recipe.epochs)) > MOST_STEPS:
        yield "epochs", f"{recipe.epochs} epochs are {steps} steps, more than {MOST_STEPS}"
    if ":" in recipe.model and recipe.zero_init_residual:
        yield "zero_init_residual", f"true, but {recipe.model} is a model of your own: zero its gammas there"


def make_run(recipe: Recipe, dataset: Dataset, seed: int) -> Run:
    """Resolve a recipe that `check_point` has nothing against."""
    worker_batch_size = recipe.mini_batch_size // recipe.workers
    resolved = recipe.model_copy(
        update={
            "warmup_epochs": warmup_epochs(recipe),
            "batchnorm_batch_size": recipe.batchnorm_batch_size or worker_batch_size,
            "data_seed": seed if recipe.data_seed is None else recipe.data_seed,
            "init_seed": seed if recipe.init_seed is None else recipe.init_seed,
        }
    )
    schedule = resolve_schedule(resolved, dataset.num_train_images)
    content = _content(resolved, dataset, schedule)
    return Run(
        run_id=_run_id(resolved, schedule, content),
        content=content,
        recipe=resolved,
        seed=seed,
        worker_batch_size=worker_batch_size,
        scale_factor=scale_factor(resolved),
        peak_lr=peak_lr(resolved),
        warmup_steps=warmup_steps(resolved, dataset.num_train_images),
        total_steps=schedule.total_steps,
    )


def _content(recipe: Recipe, dataset: Dataset, schedule: Schedule) -> dict[str, Any]:
    """What decides the result; fields at their defaults left out, so that a later field renames no run."""
    unresolved = recipe.model_dump(exclude=RESOLVED, exclude_defaults=True)
    content = {name: value for name, value in unresolved.items() if value != {}}
    content |= {"dataset": dataset.content(), "model": recipe.model, "epochs": total_epochs(recipe)}
    content |= {"workers": recipe.workers, "mini_batch_size": recipe.mini_batch_size}
    if recipe.batchnorm_batch_size != recipe.mini_batch_size // recipe.workers:
        content["batchnorm_batch_size"] = recipe.batchnorm_batch_size
    content |= {"schedule": schedule.to_json(), "data_seed": recipe.data_seed, "init_seed": recipe.init_seed}
    content["training_version"] = TRAINING_VERSION
    return json.loads(canonical_json(content))


def _run_id(recipe: Recipe, schedule: Schedule, content: Mapping[str, Any]) -> str:
    peak, reached = schedule.peak()
    digest = hashlib.sha256(canonical_json(content).encode()).hexdigest()[:12]
    lr = f"{peak:.3g}".replace("e-0", "e-").replace("+", "")
    # a letter first: Snakemake reads an id of digits only as a number
    return f"mb{recipe.mini_batch_size}-w{recipe.workers}-lr{lr}-up{reached}-s{recipe.init_seed}-{digest}"
