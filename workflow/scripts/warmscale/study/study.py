"""From a config to a validated study: its runs, and the points of its experiments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from .config import Dataset, Experiment, Seeds, StudyConfig
from .errors import StudyError, explain, join_path
from .grid import Values, grid_errors, grid_points, validated
from .recipe import leaf_values
from .run import Run, make_run


@dataclass(frozen=True)
class Point:
    """One run as an experiment sees it: the levels of its factors, and a seed."""

    experiment: str
    factors: Mapping[str, Any]
    """{leaf: level} of the experiment's grid and extra points."""
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
    config, lines = _parse(raw)
    dataset, experiments = _usable_parts(raw, config)
    lines += [line for experiment in experiments for line in grid_errors(experiment)]
    names = [experiment.name for experiment in experiments]
    lines += [f"experiments.{name}: stands twice; names must differ" for name in names if names.count(name) > 1]
    recipe = raw.get("recipe") if isinstance(raw.get("recipe"), Mapping) else {}
    base = Values({}, {}).updated(recipe, "recipe")
    runs: dict[str, Run] = {}
    points: dict[tuple, Point] = {}
    for experiment in experiments:
        for factors, recipe, seeds, errors in _expand(experiment, base, dataset, raw.get("seeds", 1)):
            lines += errors
            for seed in seeds if recipe and dataset and not lines else ():
                run = make_run(recipe, dataset, seed)
                run = runs.setdefault(run.run_id, run)
                levels = {leaf: leaf_values(recipe).get(leaf, value) for leaf, value in factors.items()}
                key = (experiment.name, tuple(levels.items()), seed)
                points.setdefault(key, Point(experiment.name, levels, seed, run.run_id))
    if lines or config is None:
        raise StudyError(lines)
    return Study(config, dict(raw), runs, tuple(points.values()))


def _expand(experiment: Experiment, base: Values, dataset: Dataset | None, study_seeds: Seeds) -> Iterator[tuple]:
    """(levels, recipe or None, seeds, errors) of every point."""
    path = join_path("experiments", experiment.name)
    common = base.updated(experiment.recipe, f"{path}.recipe")
    for index, (point, own_seeds) in enumerate(grid_points(experiment)):
        place = f"{path}.grid" if own_seeds is None and point.keys() == experiment.grid.keys() else f"{path}.extra"
        values = common.updated(point, place)
        recipe, errors = validated(values, dataset)
        seeds = own_seeds or experiment.seeds or study_seeds
        factors = {leaf: values.of.get(leaf) for leaf in _factors(point)}
        yield factors, recipe, _seed_list(seeds), [*errors, *(_seed_errors(seeds, path) if index == 0 else [])]


def _factors(point: Mapping[str, Any]) -> list[str]:
    """Leaves that a point sets, shorthands by the leaf they stand for."""
    return ["workers" if leaf == "workers_as" else leaf for leaf in point]


def _seed_list(seeds: Any) -> list[int]:
    if isinstance(seeds, int):
        return list(range(1, seeds + 1))
    return seeds if isinstance(seeds, list) else []


def _seed_errors(seeds: Any, path: str) -> list[str]:
    listed = _seed_list(seeds)
    return [f"{path}.seeds: {seed} stands twice" for seed in sorted(set(listed)) if listed.count(seed) > 1]


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


def _usable_parts(raw: Mapping[str, Any], config: StudyConfig | None) -> tuple[Dataset | None, list[Experiment]]:
    """Data set and experiments that are valid by themselves, so that one error does not hide the others."""
    if config:
        return config.dataset, config.experiments
    entries = raw.get("experiments")
    found = [_valid(Experiment, entry) for entry in entries] if isinstance(entries, list) else []
    return _valid(Dataset, raw.get("dataset")), [experiment for experiment in found if experiment]


def _valid(model: type, value: Any) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None
