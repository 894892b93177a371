"""Runs from CSV, a row a run and epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from .errors import at, listed, must_be, no_column
from .names import OF_EPOCH
from .paths import Found
from .records import Gathered, RawRun, Wanted, name_of, state_of
from .runs import read_extra, read_metrics, read_seed, read_settings, read_state
from .table import Row, Table, read_table
from .units import read_metric
from .values import as_levels, number_hint, whole


def read_epochs(files: Sequence[Found], gathered: Gathered) -> None:
    """Add the runs of these files with their epochs, or what is wrong with them."""
    for file in files:
        if table := read_table(file.path, gathered.problems, gathered.notes):
            wrong = []
            if "epoch" not in table.columns:
                wrong.append(f"{at(table.path)}: {no_column('epoch', table.columns)}")
            if not set(gathered.wanted.metrics) & set(table.columns):
                wrong.append(f"{at(table.path)}: {gathered.wanted.no_metric(table.columns)}")
            gathered.problems += wrong
            if not wrong:
                _read_rows(table, file.levels, gathered)


def _read_rows(table: Table, levels: dict[str, str], gathered: Gathered) -> None:
    """Read the rows, put those of a run together, and settle what each run is."""
    wanted, problems = gathered.wanted, []
    numbers = read_metrics(table, gathered, problems)
    rows = [Row(row.number, levels | row.cells) for row in table.rows]
    epochs = [_read_epoch(table, row, problems) for row in rows]
    seeds = [read_seed(table, row, problems) for row in rows]
    states = [read_state(table, row, problems) for row in rows]
    names = wanted.settings((*levels, *table.columns))
    settings = [read_settings(table, row, names, problems) for row in rows]
    kept = [name for name in OF_EPOCH if name in table.columns]
    further = [{name: read_metric(table.path, row, name, problems) for name in kept} for row in rows]
    if problems:
        gathered.problems += problems
        return
    groups, measured = _group(rows, settings, seeds, epochs, wanted)
    if left_out := [name for name in measured if name not in kept]:
        gathered.notes.append(f"{table.path}: measured, not set, by how they vary, and left out: {listed(left_out)}")
    decides = next(metric for metric in wanted.metrics if metric in numbers)
    for group in groups:
        group.sort(key=lambda index: epochs[index])
        problems += _wrong_group(table, rows, group, epochs, settings, seeds, set(names) - set(measured))
        given = [states[index] for index in group if states[index]]
        last = numbers[decides][group[-1]]
        if given and given[-1] == "finished" and not math.isfinite(last):
            problems.append(f"{at(table.path, rows[group[-1]].number, decides)}: is no number, and state is finished")
        curve = [
            {"epoch": epochs[index]} | {name: numbers[name][index] for name in numbers} | further[index]
            for index in group
        ]
        first = rows[group[0]]
        gathered.runs.append(
            RawRun(
                source=name_of(table.path),
                settings={name: value for name, value in settings[group[0]].items() if name not in measured},
                state=given[-1] if given else state_of(last),
                epochs=curve,
                seed=seeds[group[0]],
                run_id=first.cells.get("run_id") or None,
                extra=read_extra(table, first, problems),
                where=at(table.path, first.number),
                kind="epochs",
            )
        )
    gathered.problems += problems


def _read_epoch(table: Table, row: Row, problems: list[str]) -> int:
    text = row.cells["epoch"]
    value = whole(text)
    if value is None or value < 0:
        hint = number_hint(text)
        problems.append(f"{at(table.path, row.number, 'epoch')}: {must_be(text, 'a whole number from 0')}{hint}")
    return value or 0


def _group(
    rows: Sequence[Row], settings: Sequence[Mapping], seeds: Sequence, epochs: Sequence[int], wanted: Wanted
) -> tuple[list[list[int]], list[str]]:
    """Indices of the rows of each run, and columns that vary within runs.

    Rows with a run_id are told apart by it, else by seed and settings: columns whose levels all stand in the first
    epoch already. What has other values later is measured (a rate, a norm, a counter).
    """
    columns = {name: as_levels([row[name] for row in settings]) for name in settings[0]}
    ids = [row.cells.get("run_id") or None for row in rows]
    if all(ids):
        keys: list[Any] = ids
        measured = [name for name, values in columns.items() if _varies(values, keys)]
    else:
        measured = [name for name, values in columns.items() if _comes_later(values, epochs)]
    measured = [name for name in measured if name not in wanted.known]
    if not all(ids):
        apart = (values for name, values in columns.items() if name not in measured)
        keys = list(zip(ids, seeds, *apart, strict=True))
    groups: dict[Any, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values()), measured


def _comes_later(values: Sequence[Any], epochs: Sequence[int]) -> bool:
    start = min(epochs)
    return not set(values) <= {value for value, epoch in zip(values, epochs, strict=True) if epoch == start}


def _varies(values: Sequence[Any], keys: Sequence[Any]) -> bool:
    first: dict[Any, Any] = {}
    return any(first.setdefault(key, value) != value for key, value in zip(keys, values, strict=True))


def _wrong_group(
    table: Table, rows: Sequence[Row], group: Sequence[int], epochs: Sequence[int],
    settings: Sequence[Mapping], seeds: Sequence, names: set[str],
) -> list[str]:  # fmt: skip
    """An epoch that stands twice, and settings that are not the same in all rows of a run."""
    lines = []
    for before, index in pairwise(group):
        if epochs[before] == epochs[index]:
            hint = "" if seeds[index] is not None or rows[index].cells.get("run_id") else ": give seed or run_id"
            lines.append(
                f"{at(table.path, rows[index].number)}: is epoch {epochs[index]} of the same run as row "
                f"{rows[before].number}{hint}"
            )
    first = group[0]
    for name in sorted(names | {"seed"}):
        value = {index: seeds[index] if name == "seed" else settings[index].get(name) for index in group}
        other = next((index for index in group if value[index] != value[first]), None)
        if other is not None:
            lines.append(
                f"{at(table.path, rows[other].number, name)}: is {value[other]}, and {value[first]} in row "
                f"{rows[first].number} of the same run"
            )
    return lines
