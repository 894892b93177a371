"""Which columns tell cells apart, where the config does not say it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .names import is_setting


@dataclass(frozen=True)
class Split:
    """What the columns of all sources are."""

    factors: tuple[str, ...]
    """They tell cells apart."""
    constants: tuple[str, ...]
    """One value everywhere, and nothing refers to them."""
    measured: tuple[str, ...]
    """Numbers that differ between the runs of a cell."""


def told_apart(
    columns: Mapping[str, Sequence[Any]], seeds: Sequence[int | None], known: Collection[str]
) -> tuple[list[str], list[str]]:
    """Split columns of runs into those that are set and those that are measured.

    A column with fractions is doubtful, unless the config refers to it or its name is that of a setting. A doubtful
    one is set if its values come back, as long as runs with the same seed are not all told apart. Of the others, those
    that differ between runs that agree in all that is set are measured. columns: {name: a value a run}.
    """
    surely = [
        name for name, values in columns.items() if name in known or is_setting(name) or not _has_fractions(values)
    ]
    seeds_repeat = len(set(seeds)) < len(seeds)  # seeds of which each stands once tell nothing about the columns
    for name in sorted(set(columns) - set(surely), key=lambda name: (len(set(columns[name])), name)):
        comes_back = 2 * len(set(columns[name])) <= len(columns[name])
        if comes_back and not (seeds_repeat and _all_differ([*(columns[column] for column in surely), seeds])):
            surely.append(name)
    keys = list(zip(*(columns[name] for name in surely), strict=True)) if surely else [()] * len(seeds)
    measured = [name for name in columns if name not in surely and _differs(columns[name], keys)]
    return [name for name in columns if name not in measured], measured


def constant_columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Columns with one value in all rows that have them; a level that is left empty is a value."""
    return [name for name in names if len({_key(row[name]) for row in rows if name in row}) < 2]


def _key(value: Any) -> Any:
    return (type(value) is bool, value)


def _has_fractions(values: Sequence[Any]) -> bool:
    return any(isinstance(value, float) and not value.is_integer() for value in values)


def _all_differ(columns: Sequence[Sequence[Any]]) -> bool:
    keys = list(zip(*columns, strict=True))
    return len(set(keys)) == len(keys)


def _differs(values: Sequence[Any], keys: Sequence[Any]) -> bool:
    first: dict[Any, Any] = {}
    return any(first.setdefault(key, value) != value for key, value in zip(keys, values, strict=True))
