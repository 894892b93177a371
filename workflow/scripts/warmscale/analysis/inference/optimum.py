"""The best level of a factor, with an interval over the noise of its cells and the shape of the curve between them.

Derivation, what is assumed, and calibration: docs/optimum.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .cell import Cell
from .profile import FEWEST_AROUND, FEWEST_LEVELS, INSIDE, Profile, profile


@dataclass(frozen=True)
class Optimum:
    """Where a metric is best, in units of the levels (epochs of warmup)."""

    value: float
    """Median of where it may be; the best level where that cannot be had."""
    low: float
    """0 where it is open."""
    high: float
    """Infinite where it is open."""
    bracketed: bool
    """Whether the interval leaves at least two levels on each side, of five or more."""
    plausible: tuple[float, ...]
    """Levels in the interval, or else those around it."""
    best: float
    """Level with the best mean; NaN where there is none."""
    levels_to_add: tuple[float, ...]
    """What may bracket it, ascending; empty where it is bracketed."""
    reason: str
    """Why it is not bracketed; empty where it is."""


def optimum(
    levels: Sequence[float],
    cells: Sequence[Cell],
    *,
    sign: int,
    alpha: float,
    spread: float = math.nan,
    longest: float = math.inf,
) -> Optimum:
    """The level at which the metric is best, with an interval that holds it with probability 1 - alpha.

    sign: +1 if larger is better, else -1; longest: no level above it is proposed.
    """
    return optimum_of(profile(levels, cells, sign=sign, spread=spread), alpha, longest)


def optimum_of(curve: Profile, alpha: float, longest: float = math.inf) -> Optimum:
    """The optimum of a curve."""
    low, high = curve.interval(alpha)
    below, above = curve.open_sides(alpha)
    bracketed = curve.p_open <= alpha
    if not (bracketed or below or above):  # too few levels, whichever side gets more
        below = above = True
    levels = tuple(level for level, _ in curve.tested)
    return Optimum(
        value=curve.median,
        low=low,
        high=high,
        bracketed=bracketed,
        plausible=_plausible(levels, low, high),
        best=curve.best,
        levels_to_add=_levels_to_add(levels, curve.best, below, above, longest),
        reason=_reason(curve, levels, below, above),
    )


def _plausible(levels: Sequence[float], low: float, high: float) -> tuple[float, ...]:
    inside = tuple(level for level in levels if low <= level <= high)
    around = (*[level for level in levels if level < low][-1:], *[level for level in levels if level > high][:1])
    return inside or around


def _levels_to_add(
    levels: tuple[float, ...], best: float, below: bool, above: bool, longest: float
) -> tuple[float, ...]:
    """As many halves and doubles of the outermost levels as put the best one inside; one where it is there already."""
    positive = [level for level in levels if level > 0]
    if not positive:
        return ()
    at = levels.index(best)
    lower = max(INSIDE - at, 1) if below else 0
    upper = max(INSIDE - (len(levels) - 1 - at), 1) if above else 0
    halves = [positive[0] / 2**step for step in range(lower, 0, -1)]
    doubles = [positive[-1] * 2**step for step in range(1, upper + 1)]
    return (*halves, *(level for level in doubles if level <= longest))


def _reason(curve: Profile, tested: tuple[float, ...], below: bool, above: bool) -> str:
    """At which edges the optimum may be, or what is missing to tell."""
    if not (below or above):
        return ""
    levels = curve.levels
    if len(levels) < FEWEST_AROUND:
        several = "level" if len(levels) == 1 else "levels"
        few = f"{len(levels)} {several} with two runs, {FEWEST_AROUND} at least can bracket an optimum"
        if curve.best not in (*tested[:INSIDE], *tested[-INSIDE:]) or len(tested) < FEWEST_LEVELS:
            return few
        place = "at" if curve.best in (tested[0], tested[-1]) else "beside"
        edge = tested[0] if curve.best in tested[:INSIDE] else tested[-1]
        return f"the best level, {curve.best:g}, is {place} the edge {edge:g}; {few}"
    if curve.scale is None:
        return "fewer than three levels at which no run diverged, or no spread"
    texts = [f"below {levels[1]:g}, at or beside the edge {levels[0]:g}"] if below else []
    texts += [f"above {levels[-2]:g}, at or beside the edge {levels[-1]:g}"] if above else []
    return "may be best " + ", and ".join(texts)
