"""Where a metric along the levels of a factor has its peak: its cells, and what they say of every place between them.

What is assumed, and calibration: docs/optimum.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .cell import Cell, pooled_sd
from .shapes import DRAWS, Scale, chance_beyond, peak_weights, scale_of

Array = NDArray[np.float64]

INSIDE = 2
"""Levels that a bracketed peak has on each side: at or beside the edge of the grid it is not identified."""
FEWEST_AROUND = 2 * INSIDE + 1
"""Levels that can bracket a peak."""
FEWEST_LEVELS = 3
"""Fewer have no peak between them."""
TAILS = 4
"""An interval that errs with alpha leaves alpha / TAILS of the distribution on each side, half of what the distribution
itself asks for: so it holds for curves that are neither of the two descriptions (docs/optimum.md)."""
UNSEEN = 1 / DRAWS
"""What a tail may hold that no drawn curve shows."""
POOLED_RUNS = 3
"""Degrees of freedom that the pooled spread of a curve has in the spread of a cell: few runs know it badly."""
LOST_SPREAD = 0.25
"""Standard deviation of a level at which runs diverged, in ranges of the others."""


@dataclass(frozen=True, eq=False)
class Profile:
    """A metric along the levels of a factor, and where its peak may be."""

    levels: tuple[float, ...]
    """Ascending; only those with two runs."""
    cells: tuple[Cell, ...]
    """One a level."""
    sign: int
    """+1 if larger is better, else -1."""
    scale: Scale | None
    """None where there are too few levels."""
    weights: Array
    """(grid of the scale,) probability of each place to be the peak."""
    unseen: tuple[float, float]
    """What the tails at and beside the lower and the upper edge may hold that no drawn curve shows."""
    tested: tuple[tuple[float, Cell], ...]
    """Those levels with their cells; all that have a run, where fewer than five have two."""

    @cached_property
    def edges(self) -> Array:
        """(grid + 1,) ends of what each place of the grid stands for; the outermost are open."""
        grid = self.scale.grid
        between = self.scale.level((grid[:-1] + grid[1:]) / 2)
        return np.concatenate([[0.0], between, [math.inf]])

    def interval(self, alpha: float) -> tuple[float, float]:
        """Ends of the interval that errs with probability alpha; 0 and infinite where it is open."""
        below, above = self.open_sides(alpha)
        tail = alpha / TAILS - UNSEEN
        if below and above:
            return 0.0, math.inf
        if tail < 0:  # all that is known is that the peak is inside
            return 0.0 if below else self.levels[INSIDE - 1], math.inf if above else self.levels[-INSIDE]
        first = int(np.argmax(np.cumsum(self.weights) > tail))
        last = len(self.weights) - 1 - int(np.argmax(np.cumsum(self.weights[::-1]) > tail))
        low, high = self.edges[min(first, last)], self.edges[max(first, last) + 1]
        return 0.0 if below else float(low), math.inf if above else float(high)

    @cached_property
    def p_sides(self) -> tuple[float, float]:
        """The smallest alpha at which the peak is shown not to be at or beside the lower, and the upper, edge."""
        if self.scale is None:
            return 1.0, 1.0
        tails = zip(_outside(self.scale), self.unseen, strict=True)
        return tuple(min(1.0, TAILS * (float(self.weights[side].sum()) + unseen)) for side, unseen in tails)

    @property
    def p_open(self) -> float:
        """The smallest alpha at which the peak is bracketed."""
        return max(self.p_sides) if len(self.levels) >= FEWEST_AROUND else 1.0

    def open_sides(self, alpha: float) -> tuple[bool, bool]:
        """Whether the peak may lie at or beside the lower and the upper edge of the grid."""
        below, above = self.p_sides
        return below > alpha, above > alpha

    @property
    def best(self) -> float:
        """Level with the best mean, fewer diverged runs coming first; NaN where there is none."""
        return max(self.tested, key=lambda pair: _rank(pair[1], self.sign), default=(math.nan, None))[0]

    @property
    def median(self) -> float:
        """The middle of where the peak may be."""
        if self.scale is None:
            return self.best
        place = np.interp(0.5, np.cumsum(self.weights) - self.weights / 2, self.scale.grid)
        return float(self.scale.level(place))


def profile(levels: Sequence[float], cells: Sequence[Cell], *, sign: int, spread: float = math.nan) -> Profile:
    """Where the peak of levels, given in any order, may be; spread stands in where no cell has one.

    Levels with fewer than two runs are left out: their spread is not known.
    Raises ValueError for levels that are negative, infinite or there twice.
    """
    pairs = sorted(zip(map(float, levels), cells, strict=True), key=lambda pair: pair[0])
    if any(not 0 <= level < math.inf for level, _ in pairs) or len({level for level, _ in pairs}) < len(pairs):
        raise ValueError(f"levels are not different numbers from 0 up: {', '.join(f'{level:g}' for level, _ in pairs)}")
    known = [(level, cell) for level, cell in pairs if cell.runs > 1]
    tested = tuple(known if len(known) >= FEWEST_AROUND else [(level, cell) for level, cell in pairs if cell.runs])
    ascending, own = tuple(level for level, _ in known), tuple(cell for _, cell in known)
    points = _points(own, sign, spread) if len(known) >= FEWEST_LEVELS else None
    if points is None:
        return Profile(ascending, own, sign, None, np.array([]), (1.0, 1.0), tested)
    scale = scale_of(ascending)
    unseen = tuple(min(UNSEEN, chance_beyond(ascending, *points, side)) for side in _outside(scale))
    return Profile(ascending, own, sign, scale, peak_weights(ascending, *points), unseen, tested)


def _outside(scale: Scale) -> tuple[Array, Array]:
    """Which places of the grid are at or beside its lower, and its upper, edge."""
    return scale.grid < scale.points[INSIDE - 1] + 1e-9, scale.grid > scale.points[-INSIDE] - 1e-9


def _points(cells: Sequence[Cell], sign: int, spread: float) -> tuple[Array, Array] | None:
    """Means, larger being better, and their variances; None where fewer than three levels converged, or without spread.

    A level at which runs diverged counts as no better than the worst of the others, roughly.
    """
    whole = [cell for cell in cells if not cell.diverged and cell.n > 1]
    pooled = pooled_sd(whole)
    pooled = spread if not pooled > 0 else pooled
    if len(whole) < FEWEST_LEVELS or not pooled > 0:
        return None
    means = np.array([sign * cell.mean for cell in whole])
    lowest, lost = means.min(), max(LOST_SPREAD * np.ptp(means), pooled)
    found = [
        (min(lowest, sign * cell.mean) if cell.n else lowest, lost**2) if cell.diverged or cell.n < 2
        else (sign * cell.mean, _variance(cell, pooled))
        for cell in cells
    ]  # fmt: skip
    return tuple(np.array(column) for column in zip(*found, strict=True))


def _variance(cell: Cell, pooled: float) -> float:
    """Of the mean of a cell: its own spread, drawn to the pooled one, and more where it rests on few runs."""
    own = (cell.n - 1) * cell.sd**2 + POOLED_RUNS * pooled**2
    return own / (cell.n - 1 + POOLED_RUNS) / cell.n * (1 + 2 / cell.n)


def _rank(cell: Cell, sign: int) -> tuple[float, float]:
    return -cell.diverged / cell.runs, sign * cell.mean if cell.n else -math.inf
