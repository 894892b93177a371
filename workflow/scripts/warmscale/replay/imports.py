"""Results of others in the cells of a trained study: which planned runs they stand for, so that nobody trains those."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..study.errors import closest, suggestion
from ..study.levels import is_in, level_value
from ..study.metric import ACCURACIES
from ..study.replay import Replay
from .errors import ReplayError
from .names import is_metric, is_reserved
from .sources import read_sources

if TYPE_CHECKING:
    from ..study.run import Run
    from ..study.study import Point, Study

SEEDS = {"seed", "data_seed", "init_seed"}
NOT_SETTINGS = {"run_id", "seed", "state", "source", "metric", "n", "mean", "sd", "diverged", "epoch"}
NAMED = 3
"""Columns that a message names, of those that would tell cells apart."""


@dataclass(frozen=True)
class ImportedRun:
    """A run, or a summarised cell, that was not trained here."""

    run_id: str
    like: Run
    """A planned run of its cell: the same but for its seed."""
    seed: int | None
    """None: a whole cell."""
    row: Mapping[str, Any]
    """As its source has it: state, metrics, source; of a cell: metric, n, mean, sd, diverged."""
    epochs: tuple[Mapping[str, Any], ...] = ()
    """Rows with epoch and metrics."""


def filled(study: Study) -> Study:
    """The study with what it imports in place of the runs that this stands for; raises ReplayError."""
    rule = study.metric_rule(next(iter(study.runs.values())))
    imported = read_imports(study.config.imported, study.runs, rule)
    of_cell: dict[str, list[ImportedRun]] = {}
    for one in imported:
        of_cell.setdefault(cell_key(one.like), []).append(one)
    points: dict[tuple, Point] = {}
    for point in study.points:
        there = of_cell.get(cell_key(study.runs[point.run_id]), [])
        if not any(one.seed in (None, point.seed) for one in there):
            points[point.experiment, point.run_id, repr(point.factors)] = point
        for one in there:
            key = (point.experiment, one.run_id, repr(point.factors))
            points.setdefault(key, replace(point, seed=one.seed, run_id=one.run_id))
    used = {point.run_id for point in points.values()}
    return replace(
        study,
        runs={run_id: run for run_id, run in study.runs.items() if run_id in used},
        points=tuple(points.values()),
        imported={one.run_id: one for one in imported},
    )


def read_imports(replay: Replay, runs: Mapping[str, Run], rule: str) -> list[ImportedRun]:
    """Read what is imported, each row with the cell that it belongs to; raises ReplayError with all that is wrong.

    A row belongs to the planned runs that have the values of all its columns that are columns of `runs`; they must be
    of one cell.
    """
    try:
        found = read_sources(replay, metrics=["top1"], referenced=[], rule=rule)
    except ReplayError as error:
        raise ReplayError([_of_import(line) for line in error.lines]) from error
    cells = _cells(runs.values())
    columns = set(next(iter(runs.values())).columns()) - SEEDS
    problems: list[str] = []
    imported = []
    curves: dict[str, list] = {}
    for row in found.epochs.rows:
        curves.setdefault(row["run_id"], []).append(row)
    for row in found.runs.rows:
        if row["state"] == "failed":
            continue  # the planned run is trained: there is no result that could stand for it
        if like := _cell_of(_settings(row), row["source"], cells, columns, problems):
            name = f"imported-{row['run_id']}"
            imported.append(ImportedRun(name, like, row["seed"], row, tuple(curves.get(row["run_id"], ()))))
    for index, row in enumerate(found.cells.rows, start=1):
        if like := _cell_of(_settings(row), row["source"], cells, columns, problems):
            imported.append(ImportedRun(f"imported-cell-{index}", like, None, row))
    problems += _twice(imported)
    if problems:
        raise ReplayError(problems)
    return imported


def cell_key(run: Run) -> str:
    """What the runs of a cell have in common: all but their seeds."""
    return repr([(name, value) for name, value in run.columns().items() if name not in SEEDS])


def _cells(runs: Iterable[Run]) -> dict[str, Run]:
    """{cell: one of its runs}."""
    cells: dict[str, Run] = {}
    for run in runs:
        cells.setdefault(cell_key(run), run)
    return cells


def _of_import(line: str) -> str:
    """A line about sources, with the key that they stand under."""
    return line.replace("replay.", "import.", 1).replace("under replay", "under import")


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of its recipe: all but its results, and what is known to be no setting, as a host or a date."""
    return {
        name: value
        for name, value in row.items()
        if value is not None and name not in NOT_SETTINGS and not is_metric(name) and not is_reserved(name)
    }


def _cell_of(
    settings: Mapping[str, Any], source: str, cells: Mapping[str, Run], columns: set[str], problems: list[str]
) -> Run | None:
    """The one cell that has these settings; None and a problem where there is none, or more than one."""
    shown = ", ".join(f"{name} {level_value(value)}" for name, value in settings.items()) or "a row without settings"
    if unknown := sorted(settings.keys() - columns):
        hint = suggestion(unknown[0], sorted(columns)) if closest(unknown[0], sorted(columns)) else "rename it"
        problems.append(f"import: {source}: {unknown[0]} is no column of runs: {hint} Or take it out")
        return None
    fitting = [run for run in cells.values() if is_in(run.columns(), settings)]
    if not fitting:
        problems.append(f"import: {source}: {shown} is no cell of the study: add it to an experiment, or take it out")
    elif len(fitting) > 1:
        apart = ", ".join(list(_differing(fitting))[:NAMED])
        problems.append(f"import: {source}: {shown} fits {len(fitting)} cells: say which by {apart}")
    return fitting[0] if len(fitting) == 1 else None


def _differing(runs: Sequence[Run]) -> Iterator[str]:
    """Columns in which runs differ."""
    rows = [run.columns() for run in runs]
    yield from (name for name in rows[0] if name not in SEEDS and len({repr(row[name]) for row in rows}) > 1)


def _twice(imported: Sequence[ImportedRun]) -> Iterator[str]:
    """Rows that stand for the same run or cell."""
    first: dict[tuple, ImportedRun] = {}
    summarised = {cell_key(one.like) for one in imported if one.seed is None}
    for one in imported:
        if one.seed is not None and cell_key(one.like) in summarised:
            yield f"import: {one.row['source']}: the cell of {one.like.run_id} has single runs and a summary: keep one"
        key = (cell_key(one.like), one.seed, one.row.get("metric"))
        if (before := first.setdefault(key, one)) is not one:
            yield f"import: {one.row['source']}: seed {one.seed} of the cell of {before.like.run_id} stands twice"


def metrics_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The accuracies of a run that was imported."""
    return {name: row[name] for name in ACCURACIES if row.get(name) is not None}
