"""A run is its content: what the trainer is told, and the id that is a hash of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .config import Dataset
from .recipe import Recipe, WarmupRule, leaf_values
from .schedule import Affine, Curve, Schedule, normal_form, scale_exponent, step_decay_rate, warmup_rate
from .steps import EpochClock

TRAINING_VERSION = 1
"""Raised by hand when the trainer's results change on purpose: every run gets a new id and is trained again."""

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
    return [finding for finding in _impossible(recipe, dataset) if finding]


def _impossible(recipe: Recipe, dataset: Dataset):
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
    if _warmup_epochs(recipe) > recipe.epochs:
        yield (
            "warmup_epochs",
            f"{_warmup_epochs(recipe):g} epochs of warmup are longer than training, {recipe.epochs} epochs",
        )
    if recipe.decay.kind == "step" and recipe.decay.epochs and recipe.decay.epochs[-1] >= recipe.epochs:
        yield (
            "decay.epochs",
            f"{recipe.decay.epochs[-1]:g} is not before the end of training, {recipe.epochs} epochs",
        )


def make_run(recipe: Recipe, dataset: Dataset, seed: int) -> Run:
    """Resolve a recipe that `check_point` has nothing against."""
    worker_batch_size = recipe.mini_batch_size // recipe.workers
    resolved = recipe.model_copy(
        update={
            "warmup_epochs": _warmup_epochs(recipe),
            "batchnorm_batch_size": recipe.batchnorm_batch_size or worker_batch_size,
            "data_seed": seed if recipe.data_seed is None else recipe.data_seed,
            "init_seed": seed if recipe.init_seed is None else recipe.init_seed,
        }
    )
    schedule = resolve_schedule(resolved, dataset.num_train_images)
    content = _content(resolved, dataset, schedule)
    return Run(
        run_id=_run_id(resolved, schedule, seed, content),
        content=content,
        recipe=resolved,
        seed=seed,
        worker_batch_size=worker_batch_size,
        scale_factor=scale_factor(resolved),
        peak_lr=peak_lr(resolved),
        warmup_steps=warmup_steps(resolved, dataset.num_train_images),
        total_steps=schedule.total_steps,
    )


def scale_factor(recipe: Recipe) -> float:
    """k: by how much mini-batch or workers exceed their reference."""
    if recipe.lr_scaling.of == "workers":
        return recipe.workers / recipe.reference_workers
    return recipe.mini_batch_size / recipe.reference_batch_size


def peak_lr(recipe: Recipe) -> float:
    """base_lr * k^exponent: linear in Goyal et al. 2017, square root in Krizhevsky 2014 and LEGW."""
    return recipe.base_lr * scale_factor(recipe) ** scale_exponent(recipe.lr_scaling.rule, recipe.lr_scaling.exponent)


def epoch_clock(recipe: Recipe, num_train_images: int) -> EpochClock:
    """Where the epochs of a recipe end."""
    return EpochClock(num_train_images, recipe.mini_batch_size, recipe.last_batch)


def warmup_steps(recipe: Recipe, num_train_images: int) -> int:
    """Steps below peak_lr at the start; 0 without warmup."""
    if recipe.warmup_shape == "none":
        return 0
    return epoch_clock(recipe, num_train_images).steps_until(_warmup_epochs(recipe))


def total_epochs(recipe: Recipe) -> int:
    """Epochs of the whole training, whole ones: a fraction that `before` adds is trained to its end."""
    before = recipe.warmup_counts == "before" and recipe.warmup_shape != "none"
    return recipe.epochs + (math.ceil(_warmup_epochs(recipe) - 1e-9) if before else 0)


def closed_form(recipe: Recipe, num_train_images: int, step: int) -> float:
    """Learning rate at a step, straight from the recipe; `resolve_schedule` must agree with it at every step."""
    warmup = warmup_steps(recipe, num_train_images)
    peak = peak_lr(recipe)
    if step < warmup:
        return warmup_rate(
            step,
            start=_start_lr(recipe),
            peak=peak,
            warmup_steps=warmup,
            shape=recipe.warmup_shape,
            step_convention=recipe.warmup_step,
        )
    clock = step - (warmup if recipe.warmup_counts == "before" else 0)
    epochs = epoch_clock(recipe, num_train_images)
    if recipe.decay.kind == "step":
        milestones = [epochs.steps_until(epoch) for epoch in recipe.decay.epochs]
        return step_decay_rate(clock, peak=peak, milestones=milestones, factor=recipe.decay.factor)
    return _curve(recipe, epochs.steps_until(recipe.epochs), clock, 1).rate(0)


def resolve_schedule(recipe: Recipe, num_train_images: int) -> Schedule:
    """The learning rate of every step of a recipe, in normal form."""
    epochs = epoch_clock(recipe, num_train_images)
    warmup = warmup_steps(recipe, num_train_images)
    total = epochs.steps_until(total_epochs(recipe))
    shift = warmup if recipe.warmup_counts == "before" else 0
    pieces = [_warmup_piece(recipe, warmup)] if warmup else []
    if recipe.decay.kind != "step":
        return normal_form(pieces, _curve(recipe, epochs.steps_until(recipe.epochs), warmup - shift, total - warmup))
    milestones = [epochs.steps_until(epoch) for epoch in recipe.decay.epochs]
    bounds = [warmup, *(max(warmup, milestone + shift) for milestone in milestones), total]
    for index, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False)):
        pieces.append(Affine(stop - start, peak_lr(recipe) * recipe.decay.factor**index))
    return normal_form(pieces)


def _warmup_epochs(recipe: Recipe) -> float:
    rule = recipe.warmup_epochs
    if isinstance(rule, WarmupRule):
        return rule.base_epochs * (recipe.mini_batch_size / rule.base_mini_batch_size) ** rule.exponent
    return float(rule)


def _start_lr(recipe: Recipe) -> float:
    named = {"base_lr": recipe.base_lr, "zero": 0.0}
    return named[recipe.warmup_start] if recipe.warmup_start in named else recipe.warmup_start * peak_lr(recipe)


def _warmup_piece(recipe: Recipe, steps: int) -> Affine:
    start, peak = _start_lr(recipe), peak_lr(recipe)
    if recipe.warmup_shape == "constant":
        return Affine(steps, start)
    increment = (peak - start) / steps
    return Affine(steps, start + (increment if recipe.warmup_step == "t+1" else 0.0), increment)


def _curve(recipe: Recipe, period: int, clock: int, steps: int) -> Curve:
    peak, decay = peak_lr(recipe), recipe.decay
    power = decay.power if decay.kind == "polynomial" else 1.0
    return Curve(decay.kind, steps, clock, period, peak, peak * decay.final_fraction, power)


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


def _run_id(recipe: Recipe, schedule: Schedule, seed: int, content: Mapping[str, Any]) -> str:
    peak, reached = schedule.peak()
    digest = hashlib.sha256(canonical_json(content).encode()).hexdigest()[:12]
    lr = f"{peak:.3g}".replace("e-0", "e-").replace("+", "")
    # a letter first: Snakemake reads an id of digits only as a number
    return f"mb{recipe.mini_batch_size}-w{recipe.workers}-lr{lr}-up{reached}-s{seed}-{digest}"
