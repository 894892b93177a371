"""One cell against another."""

from __future__ import annotations

import math

from .cell import Cell
from .ranks import can_rank, has_diverged, p_share, scores, wins
from .welch import difference


def p_better(a: Cell, b: Cell, *, sign: int = 1, margin: float = 0.0, spread: float = math.nan) -> float | None:
    """One-sided p-value for a better than b by more than the margin; None where it cannot be tested.

    sign: 1 where larger is better, else -1. A rank test where a run of either diverged, else Welch's, whose level holds
    for any spreads. spread: stands in for the sd of a cell whose runs are all equal.
    """
    if has_diverged([a, b]):
        if not can_rank([a, b]):
            return None
        return p_share(wins(scores(a, sign), scores(b, sign), margin), min(a.runs, b.runs))
    found = difference([a], [b], spread)
    return found.p_above(margin) if sign > 0 else found.p_below(-margin)
