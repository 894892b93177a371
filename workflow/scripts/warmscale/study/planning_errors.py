"""What is wrong with a plan's assumptions beside their shape: claims, experiments and runs that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .config import StudyConfig
from .errors import join_path, shown, suggestion
from .levels import is_in
from .run import Run


def planning_errors(config: StudyConfig, runs: Mapping[str, Run]) -> list[str]:
    """A line for everything wrong with `planning`."""
    planning = config.planning
    names = [experiment.name for experiment in config.experiments]
    ids = [claim.id for claim in config.claims]
    lines = [
        f"{join_path('planning.weights', name)}: is no claim; {suggestion(name, ids)}"
        for name in planning.weights
        if name not in ids
    ]
    filters: dict[str, Mapping[str, Any]] = {}
    for index, one in enumerate(planning.required):
        path = join_path("planning.required", index)
        if isinstance(one, str) and one not in names:
            lines.append(f"{path}: {one} is no experiment; {suggestion(one, names)}")
        elif not isinstance(one, str):
            filters[path] = one
    for name in ("sd", "smallest_effect"):
        given = getattr(planning, name)
        for index, one in enumerate(given if isinstance(given, list) else []):
            filters[f"{join_path(f'planning.{name}', index)}.where"] = one.where
    rows = [run.columns() for run in runs.values()] if filters else []
    return lines + [line for path, wanted in filters.items() for line in _filter_errors(path, wanted, rows)]


def _filter_errors(path: str, wanted: Mapping[str, Any], rows: list[dict[str, Any]]) -> Iterator[str]:
    """A filter that can select no run, and why."""
    known = list(rows[0]) if rows else []
    unknown = [column for column in wanted if column not in known]
    for column in unknown:
        yield f"{join_path(path, column)}: is no column of runs; {suggestion(column, known)}"
    if not unknown and not any(is_in(row, wanted) for row in rows):
        yield f"{path}: {shown(dict(wanted))} selects no run of the study"
