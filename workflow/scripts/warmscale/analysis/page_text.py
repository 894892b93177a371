"""Numbers of the page in words: signs, units, ends that are open, what cannot be had."""

from __future__ import annotations

import math
from typing import Any

from . import style

NOTHING = "–"
"""Stands where there is no value."""
SMALLEST_P = 1e-4


def is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty."""
    return value is None or value != value


def fixed(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals and a true minus sign; an end that is open as infinity."""
    if is_missing(value):
        return NOTHING
    text = f"{abs(value):,.{digits}f}" if math.isfinite(value) else "∞"
    is_zero = not any(digit in text for digit in "123456789∞")
    return text if value >= 0 or is_zero else f"−{text}"


def number(value: Any) -> str:
    """A value of a table: figures by thousands, fractions to four digits."""
    if is_missing(value):
        return NOTHING
    if isinstance(value, float) and math.isinf(value):
        return fixed(value)
    if isinstance(value, float) and (value != int(value) or abs(value) >= 1e15):
        return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}").replace("-", "−")
    return f"{value:,.0f}".replace("-", "−") if isinstance(value, int | float) else str(value)


def interval(low: float | None, high: float | None, shown: Any = fixed) -> str:
    """Two ends of an interval; unbounded where it holds everything."""
    if is_missing(low) or is_missing(high):
        return NOTHING
    if low == -math.inf and high == math.inf:
        return "unbounded"
    return f"{shown(low)} to {shown(high)}"


def p_value(value: float | None) -> str:
    """A p-value to three digits."""
    if is_missing(value):
        return NOTHING
    return f"< {SMALLEST_P:.4f}" if value < SMALLEST_P else f"{value:.3g}"


def counted(count: int, noun: str) -> str:
    """A number of things: "1 run", "3 runs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(text: str | None) -> str:
    """Levels that stand in a cell of a table, with semicolons between them."""
    return NOTHING if is_missing(text) or not text else str(text).replace(";", ", ")


def short_label(factor: str) -> str:
    """Human name of a factor without its unit."""
    return style.factor_label(factor).partition(" (")[0]
