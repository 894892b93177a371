"""One cell against another."""

from __future__ import annotations

from warmscale.analysis.inference.cell import Cell
from warmscale.analysis.inference.kinds import better


def p_better(a: Cell, b: Cell, **how: float) -> float | None:
    """One-sided p-value for a better than b, as claims have it."""
    return better([a], [b], **how).p_support
