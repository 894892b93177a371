"""Measurements: the points of throughput experiments, each with the content and the id that follow from it."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from ..cluster.placement import Where
from .config import Dataset, Placement, StudyConfig, ThroughputExperiment
from .errors import join_path
from .grid import Values, repeated_leaves
from .point_errors import leaf_errors, validated
from .recipe import Recipe
from .run import RESOLVED, canonical_json, make_run

STEP_OPTIONS = (
    "engine",
    "zero_stage",
    "device",
    "workers_per_pass",
    "channels_last",
    "fused_optimizer",
    "compile",
    "cuda_graphs",
    "deterministic",
    "loader_threads",
)
"""Fields of a placement that change how long a step takes. They are no part of a run, but of a measurement."""
OF_NO_STEP = (RESOLVED - {"batchnorm_batch_size"}) | {"divergence"}
"""Fields of a recipe that a step takes equally long with, and those that the experiment gives itself."""
OF_IMAGES = {"augmentation", "loader_threads"}
"""Fields of a recipe and a placement that are about reading images, of which synthetic ones need nothing."""
INSTEAD = {"epochs": 1, "base_lr": 1.0e-5, "lr_scaling.rule": "none", "decay.epochs": []}
"""What a measurement has of them, whatever the study says: another warmup measures nothing anew. The rate is too small
for the loss to leave the finite numbers, however often the same images are trained on."""
SEED = 1
BLOCKS = 4
"""Whole steps and those without averaging take turns so often: what drifts is in both alike."""
MOST_MEASUREMENTS = 10_000
"""Of one experiment; more are a slip of the pen."""


@dataclass(frozen=True)
class Measurement:
    """One point of a throughput experiment with one repeat."""

    measurement_id: str
    """Readable parts and a hash of the content: a Snakemake wildcard, a folder."""
    content: Mapping[str, Any]
    """That of a run, and under `throughput` where and how its steps are timed; canonical, plain built-ins."""
    experiments: tuple[str, ...]
    """Names of the throughput experiments that it belongs to."""
    recipe: Recipe
    where: Where
    worker_batch_size: int
    """Images of one worker in one step."""
    repeat: int
    """From 1."""
    minutes: int
    """Most that a batch job of it may take; no part of the content."""

    @property
    def reads_data(self) -> bool:
        """Whether it needs the data set, not only its declared sizes."""
        return not reads_nothing(self.content)

    @property
    def total_steps(self) -> int:
        """Steps that it takes, timed or not."""
        return total_steps(self.content)

    def content_json(self) -> str:
        """The content as one line of canonical JSON, the form that is hashed and handed to the trainer."""
        return canonical_json(self.content)


@dataclass(frozen=True)
class _Shape:
    """What the points of an experiment differ in."""

    where: Where
    workers: int
    worker_batch_size: int


def is_measurement(content: Mapping[str, Any]) -> bool:
    """Whether a content is a measurement's, not a run's."""
    return "throughput" in content


def reads_nothing(content: Mapping[str, Any]) -> bool:
    """Whether a content is trained, or measured, without the data set: a measurement of synthetic images is."""
    return is_measurement(content) and content["throughput"]["data"] == "synthetic"


def total_steps(content: Mapping[str, Any]) -> int:
    """Steps that a measurement takes: to warm up, whole ones, and those without averaging gradients if there are any.

    Each block of them begins with one that is not timed.
    """
    asked = content["throughput"]
    kinds = 1 if asked["zero_stage"] else 2
    return asked["warmup_steps"] + kinds * (asked["steps"] + len(blocks(asked["steps"])))


def blocks(steps: int) -> list[int]:
    """How many timed steps of a kind are taken at a stretch."""
    number = min(BLOCKS, steps)
    return [steps * (index + 1) // number - steps * index // number for index in range(number)]


def expand_throughputs(
    experiments: list[ThroughputExperiment], base: Values | None, config: StudyConfig | None
) -> tuple[dict[str, Measurement], list[str]]:
    """{measurement_id: measurement} of all of these, each once, or a line for everything wrong with them.

    Without a valid config the values of their recipes are checked by themselves.
    """
    found: dict[str, Measurement] = {}
    lines: list[str] = []
    for experiment in experiments:
        path = join_path("experiments", experiment.name)
        common = (base or Values({}, {})).updated(experiment.recipe, f"{path}.recipe")
        wrong = [*_recipe_errors(experiment, path), *leaf_errors(common)]
        if config and base and not wrong:
            wrong = [*_size_errors(experiment, config.placement, path)]
        lines += wrong
        for shape in _shapes(experiment, config.placement) if config and base and not wrong else ():
            measured, errors = _measurements(experiment, common, shape, config, path)
            lines += errors
            for each in measured:
                known = found.setdefault(each.measurement_id, each)
                if experiment.name not in known.experiments:
                    names, minutes = (*known.experiments, experiment.name), max(known.minutes, each.minutes)
                    found[each.measurement_id] = replace(known, experiments=names, minutes=minutes)
    return found, lines


def _recipe_errors(experiment: ThroughputExperiment, path: str) -> Iterator[str]:
    yield from repeated_leaves(experiment.recipe, f"{path}.recipe")
    for leaf in ("workers", "workers_as", "mini_batch_size"):
        if leaf in experiment.recipe:
            yield f"{path}.recipe.{leaf}: is what workers and worker_batch_size of the experiment say; leave it out"


def _size_errors(experiment: ThroughputExperiment, placement: Placement, path: str) -> Iterator[str]:
    """Too many points, and ranks that do not divide workers."""
    count = experiment.repeats * math.prod(map(len, _levels(experiment, placement)))
    if count > MOST_MEASUREMENTS:
        yield f"{path}: has {count} measurements, more than {MOST_MEASUREMENTS}"
        return
    nodes, ranks_per_node, workers, _ = _levels(experiment, placement)
    for where in itertools.starmap(Where, itertools.product(nodes, ranks_per_node)):
        for number in workers:
            if number is not None and number % where.ranks:
                ranks = f"{where.ranks} ranks, {where.ranks_per_node} on each of {where.nodes} nodes"
                yield f"{path}.workers: {number} workers cannot be shared equally by {ranks}"


def _levels(experiment: ThroughputExperiment, placement: Placement) -> tuple[list, list, list, list]:
    """Nodes, ranks a node, workers (None: one a rank), images of a worker."""
    ranks_per_node = experiment.ranks_per_node or [placement.ranks_per_node or 1]
    return experiment.nodes, ranks_per_node, experiment.workers or [None], experiment.worker_batch_size


def _shapes(experiment: ThroughputExperiment, placement: Placement) -> Iterator[_Shape]:
    for nodes, ranks_per_node, workers, worker_batch_size in itertools.product(*_levels(experiment, placement)):
        where = Where(nodes, ranks_per_node)
        yield _Shape(where, workers or where.ranks, worker_batch_size)


def _measurements(
    experiment: ThroughputExperiment, common: Values, shape: _Shape, config: StudyConfig, path: str
) -> tuple[list[Measurement], list[str]]:
    """The repeats of one point, or what is wrong with it."""
    size, dataset = shape.workers * shape.worker_batch_size, config.dataset
    ignored = OF_IMAGES if experiment.data == "synthetic" else set()
    if ignored:
        dataset = _synthetic(dataset, size)
    recipe, errors = validated(_values(common, shape, path, OF_NO_STEP | ignored), dataset.num_train_images, 1)
    if recipe is None:
        return [], errors
    run = make_run(recipe, dataset, SEED)
    asked = {"steps": experiment.steps, "warmup_steps": experiment.warmup_steps, "data": experiment.data}
    asked |= {"nodes": shape.where.nodes, "ranks_per_node": shape.where.ranks_per_node}
    asked |= config.placement.model_dump(include={*STEP_OPTIONS} - ignored)
    return [
        _measurement(experiment, run.recipe, run.content, shape, asked | {"repeat": repeat})
        for repeat in range(1, experiment.repeats + 1)
    ], []


def _synthetic(dataset: Dataset, size: int) -> Dataset:
    """What synthetic images have of a data set, and for the rest what all such measurements have.

    size: images of a step.
    """
    pixels = dataset.image_size
    counts = {"num_train_images": size, "num_val_images": 1, "num_classes": dataset.num_classes}
    return Dataset(name="synthetic", root="synthetic", **counts, image_size=pixels, val_resize=pixels)


def _values(common: Values, shape: _Shape, path: str, ignored: Set[str]) -> Values:
    """The recipe's values of a point: what a step rests on, and for the rest what all measurements have."""
    kept = {leaf: value for leaf, value in common.of.items() if leaf.partition(".")[0] not in ignored}
    size = {"workers": shape.workers, "mini_batch_size": shape.workers * shape.worker_batch_size}
    given = {"workers": f"{path}.workers", "mini_batch_size": f"{path}.worker_batch_size"}
    return Values({**kept, **INSTEAD, **size}, {**common.source, **given})


def _measurement(
    experiment: ThroughputExperiment, recipe: Recipe, of_run: Mapping[str, Any], shape: _Shape, asked: Mapping[str, Any]
) -> Measurement:
    content = {**of_run, "throughput": dict(asked)}
    digest = hashlib.sha256(canonical_json(content).encode()).hexdigest()[:12]
    where, batch, repeat = shape.where, shape.worker_batch_size, asked["repeat"]
    place = f"tp-n{where.nodes}x{where.ranks_per_node}-w{shape.workers}-b{batch}"
    return Measurement(
        measurement_id=f"{place}-r{repeat}-{digest}",
        content=content,
        experiments=(experiment.name,),
        recipe=recipe,
        where=where,
        worker_batch_size=batch,
        repeat=repeat,
        minutes=experiment.minutes,
    )
