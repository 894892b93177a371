"""Levels of factors as the cells of tables have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from .recipe import WarmupRule


def level_value(value: Any) -> Any:
    """A level of a factor as one cell of a table."""
    if isinstance(value, WarmupRule):
        return f"{value.base_epochs:g} · (mini-batch / {value.base_mini_batch_size:,})^{value.exponent:g}"
    if isinstance(value, tuple | list):
        return "; ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    if isinstance(value, BaseModel | dict):
        mapping = value if isinstance(value, dict) else value.model_dump(exclude_defaults=True)
        return ", ".join(f"{key} {level_value(item)}" for key, item in mapping.items())
    return value


def is_level(value: Any, wanted: Any) -> bool:
    """Whether a value of a table is the level that a config names; 5 is 5.0, and true is not 1."""
    found, level = (None if each != each else each for each in (level_value(value), level_value(wanted)))  # NaN: empty
    if found is None or level is None or isinstance(found, bool) or isinstance(level, bool):
        return found is level
    if isinstance(found, int | float) != isinstance(level, int | float):
        return as_text(found) == as_text(level)  # a column in which other rows have words is one of text
    return found == level


def as_text(value: Any) -> str:
    """A level in a column of text."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def is_in(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a row has all wanted values: {column: value, or list of values of which it has one}."""
    return all(
        any(is_level(row.get(column), level) for level in (levels if isinstance(levels, list) else [levels]))
        for column, levels in wanted.items()
    )
