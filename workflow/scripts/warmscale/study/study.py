"""From a config to a validated study: its runs, and the points of its experiments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .config import Dataset, Experiment, Seeds, StudyConfig
from .errors import StudyError, explain, join_path, shown
from .grid import (
    Values,
    grid_errors,
    grid_points,
    leaf_errors,
    repeated_leaves,
    repeated_seeds,
    seed_list,
    too_large,
    validated,
)
from .recipe import leaf_values
from .run import Run, make_run


@dataclass(frozen=True)
class Point:
    """One run as an experiment sees it: the levels of its factors, and a seed."""

    experiment: str
    factors: Mapping[str, Any]
    """{leaf: level} of every leaf that the experiment's grid or one of its extra points sets; a rule is a level."""
    seed: int
    run_id: str


@dataclass(frozen=True)
class Study:
    """A validated study."""

    config: StudyConfig
    raw: Mapping[str, Any]
    """The config as the user wrote it, for the report."""
    runs: Mapping[str, Run]
    """{run_id: Run}; a run of several experiments stands here once."""
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """Name of the study, the folder under results/."""
        return self.config.study

    def experiments_of(self, run_id: str) -> list[str]:
        """Names of the experiments that use a run."""
        return self._experiments.get(run_id, [])

    def metric_rule(self, run: Run) -> str:
        """How the epochs of a run become one number: the study's rule, or the default for its decay."""
        return self.config.metric.of_run or ("median_last_5" if run.recipe.decay.kind == "step" else "last")

    def ranks(self, run: Run) -> int:
        """The most ranks up to placement.max_ranks that share the workers of a run equally."""
        most = min(self.config.placement.max_ranks, run.recipe.workers)
        return next(ranks for ranks in range(most, 0, -1) if run.recipe.workers % ranks == 0)

    @cached_property
    def _experiments(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for point in self.points:
            used_by = names.setdefault(point.run_id, [])
            if point.experiment not in used_by:
                used_by.append(point.experiment)
        return names


def load_study(raw: Mapping[str, Any]) -> Study:
    """Validate a config and expand its experiments; raises StudyError with all that is wrong, a line each."""
    if not isinstance(raw, Mapping):
        raise StudyError([f"the config is {shown(raw)}, must be a mapping"])
    config, lines = _parse(raw)
    dataset, experiments, study_seeds = _usable_parts(raw, config)
    lines += repeated_seeds(study_seeds, "seeds")
    lines += [line for experiment in experiments for line in grid_errors(experiment)]
    names = [experiment.name for experiment in experiments]
    lines += [f"experiments.{name}: stands twice; names must differ" for name in names if names.count(name) > 1]
    if not isinstance(raw.get("recipe"), Mapping):
        raise StudyError(lines)
    base = Values({}, {}).updated(raw["recipe"], "recipe")
    lines += [*repeated_leaves(raw["recipe"], "recipe"), *leaf_errors(base)]
    runs: dict[str, Run] = {}
    points: dict[tuple, Point] = {}
    for experiment in experiments:
        factors = _factors(experiment)
        for recipe, seeds, errors in _expand(experiment, base, dataset, study_seeds):
            lines += errors
            for seed in seeds if recipe and dataset and not lines else ():
                run = make_run(recipe, dataset, seed)
                runs.setdefault(run.run_id, run)
                values = leaf_values(recipe)
                levels = {leaf: values.get(leaf) for leaf in factors}
                key = (experiment.name, tuple(levels.items()), seed)
                points.setdefault(key, Point(experiment.name, levels, seed, run.run_id))
    if lines or config is None:
        raise StudyError(lines)
    return Study(config, dict(raw), runs, tuple(points.values()))


def _expand(experiment: Experiment, base: Values, dataset: Dataset | None, study_seeds: Seeds) -> Iterator[tuple]:
    """(recipe or None, seeds, errors) of every point."""
    common = base.updated(experiment.recipe, f"{join_path('experiments', experiment.name)}.recipe")
    yield None, [], leaf_errors(common)
    for point, own_seeds, place in grid_points(experiment) if not too_large(experiment) else ():
        values = common.updated(point, place)
        recipe, errors = validated(values, dataset)
        seeds = seed_list(own_seeds or experiment.seeds or study_seeds)
        if recipe and len(seeds) > 1 and None not in (recipe.data_seed, recipe.init_seed):
            place = values.path(("init_seed",))
            errors = [f"{place}: with data_seed fixed too, {len(seeds)} seeds repeat the same run"]
        yield recipe, seeds, errors


def _factors(experiment: Experiment) -> list[str]:
    """Leaves that points of an experiment set, in the order of the file, shorthands by the leaf they stand for."""
    named = [*experiment.grid, *(leaf for extra in experiment.extra for leaf in extra.point)]
    return list(dict.fromkeys("workers" if leaf == "workers_as" else leaf for leaf in named))


def _parse(raw: Mapping[str, Any]) -> tuple[StudyConfig | None, list[str]]:
    """The typed config, or None and a line for each finding."""
    try:
        return StudyConfig.model_validate(raw), []
    except ValidationError as error:
        return None, [f"{_named(location, raw)}: {message}" for location, message in explain(error, StudyConfig)]


def _named(location: tuple, raw: Mapping[str, Any]) -> str:
    """A path in which an experiment stands by its name instead of its index."""
    if len(location) > 1 and location[0] == "experiments" and isinstance(location[1], int):
        entry = raw["experiments"][location[1]]
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if isinstance(name, str):
            return join_path("experiments", name, *location[2:])
    return join_path(*location)


def _usable_parts(raw: Mapping[str, Any], config: StudyConfig | None) -> tuple[Dataset | None, list[Experiment], Seeds]:
    """Data set, experiments and seeds that are valid by themselves, so that one error does not hide the others."""
    if config:
        return config.dataset, config.experiments, config.seeds
    entries = raw.get("experiments")
    found = [_valid(Experiment, entry) for entry in entries] if isinstance(entries, list) else []
    experiments = [experiment for experiment in found if experiment]
    return _valid(Dataset, raw.get("dataset")), experiments, _valid(Seeds, raw.get("seeds")) or 1


def _valid(kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return None
