"""A run is its content: what the trainer is told, and the id that is a hash of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .config import Dataset
from .rates import epoch_clock, peak_lr, resolve_schedule, scale_factor, total_epochs, warmup_epochs, warmup_steps
from .recipe import Recipe, WarmupRule, leaf_values
from .schedule import Schedule

TRAINING_VERSION = 2
"""Raised by hand when the trainer's results change on purpose: every run gets a new id and is trained again."""

MOST_STEPS = 10**9
"""Steps of a training; more are a slip of the pen."""

SCALING = (
    *("lr_scaling.rule", "lr_scaling.of", "lr_scaling.exponent"),
    *("mini_batch_size", "reference_batch_size", "workers", "reference_workers"),
)
"""Leaves that the scale factor, and so the peak rate, rests on."""

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


def check_point(
    recipe: Recipe, num_train_images: int | None, num_seeds: int = 1, doubtful: Collection[str] = ()
) -> list[tuple[str, str]]:
    """What is impossible about a recipe, as (leaf, message) pairs; messages name values.

    Findings that need the number of training images are left out where it is None, as are those that rest on a
    doubtful leaf.
    """
    found = _impossible(recipe, num_train_images, num_seeds)
    return [(leaves[0], message) for leaves, message in found if set(leaves).isdisjoint(doubtful)]


def _impossible(recipe: Recipe, images: int | None, num_seeds: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """((leaf that is reported, further leaves that the finding rests on), message) pairs."""
    size, workers = recipe.mini_batch_size, recipe.workers
    if size % workers:
        below, above = size - size % workers, size - size % workers + workers
        nearest = above if below == 0 or above - size < size - below else below
        message = f"{size} is not divisible by {workers} workers; the nearest that is: {nearest}"
        yield ("mini_batch_size", "workers"), message
    elif (size // workers) % (recipe.batchnorm_batch_size or 1):
        message = f"{recipe.batchnorm_batch_size} does not divide the {size // workers} images of a worker"
        yield ("batchnorm_batch_size", "mini_batch_size", "workers"), message
    if images is not None and size > images:
        yield ("mini_batch_size",), f"{size} is larger than the training set of {images} images"
    if (warmup := warmup_epochs(recipe)) > recipe.epochs:
        rule = ("mini_batch_size",) if isinstance(recipe.warmup_epochs, WarmupRule) else ()
        message = f"{warmup:g} epochs of warmup are longer than training, {recipe.epochs} epochs"
        yield ("warmup_epochs", "epochs", *rule), message
    if recipe.decay.kind == "step" and recipe.decay.epochs and recipe.decay.epochs[-1] >= recipe.epochs:
        message = f"{recipe.decay.epochs[-1]:g} is not before the end of training, {recipe.epochs} epochs"
        yield ("decay.epochs", "decay.kind", "epochs"), message
    if not 0 < peak_lr(recipe) < math.inf:
        scaled = f"{recipe.base_lr:g}, scaled by {scale_factor(recipe):g} with rule {recipe.lr_scaling.rule}"
        yield ("base_lr", *SCALING), f"{scaled}, is {peak_lr(recipe):g}, which is no learning rate"
    steps = 0 if images is None else epoch_clock(recipe, images).steps_until(recipe.epochs)
    if steps > MOST_STEPS:
        message = f"{recipe.epochs} epochs are {steps} steps, more than {MOST_STEPS}"
        yield ("epochs", "mini_batch_size", "last_batch"), message
    if ":" in recipe.model and recipe.zero_init_residual:
        message = f"true, but {recipe.model} is a model of your own: zero its gammas there"
        yield ("zero_init_residual", "model"), message
    if num_seeds > 1 and None not in (recipe.data_seed, recipe.init_seed):
        yield ("init_seed", "data_seed"), f"with data_seed fixed too, {num_seeds} seeds repeat the same run"


def make_run(recipe: Recipe, dataset: Dataset, seed: int) -> Run:
    """Resolve a recipe that `check_point` has nothing against."""
    (run,) = make_runs(recipe, dataset, [seed])
    return run


def make_runs(recipe: Recipe, dataset: Dataset, seeds: Iterable[int]) -> Iterator[Run]:
    """The same for several seeds: what they share, above all the schedule, is resolved once."""
    worker_batch_size = recipe.mini_batch_size // recipe.workers
    batchnorm_batch_size = recipe.batchnorm_batch_size or worker_batch_size
    resolved = recipe.model_copy(
        update={"warmup_epochs": warmup_epochs(recipe), "batchnorm_batch_size": batchnorm_batch_size}
    )
    schedule = resolve_schedule(resolved, dataset.num_train_images)
    shared_content = _content(resolved, dataset, schedule)
    beginning = _beginning_of_id(resolved, schedule)
    derived = {
        "worker_batch_size": worker_batch_size,
        "scale_factor": scale_factor(resolved),
        "peak_lr": peak_lr(resolved),
        "warmup_steps": warmup_steps(resolved, dataset.num_train_images),
        "total_steps": schedule.total_steps,
    }
    for seed in seeds:
        given = {"data_seed": recipe.data_seed, "init_seed": recipe.init_seed}
        seeds_of_run = {name: seed if value is None else value for name, value in given.items()}
        content = shared_content | seeds_of_run
        digest = hashlib.sha256(canonical_json(content).encode()).hexdigest()[:12]
        yield Run(
            run_id=f"{beginning}-s{seeds_of_run['init_seed']}-{digest}",
            content=content,
            recipe=resolved.model_copy(update=seeds_of_run),
            seed=seed,
            **derived,
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


def _beginning_of_id(recipe: Recipe, schedule: Schedule) -> str:
    """The readable parts that runs share which differ in their seeds only."""
    peak, reached = schedule.peak()
    lr = f"{peak:.3g}".replace("e-0", "e-").replace("+", "")
    # a letter first: Snakemake reads an id of digits only as a number
    return f"mb{recipe.mini_batch_size}-w{recipe.workers}-lr{lr}-up{reached}"
