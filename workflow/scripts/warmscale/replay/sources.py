"""All sources of a replay, read and put together into tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal

from ..study.replay import SOURCES, Replay
from .cells import read_cells
from .curves import attach_curves
from .epochs import read_epochs
from .errors import ReplayError, listed, no_column
from .events import read_events
from .factors import Split, constant_columns, told_apart
from .identity import make_run_ids, number_seeds, stand_twice
from .imported import Imported, make_tables
from .mllog import read_mllogs
from .names import OF_EPOCH
from .paths import Found, find_files
from .records import Gathered, Wanted
from .runs import read_runs
from .values import as_levels

NOT_LEVELS = {"run_id", "seed", "state", "epoch", "metric", "n", "mean", "sd", "diverged"}
"""Columns of the tables that a config may refer to, and that tell no cells apart."""


def read_sources(
    replay: Replay,
    *,
    metrics: Sequence[str],
    referenced: Collection[str],
    rule: Literal["last", "median_last_5"],
) -> Imported:
    """Read all sources of a replay; raises ReplayError with all that is wrong with them.

    metrics: names that the study compares, its own first. referenced: columns that the config refers to.
    rule: the number of a run from its epochs, the last one or the median of the last five that have one (Goyal et al.
    2017). Factors are the columns that the config names under `factors`; where it names none, those that it refers to,
    and all others that are no metric, no name that is known to tell no cells apart (a date, a host, a duration), no
    measurement (numbers with fractions that differ between runs that agree in all else), and that have more than one
    value. The notes say which were taken.
    """
    known = frozenset({*referenced, *(replay.factors or ())} - NOT_LEVELS - set(metrics))
    gathered = Gathered(Wanted(tuple(metrics), known, replay.unit, "unit" in replay.model_fields_set))
    for source in SOURCES:
        if replay.paths(source):
            _read(source, replay, gathered)
    attach_curves(gathered)
    _give_extra_as_levels(gathered)
    if not gathered.problems:
        gathered.problems += _missing(gathered)
    if gathered.problems:
        raise ReplayError(gathered.problems)
    _type_levels(gathered)
    split = _split(gathered, replay.factors)
    gathered.problems += stand_twice(gathered, split.factors)
    if gathered.problems:
        raise ReplayError(gathered.problems)
    gathered.notes += _what_is_what(split, replay.factors is not None)
    number_seeds(gathered, split.factors)
    make_run_ids(gathered.runs, split.factors)
    return make_tables(gathered, split, rule, replay.chance)


def source_files(replay: Replay) -> list[str]:
    """The files of all sources; raises ReplayError for a path that leads to none."""
    problems: list[str] = []
    found = [file for source in SOURCES for file in _files(source, replay, problems)]
    if problems:
        raise ReplayError(problems)
    return [str(file.path) for file in found]


def _files(source: str, replay: Replay, problems: list[str]) -> list[Found]:
    key = f"replay.{source}" + (".files" if source == "tensorboard" else "")
    return find_files(replay.paths(source), key, problems)


def _read(source: str, replay: Replay, gathered: Gathered) -> None:
    files = _files(source, replay, gathered.problems)
    readers: dict[str, Callable] = {
        "cells": read_cells,
        "runs": read_runs,
        "epochs": read_epochs,
        "mllog": read_mllogs,
    }
    if source == "tensorboard":
        read_events(files, replay.tensorboard.tags, gathered)
    else:
        readers[source](files, gathered)


def _give_extra_as_levels(gathered: Gathered) -> None:
    """Device, organisation and the like are levels where the config refers to them."""
    for run in gathered.runs:
        given = run.extra | {"source": run.source}
        run.settings |= {name: given[name] for name in gathered.wanted.known & set(given) - set(run.settings)}


def _missing(gathered: Gathered) -> list[str]:
    """Columns and metrics that the config refers to, and no source has."""
    records = [*gathered.runs, *gathered.cells]
    columns = list(dict.fromkeys(name for record in records for name in record.settings))
    has = dict.fromkeys(cell.metric for cell in gathered.cells)
    for run in gathered.runs:
        has |= dict.fromkeys((*run.metrics, *(name for row in run.epochs[:1] for name in row)))
    metrics = [name for name in has if name not in ("epoch", *OF_EPOCH)]
    lines = [f"replay: {no_column(name, columns)}" for name in sorted(gathered.wanted.known - set(columns))]
    return lines + [f"replay: {no_column(name, metrics)}" for name in gathered.wanted.metrics if name not in metrics]


def _type_levels(gathered: Gathered) -> None:
    """Give each column one type over all sources."""
    records = [*gathered.runs, *gathered.cells]
    for name in dict.fromkeys(name for record in records for name in record.settings):
        having = [record for record in records if name in record.settings]
        for record, level in zip(having, as_levels([record.settings[name] for record in having]), strict=True):
            record.settings[name] = level


def _split(gathered: Gathered, given: Sequence[str] | None) -> Split:
    """Which columns are factors, which have one value, and which are neither."""
    rows = [record.settings for record in (*gathered.runs, *gathered.cells)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    constants = constant_columns(rows, columns)
    known = gathered.wanted.known
    if given is not None:
        factors = [*given, *(name for name in columns if name in known and name not in given)]
        return Split(tuple(factors), tuple(name for name in constants if name not in factors), ())
    varying = [name for name in columns if name not in constants or name in known]
    by_run = {name: [run.settings.get(name) for run in gathered.runs] for name in varying}
    _, measured = told_apart(by_run, [run.seed for run in gathered.runs], known)
    in_cells = {name for cell in gathered.cells for name in cell.settings}
    measured = [name for name in measured if name not in in_cells]
    return Split(
        factors=tuple(name for name in varying if name not in measured),
        constants=tuple(name for name in constants if name not in known),
        measured=tuple(measured),
    )


def _what_is_what(split: Split, given: bool) -> list[str]:
    if given:
        return []
    what = {
        "factors": split.factors,
        "one value everywhere": split.constants,
        "measured, not set, by how they vary, and left out": split.measured,
    }
    return [f"{text}: {listed(names, 30)}" for text, names in what.items() if names]
