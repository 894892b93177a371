"""What follows from a recipe: scaling, steps, and the learning rate of every step."""

from __future__ import annotations

import itertools
import math

from .normal_form import normal_form
from .recipe import Recipe, WarmupRule
from .schedule import Affine, Curve, Schedule, scale_exponent, step_decay_rate, warmup_rate
from .steps import EpochClock


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
    return epoch_clock(recipe, num_train_images).steps_until(warmup_epochs(recipe))


def total_epochs(recipe: Recipe) -> int:
    """Epochs of the whole training, whole ones: a fraction that `before` adds is trained to its end."""
    before = recipe.warmup_counts == "before" and recipe.warmup_shape != "none"
    return recipe.epochs + (math.ceil(warmup_epochs(recipe) - 1e-9) if before else 0)


def closed_form(recipe: Recipe, num_train_images: int, step: int) -> float:
    """Learning rate at a step, straight from the recipe; `resolve_schedule` must agree with it at every step."""
    warmup = warmup_steps(recipe, num_train_images)
    if step < warmup:
        return _warmup_rate(recipe, step, warmup)
    clock = step - (warmup if recipe.warmup_counts == "before" else 0)
    epochs = epoch_clock(recipe, num_train_images)
    if recipe.decay.kind == "step":
        milestones = [epochs.steps_until(epoch) for epoch in recipe.decay.epochs]
        return step_decay_rate(clock, peak=peak_lr(recipe), milestones=milestones, factor=recipe.decay.factor)
    return _curve(recipe, epochs.steps_until(recipe.epochs), clock, 1).rate(0)


def resolve_schedule(recipe: Recipe, num_train_images: int) -> Schedule:
    """The learning rate of every step of a recipe, in normal form."""
    epochs = epoch_clock(recipe, num_train_images)
    warmup = warmup_steps(recipe, num_train_images)
    total = epochs.steps_until(total_epochs(recipe))
    shift = warmup if recipe.warmup_counts == "before" else 0
    ends = (_warmup_rate(recipe, step, warmup) for step in (0, warmup - 1) if warmup)
    pieces = [Affine(warmup, *ends)] if warmup else []
    if recipe.decay.kind != "step":
        return normal_form(pieces, _curve(recipe, epochs.steps_until(recipe.epochs), warmup - shift, total - warmup))
    milestones = [epochs.steps_until(epoch) for epoch in recipe.decay.epochs]
    bounds = [warmup, *(max(warmup, milestone + shift) for milestone in milestones), total]
    for index, (start, stop) in enumerate(itertools.pairwise(bounds)):
        rate = peak_lr(recipe) * recipe.decay.factor**index
        pieces.append(Affine(stop - start, rate, rate))
    return normal_form(pieces)


def warmup_epochs(recipe: Recipe) -> float:
    """Epochs of warmup, a rule worked out."""
    rule = recipe.warmup_epochs
    if isinstance(rule, WarmupRule):
        return rule.base_epochs * (recipe.mini_batch_size / rule.base_mini_batch_size) ** rule.exponent
    return float(rule)


def _start_lr(recipe: Recipe) -> float:
    named = {"base_lr": recipe.base_lr, "zero": 0.0}
    return named[recipe.warmup_start] if recipe.warmup_start in named else recipe.warmup_start * peak_lr(recipe)


def _warmup_rate(recipe: Recipe, step: int, steps: int) -> float:
    return warmup_rate(
        step,
        start=_start_lr(recipe),
        peak=peak_lr(recipe),
        warmup_steps=steps,
        shape=recipe.warmup_shape,
        step_convention=recipe.warmup_step,
    )


def _curve(recipe: Recipe, period: int, clock: int, steps: int) -> Curve:
    peak, decay = peak_lr(recipe), recipe.decay
    power = decay.power if decay.kind == "polynomial" else 1.0
    return Curve(decay.kind, steps, clock, period, peak, peak * decay.final_fraction, power)
