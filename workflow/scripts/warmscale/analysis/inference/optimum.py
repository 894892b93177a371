"""The best level of a factor, with an interval that assumes one thing of the curve: it rises to a peak, then it falls.

Derivation, proof and calibration: docs/optimum.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .cell import Cell, pooled_sd
from .pairs import p_better

RIVALS = 3
"""Neighbours on each side that a level is compared with; farther ones cost more of alpha than they bring."""
INSIDE = 2
"""Levels that a bracketed peak has on each side: at or beside the edge of the grid it is not identified."""


@dataclass(frozen=True)
class Optimum:
    """Where a metric is best, in units of the levels (epochs of warmup)."""

    value: float
    """Point estimate; NaN where there is no run."""
    low: float
    """0 where it is open."""
    high: float
    """Infinite where it is open."""
    bracketed: bool
    """Whether the interval ends inside the grid on both sides."""
    plausible: tuple[float, ...]
    """Levels that may be the best of the grid: those in the interval that no rival beats."""
    best: float
    """Of those the one with the best mean; NaN where there is no run."""
    levels_to_add: tuple[float, ...]
    """What may bracket it, ascending; empty where it is bracketed."""
    reason: str
    """Why it is not bracketed; empty where it is."""


@dataclass(frozen=True)
class Profile:
    """A metric along the levels of a factor: what the intervals of its optimum need, whatever alpha is."""

    levels: tuple[float, ...]
    """Ascending."""
    cells: tuple[Cell, ...]
    """One a level."""
    left: tuple[tuple[float, ...], ...]
    """One a level: p-values of its nearest rivals on the left being better than it."""
    right: tuple[tuple[float, ...], ...]
    """One a level: the same on the right."""
    sign: int
    """+1 if larger is better, else -1."""

    @property
    def edges(self) -> np.ndarray:
        """(levels + 2,) gap g lies from edge g to edge g + 1; the first and the last gap are beyond the grid."""
        return np.array([0.0, *self.levels, math.inf])

    @property
    def gap_p(self) -> np.ndarray:
        """(levels + 1,) the smallest alpha at which each gap is shown not to hold the peak."""
        gaps = range(1, len(self.levels))
        # with the peak in the gap, none on its left beats its left end, and none on its right its right end
        inner = [_bonferroni(self.left[gap - 1] + self.right[gap]) for gap in gaps]
        # whatever contradicts a peak in the outermost gap contradicts one beyond it
        return np.array([inner[0], *inner, inner[-1]]) if inner else np.ones(len(self.levels) + 1)

    @property
    def level_p(self) -> np.ndarray:
        """(levels,) the smallest alpha at which each level is beaten by a rival."""
        return np.array([_bonferroni(left + right) for left, right in zip(self.left, self.right, strict=True)])

    def interval(self, alpha: float) -> tuple[float, float] | None:
        """Ends of the gaps that may hold the peak; None where none may: the curve has more than one."""
        held = np.flatnonzero(self.gap_p > alpha)
        return (float(self.edges[held[0]]), float(self.edges[held[-1] + 1])) if held.size else None

    def open_sides(self, alpha: float) -> tuple[bool, bool]:
        """Whether the peak may lie at or beside the lower and the upper edge of the grid."""
        held = self.gap_p > alpha
        return bool(held[:INSIDE].any()), bool(held[-INSIDE:].any())


def profile(levels: Sequence[float], cells: Sequence[Cell], *, sign: int, spread: float = math.nan) -> Profile:
    """Compare every level, given in any order, with its nearest rivals.

    spread: stands in for an sd of 0; pooled over these cells unless given. Levels with fewer than two runs, with which
    nothing can be compared, are left out if enough others remain.
    Raises ValueError for levels that are negative, infinite or there twice.
    """
    pairs = sorted(zip(map(float, levels), cells, strict=True), key=lambda pair: pair[0])
    if any(not 0 <= level < math.inf for level, _ in pairs) or len({level for level, _ in pairs}) < len(pairs):
        raise ValueError(f"levels are not different numbers from 0 up: {', '.join(f'{level:g}' for level, _ in pairs)}")
    several = [(level, cell) for level, cell in pairs if cell.runs > 1]
    known = several if len(several) > 2 * INSIDE else [(level, cell) for level, cell in pairs if cell.runs]
    count, spread = len(known), pooled_sd(cells) if math.isnan(spread) else spread

    def p_values(loser: int, winners: range) -> tuple[float, ...]:
        found = (p_better(known[winner][1], known[loser][1], sign=sign, spread=spread) for winner in winners)
        return tuple(1.0 if p is None else float(p) for p in found)

    left = tuple(p_values(at, range(max(at - RIVALS, 0), at)) for at in range(count))
    right = tuple(p_values(at, range(at + 1, min(at + 1 + RIVALS, count))) for at in range(count))
    return Profile(tuple(level for level, _ in known), tuple(cell for _, cell in known), left, right, sign)


def optimum(
    levels: Sequence[float],
    cells: Sequence[Cell],
    *,
    sign: int,
    alpha: float,
    spread: float = math.nan,
    longest: float = math.inf,
) -> Optimum:
    """The level at which the metric is best, with an interval that holds it with probability 1 - alpha or more.

    sign: +1 if larger is better, else -1; longest: no level above it is proposed.
    """
    return optimum_of(profile(levels, cells, sign=sign, spread=spread), alpha, longest)


def optimum_of(curve: Profile, alpha: float, longest: float = math.inf) -> Optimum:
    """The optimum of levels that are compared already."""
    interval, (below, above) = curve.interval(alpha), curve.open_sides(alpha)
    low, high = interval or (0.0, math.inf)
    within = (low <= np.array(curve.levels)) & (np.array(curve.levels) <= high)
    plausible = np.flatnonzero(within & (curve.level_p > alpha))
    best = _best(curve, plausible)
    return Optimum(
        value=float(np.clip(_vertex(curve, best), low, high)) if curve.levels else math.nan,
        low=low,
        high=high,
        bracketed=interval is not None and not (below or above),
        plausible=tuple(curve.levels[index] for index in plausible),
        best=curve.levels[best] if curve.levels else math.nan,
        levels_to_add=_levels_to_add(curve.levels, best, below, above, longest),
        reason=_reason(curve, plausible, below, above) if interval else "no single peak",
    )


def _bonferroni(p_values: Sequence[float]) -> float:
    return min(1.0, len(p_values) * min(p_values)) if p_values else 1.0


def _best(curve: Profile, plausible: np.ndarray) -> int:
    """Index of the best mean among levels that may be best, of all where none may; runs that diverged count first."""
    indices = plausible if plausible.size else np.arange(len(curve.levels))

    def rank(index: int) -> tuple[float, float]:
        cell = curve.cells[index]
        return -cell.diverged / cell.runs, curve.sign * cell.mean if cell.n else -math.inf

    return int(max(indices, key=rank, default=-1))


def _vertex(curve: Profile, best: int) -> float:
    """Vertex of the parabola in log(level + smallest positive level) through the best level and its neighbours.

    The best level itself at the edge, or where the three points have no peak.
    """
    levels = curve.levels
    if not 0 < best < len(levels) - 1:
        return levels[best]
    shift = next(level for level in levels if level > 0)  # no log of 0, and no unit: 2 x the levels, 2 x the vertex
    x = np.log(np.array(levels[best - 1 : best + 2]) + shift)
    y = curve.sign * np.array([cell.mean for cell in curve.cells[best - 1 : best + 2]])
    rise, fall = (y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
    if not (rise >= 0 >= fall and rise > fall):  # NaN where all runs of a neighbour diverged
        return levels[best]
    vertex = (x[0] + x[1]) / 2 + rise * (x[2] - x[0]) / (2 * (rise - fall))
    return float(np.exp(vertex) - shift)


def _levels_to_add(levels: tuple[float, ...], best: int, below: bool, above: bool, longest: float) -> tuple[float, ...]:
    """As many halves and doubles of the outermost levels as put the best one inside; one where it is there already."""
    positive = [level for level in levels if level > 0]
    if not positive:
        return ()
    lower = max(INSIDE - best, 1) if below else 0
    upper = max(INSIDE - (len(levels) - 1 - best), 1) if above else 0
    halves = [positive[0] / 2**step for step in range(lower, 0, -1)]
    doubles = [positive[-1] * 2**step for step in range(1, upper + 1)]
    return (*halves, *(level for level in doubles if level <= longest))


def _reason(curve: Profile, plausible: np.ndarray, below: bool, above: bool) -> str:
    """Which levels at or beside the edge may be best."""
    if not (below or above):
        return ""
    levels, last = curve.levels, len(curve.levels) - 1
    if last < 2:
        return f"{len(levels)} level{'' if len(levels) == 1 else 's'}: {2 * INSIDE + 1} at least"
    texts = []
    if below:
        texts.append(_beside(levels, min([*plausible, 1]), 0))
    if above:
        texts.append(_beside(levels, max([*plausible, last - 1]), last))
    single = [f"{level:g}" for level, cell in zip(levels, curve.cells, strict=True) if cell.runs < 2]
    return f"may be best {', and '.join(texts)}" + (f"; a single run at {', '.join(single)}" if single else "")


def _beside(levels: tuple[float, ...], index: int, edge: int) -> str:
    where = "the edge" if index == edge else f"beside the edge {levels[edge]:g}"
    return f"at {levels[index]:g}, {where}"
