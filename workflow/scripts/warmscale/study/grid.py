"""Experiments as points: cartesian products, exclusions, extra points, each value with the key that it came from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from .config import Experiment, Seeds
from .errors import join_path, shown, suggestion
from .recipe import Count, Strict, leaves

LEAVES = tuple(leaves())
SECTIONS = tuple(dict.fromkeys(leaf.split(".")[0] for leaf in LEAVES if "." in leaf))
MOST_POINTS = 100_000
"""Points of one grid; more are a slip of the pen."""


class WorkersAs(Strict):
    """Shorthand for a number of workers; says nothing about where they run."""

    nodes: Count
    per_node: Count


@dataclass(frozen=True)
class Values:
    """Values of leaves, and for each the path of the key that gave it."""

    of: Mapping[str, Any]
    source: Mapping[str, str]

    def updated(self, section: Mapping[str, Any], path: str) -> Values:
        """These values with those of a section of the file over them; nested keys may be nested or dotted."""
        flat = {leaf: (value, join_path(path, leaf)) for leaf, value in _flat(section)}
        if "workers_as" in flat:
            flat["workers"] = (_workers(flat["workers_as"][0]), flat.pop("workers_as")[1])
        return Values(
            {**self.of, **{leaf: value for leaf, (value, _) in flat.items()}},
            {**self.source, **{leaf: source for leaf, (_, source) in flat.items()}},
        )

    def nested(self) -> dict[str, Any]:
        """The values in the shape of a recipe."""
        tree: dict[str, Any] = {}
        plain: dict[str, Any] = {}
        for leaf, value in self.of.items():
            section, _, field = leaf.partition(".")
            if field and section in SECTIONS:
                tree.setdefault(section, {})[field] = value
            else:
                plain[leaf] = value
        return tree | plain  # a section that is no mapping hides its leaves: validation rejects it

    def path(self, location: tuple) -> str:
        """Path of the key that gave the value at a location of the recipe."""
        for length in range(min(len(location), 2), 0, -1):
            leaf = join_path(*location[:length])
            if leaf in self.source:
                return join_path(self.source[leaf], *location[length:])
        inside = [source for leaf, source in self.source.items() if leaf.startswith(f"{location[0]}.")]
        return inside[-1].rpartition(".")[0] if len(location) == 1 and inside else join_path("recipe", *location)


def grid_points(experiment: Experiment) -> Iterator[tuple[dict[str, Any], Seeds | None, str]]:
    """The points of an experiment as ({leaf: level}, own seeds or None, path of the keys that gave the levels)."""
    path = join_path("experiments", experiment.name)
    for levels in itertools.product(*experiment.grid.values()) if experiment.grid else ():
        point = dict(zip(experiment.grid, levels, strict=True))
        if not any(all(point.get(leaf) == value for leaf, value in out.items()) for out in experiment.exclude):
            yield point, None, f"{path}.grid"
    for index, extra in enumerate(experiment.extra):
        yield extra.point, extra.seeds, f"{path}.extra[{index}].point"


def grid_errors(experiment: Experiment) -> Iterator[str]:
    """What is wrong with a grid by itself."""
    path = join_path("experiments", experiment.name)
    sections = {f"{path}.grid": experiment.grid}
    sections |= {f"{path}.extra[{index}].point": extra.point for index, extra in enumerate(experiment.extra)}
    for place, section in sections.items():
        yield from repeated_leaves(section, place)
        for name in SECTIONS:
            if name in section:
                inside = ", ".join(leaf for leaf in LEAVES if leaf.startswith(f"{name}."))
                yield f"{place}.{name}: is a section, not a leaf: {inside}"
    yield from repeated_leaves(experiment.recipe, f"{path}.recipe")
    yield from repeated_seeds(experiment.seeds, f"{path}.seeds")
    for index, extra in enumerate(experiment.extra):
        yield from repeated_seeds(extra.seeds, f"{path}.extra[{index}].seeds")
    if too_large(experiment):
        yield f"{path}.grid: has more than {MOST_POINTS} points"
    elif not any(True for _ in grid_points(experiment)):
        yield f"{path}: has no points: {'exclude leaves none' if experiment.grid else 'give it a grid or extra points'}"
    for leaf, levels in experiment.grid.items():
        if repeated := [level for index, level in enumerate(levels) if level in levels[:index]]:
            yield f"{path}.grid.{leaf}: {shown(repeated[0])} stands twice"
    for index, out in enumerate(experiment.exclude):
        for leaf, value in out.items():
            if leaf not in experiment.grid:
                known = suggestion(leaf, list(experiment.grid))
                yield f"{path}.exclude[{index}].{leaf}: is not a factor of this grid; {known}"
            elif value not in experiment.grid[leaf]:
                yield f"{path}.exclude[{index}].{leaf}: {shown(value)} is not a level: {shown(experiment.grid[leaf])}"


def too_large(experiment: Experiment) -> bool:
    """Whether a grid has so many points that it is better not made."""
    return math.prod(len(levels) for levels in experiment.grid.values()) > MOST_POINTS


def repeated_leaves(section: Mapping[str, Any], path: str) -> Iterator[str]:
    """Leaves that a section gives twice: nested and dotted, or as workers and workers_as."""
    leaves = ["workers" if leaf == "workers_as" else leaf for leaf, _ in _flat(section)]
    for leaf in sorted({leaf for leaf in leaves if leaves.count(leaf) > 1}):
        yield f"{join_path(path, leaf)}: stands twice{', as workers_as too' if leaf == 'workers' else ''}"


def seed_list(seeds: Seeds) -> list[int]:
    """The seeds themselves."""
    return list(range(1, seeds + 1)) if isinstance(seeds, int) else seeds


def repeated_seeds(seeds: Seeds | None, path: str) -> Iterator[str]:
    """Seeds that stand twice."""
    listed = seed_list(seeds or [])
    yield from (f"{path}: {seed} stands twice" for seed in sorted(set(listed)) if listed.count(seed) > 1)


def _flat(section: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(leaf, value) pairs; only the sections of a recipe are taken apart."""
    for key, value in section.items():
        if key in SECTIONS and isinstance(value, Mapping):
            yield from ((f"{key}.{field}", inner) for field, inner in value.items())
        else:
            yield str(key), value


def _workers(shorthand: Any) -> Any:
    """Nodes times workers a node; what is no such shorthand is handed on, for validation to reject."""
    try:
        pair = WorkersAs.model_validate(shorthand)
    except ValidationError:
        return shorthand
    return pair.nodes * pair.per_node
