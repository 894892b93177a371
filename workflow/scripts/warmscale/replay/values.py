"""Texts of files as values: numbers strictly, levels as what they read as."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
GROUPED = re.compile(r"[+-]?\d{1,3}([,' _\u00a0\u202f]\d{3})+(\.\d+)?", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf}
NO_VALUE = {"", "na", "n/a", "null", "-", "--"}
"""How files write that there is no number; `none` is not among them: it is a level of many factors."""
EXACT = 2**53
"""Whole numbers below are exact as floats."""


def number(text: str) -> float | None:
    """The number that a text is, not finite for `nan` and `inf`; None where it is none."""
    if NUMBER.fullmatch(text):
        return float(text)
    return NOT_FINITE.get(text.lower().removeprefix("+"))


def measured(text: str) -> float | None:
    """Like `number`, and NaN where a text says that there is no value."""
    return math.nan if text.lower() in NO_VALUE else number(text)


def whole(text: str) -> int | None:
    """The whole number that a text is; None where it is none."""
    value = number(text)
    return int(value) if value is not None and abs(value) < EXACT and value == int(value) else None


def number_hint(text: str) -> str:
    """How to write what was meant; empty where that is not known."""
    if is_grouped(text):
        return f": write {re.sub(r'[^-+.0-9]', '', text)}, without separators of thousands"
    if DECIMAL_COMMA.fullmatch(text):
        return f": write {text.replace(',', '.')}, with a point"
    if text.endswith("%") and number(text[:-1].strip()) is not None:
        return f": write {text[:-1].strip()}, without %"
    return ""


def is_grouped(text: str) -> bool:
    """Whether a text is a number with separators of thousands."""
    return bool(GROUPED.fullmatch(text))


def as_levels(values: Sequence[Any]) -> list[Any]:
    """Values of one column with one type: numbers if all are, truth values if all are, else text; None stays.

    Texts come from files, numbers and truth values from logs: `0.5` and 0.5 are the same level.
    """
    given = [value for value in values if value is not None]
    for read in (_as_truth, _as_number):
        found = [read(value) for value in given]
        if None not in found:
            levels = iter(found)
            return [None if value is None else next(levels) for value in values]
    return [value if value is None or isinstance(value, str) else _text(value) for value in values]


def _as_truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def _as_number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return None
    found = number(value) if isinstance(value, str) else float(value)
    if found is None or not math.isfinite(found):
        return None
    return int(found) if found.is_integer() and abs(found) < EXACT else found


def _text(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)
