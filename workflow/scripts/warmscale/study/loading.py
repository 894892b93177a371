"""From a config to a validated study: all that is wrong with it at once, or its runs and points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..cluster.placement import PlacementError
from .claim_errors import claim_errors
from .config import (
    TRAININGS,
    ZERO_1_ONLY,
    Analysis,
    Experiment,
    Placement,
    ReplayedConfig,
    ReplayedExperiment,
    Seeds,
    StudyConfig,
    ThroughputExperiment,
    kind_tag,
)
from .errors import StudyError, closest, explain, join_path, shown
from .grid import Values, grid_errors, grid_points, repeated_leaves, repeated_seeds, seed_list, too_large
from .planning_errors import planning_errors
from .point_errors import leaf_errors, validated
from .recipe import Count, leaf_value, leaves
from .run import Run, make_runs
from .study import Point, Study, where
from .throughput import Measurement, expand_throughputs

Config = TypeVar("Config", bound=Analysis)

POINT_FIELDS = ("grid", "exclude", "extra", "recipe")
"""Fields of an experiment that decide which points it has."""


def load_study(raw: Mapping[str, Any]) -> Study:
    """Validate a config and expand its experiments; raises StudyError with all that is wrong, a line each."""
    if not isinstance(raw, Mapping):
        raise StudyError([f"the config is {shown(raw)}, must be a mapping"])
    return _load_replayed(raw) if "replay" in raw else _load_trained(raw)


def load_trained(raw: Mapping[str, Any]) -> Study:
    """The same, of a study that trains; raises StudyError for one of replayed results too."""
    study = load_study(raw)
    if study.is_replayed:
        raise StudyError([f"replay: study {study.name} trains nothing, so it has no runs to start"])
    return study


def _load_replayed(raw: Mapping[str, Any]) -> Study:
    config, lines = _parse(raw, ReplayedConfig)
    if foreign := [key for key in ("dataset", "recipe", "seeds") if key in raw]:
        lines = [line for line in lines if line.partition(":")[0] not in foreign]
        lines.append(f"{', '.join(foreign)}: a study with replay trains nothing; leave it out")
    if config:
        lines += [*_repeated_names(config.experiments), *claim_errors(config, {}, ())]
    if lines or config is None:
        raise StudyError(lines)
    return Study(config, dict(raw), {}, ())


def _load_trained(raw: Mapping[str, Any]) -> Study:
    config, lines = _parse(raw, StudyConfig)
    num_train_images, experiments, study_seeds = _usable_parts(raw, config)
    lines += repeated_seeds(study_seeds, "seeds")
    throughputs = [experiment for experiment in experiments if experiment.kind == "throughput"]
    trainings = [experiment for experiment in experiments if experiment.kind == "training"]
    lines += [line for experiment in trainings for line in grid_errors(experiment)]
    lines += [*_repeated_names(experiments), *_taken_names(experiments)]
    base = None
    if isinstance(raw.get("recipe"), Mapping):
        base = Values({}, {}).updated(raw["recipe"], "recipe")
        lines += [*repeated_leaves(raw["recipe"], "recipe"), *leaf_errors(base)]
    runs: dict[str, Run] = {}
    points: dict[tuple, Point] = {}
    for experiment in trainings:
        factors = _factors(experiment)
        for recipe, seeds, errors in _expand(experiment, base, num_train_images, study_seeds):
            lines += errors
            if lines or not (recipe and config):
                continue
            levels = {leaf: leaf_value(recipe, leaf) for leaf in factors}
            for run in make_runs(recipe, config.dataset, seeds):
                runs.setdefault(run.run_id, run)
                key = (experiment.name, tuple(levels.items()), run.seed)
                points.setdefault(key, Point(experiment.name, levels, run.seed, run.run_id))
    measurements, wrong = expand_throughputs(throughputs, base, config)
    lines += wrong
    if config and config.placement.zero_stage:
        lines += [line for each in (*runs.values(), *measurements.values()) for line in _zero_errors(each)]
    lines += [line for run in runs.values() for line in _node_errors(config.placement, run)]
    if config and not lines:
        lines += claim_errors(config, runs, points.values())
        lines += planning_errors(config, runs)
    if lines or config is None:
        raise StudyError(lines)
    study = Study(config, dict(raw), runs, tuple(points.values()), measurements=measurements)
    if not config.imported:
        return study
    from ..replay.errors import ReplayError
    from ..replay.imports import filled  # reads files, which only few studies need

    try:
        return filled(study)
    except ReplayError as error:
        raise StudyError(error.lines) from error


def _repeated_names(experiments: Sequence[Experiment | ThroughputExperiment | ReplayedExperiment]) -> list[str]:
    names = [experiment.name for experiment in experiments]
    return [f"experiments.{name}: stands twice; names must differ" for name in names if names.count(name) > 1]


def _taken_names(experiments: Sequence[Experiment | ThroughputExperiment]) -> list[str]:
    """Throughput experiments whose figures would have the names of those of all trainings."""
    taken = [one.name for one in experiments if one.kind == "throughput" and one.name == TRAININGS]
    return [f"experiments.{name}: is what figures of all trainings are called; take another name" for name in taken]


def _node_errors(placement: Placement, run: Run) -> list[str]:
    """Numbers of nodes that can never carry out a run, once it is known how many ranks a node has."""
    try:
        where(placement, run.recipe.workers)
    except PlacementError as error:
        return [str(error)] if placement.ranks_per_node else []
    return []


def _zero_errors(run: Run | Measurement) -> list[str]:
    """ZeRO stage 1 is a placement, so it must not change what is trained; DeepSpeed's does but for SGD in fp32."""
    name, precision = run.recipe.optimizer.name, run.recipe.precision
    if (name, precision) == ZERO_1_ONLY:
        return []
    return [f"placement.zero_stage: 1 would change runs with {name} in {precision}; it is for sgd in fp32 only"]


def _expand(
    experiment: Experiment, base: Values | None, num_train_images: int | None, study_seeds: Seeds
) -> Iterator[tuple]:
    """(recipe or None, seeds, errors) of every point; without a base, values are checked by themselves."""
    common = (base or Values({}, {})).updated(experiment.recipe, f"{join_path('experiments', experiment.name)}.recipe")
    yield None, [], leaf_errors(common)
    for point, own_seeds, place in grid_points(experiment) if not too_large(experiment) else ():
        values = common.updated(point, place)
        seeds = seed_list(own_seeds or experiment.seeds or study_seeds)
        recipe, errors = validated(values, num_train_images, len(seeds)) if base else (None, leaf_errors(values))
        yield recipe, seeds, errors


def _factors(experiment: Experiment) -> list[str]:
    """Leaves that points of an experiment set, in the order of the file, shorthands by the leaf they stand for."""
    named = [*experiment.grid, *(leaf for extra in experiment.extra for leaf in extra.point)]
    known = {*leaves()}  # of another one the errors of its point tell
    meant = ("workers" if leaf == "workers_as" else leaf for leaf in named)
    return [leaf for leaf in dict.fromkeys(meant) if leaf in known]


def _parse(raw: Mapping[str, Any], model: type[Config]) -> tuple[Config | None, list[str]]:
    """The typed config, or None and a line for each finding."""
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        return None, [f"{_named(location, raw)}: {message}" for location, message in explain(error, model)]


def _named(location: tuple, raw: Mapping[str, Any]) -> str:
    """A path in which an experiment stands by its name, and a claim by its id, instead of its index."""
    key = {"experiments": "name", "claims": "id"}.get(location[0]) if location else None
    if key and len(location) > 1 and isinstance(location[1], int):
        entry = raw[location[0]][location[1]]
        name = entry.get(key) if isinstance(entry, Mapping) else None
        if isinstance(name, str):
            return join_path(location[0], name, *location[2:])
    return join_path(*location)


def _usable_parts(
    raw: Mapping[str, Any], config: StudyConfig | None
) -> tuple[int | None, list[Experiment | ThroughputExperiment], Seeds]:
    """Number of training images, experiments and seeds, as far as valid, so that one error does not hide the others."""
    if config:
        return config.dataset.num_train_images, config.experiments, config.seeds
    dataset, entries = raw.get("dataset"), raw.get("experiments")
    num_train_images = _valid(Count, dataset.get("num_train_images")) if isinstance(dataset, Mapping) else None
    found = [_usable_experiment(*entry) for entry in enumerate(entries)] if isinstance(entries, list) else []
    return num_train_images, [experiment for experiment in found if experiment], _valid(Seeds, raw.get("seeds")) or 1


def _usable_experiment(index: int, entry: Any) -> Experiment | ThroughputExperiment | None:
    """An experiment without those of its fields that are wrong, or None where they could change its points."""
    if not isinstance(entry, Mapping):
        return None
    if kind_tag(entry) == "kind=throughput":
        return _usable_throughput(index, entry)
    fields = list(Experiment.model_fields)
    if any(closest(str(key), fields) in POINT_FIELDS for key in entry.keys() - fields):
        return None
    kept = {field: entry[field] for field in POINT_FIELDS if field in entry}
    experiment = _valid(Experiment, {"name": "any", "seeds": _valid(Seeds, entry.get("seeds"))} | kept)
    return experiment and experiment.model_copy(update={"name": _name(index, entry)})


def _usable_throughput(index: int, entry: Mapping[str, Any]) -> ThroughputExperiment | None:
    """A throughput experiment of which only the recipe is looked at."""
    kept = {"name": "any", "kind": "throughput", "worker_batch_size": [1], "recipe": entry.get("recipe", {})}
    experiment = _valid(ThroughputExperiment, kept)
    return experiment and experiment.model_copy(update={"name": _name(index, entry)})


def _name(index: int, entry: Mapping[str, Any]) -> str | int:
    """Of an entry, for paths; where a name is missing, they have the index."""
    name = entry.get("name")
    return name if isinstance(name, str) else index


def _valid(kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return None
