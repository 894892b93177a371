"""What can be said of one number: by Welch's t, or where runs diverged by ranks, as a chance to win or as a median.

Each way answers the same questions: see Comparison.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .cell import Cell
from .ranks import can_rank, critical_share, has_diverged, lower_share, p_share, scores, upper_share
from .welch import Contrast, difference

Array = NDArray[np.float64]
T = TypeVar("T")

UNKNOWN = Contrast(math.nan, math.nan, math.nan)
"""Nothing can be said."""


class Comparison(Protocol):
    """An estimate, intervals for it and tests; Contrast is one."""

    @property
    def estimate(self) -> float: ...
    def lower(self, alpha: float) -> float: ...
    def upper(self, alpha: float) -> float: ...
    def p_above(self, bound: float) -> float | None: ...
    def p_below(self, bound: float) -> float | None: ...
    def decision_low(self, alpha: float) -> float: ...
    def decision_high(self, alpha: float) -> float: ...


@dataclass(frozen=True)
class Share:
    """A chance, tested against one half."""

    estimate: float
    n: int
    """Runs of the smallest cell."""

    def lower(self, alpha: float) -> float:
        """Largest chance that is excluded from below."""
        return lower_share(self.estimate, self.n, alpha)

    def upper(self, alpha: float) -> float:
        """Smallest chance that is excluded from above."""
        return upper_share(self.estimate, self.n, alpha)

    def p_above(self, bound: float = 0.5) -> float | None:
        """p-value for a chance above the bound."""
        return p_share(self.estimate, self.n, bound)

    def p_below(self, bound: float = 0.5) -> float | None:
        """p-value for a chance below the bound."""
        return p_share(1 - self.estimate, self.n, 1 - bound)

    decision_low, decision_high = lower, upper


@dataclass(frozen=True)
class Median:
    """The median of a difference over all pairs of runs: the shift at which winning and losing are as likely.

    A difference to a diverged run is infinite. Two diverged runs tie whatever the shift, which counts half (NaN).
    """

    differences: Array
    weights: Array = field(repr=False)
    """Of the differences, with sum 1."""
    n: int
    """Runs of the smallest cell."""

    @property
    def estimate(self) -> float:
        """Of the differences, ties as 0; NaN between -inf and inf."""
        found = np.where(np.isnan(self.differences), 0.0, self.differences)
        order = np.argsort(found)
        total = np.cumsum(self.weights[order])
        low, high = (found[order][np.searchsorted(total, at)] for at in (0.5 - 1e-9, 0.5 + 1e-9))
        return float(low if low == high else (low + high) / 2)

    def lower(self, alpha: float) -> float:
        """The largest shift that is excluded from below; -inf where none is."""
        ties = np.isnan(self.differences)
        order = np.argsort(-self.differences[~ties])
        share = np.cumsum(self.weights[~ties][order]) + 0.5 * self.weights[ties].sum()
        enough = share >= critical_share(alpha, self.n) - 1e-12
        return float(self.differences[~ties][order][np.argmax(enough)]) if enough.any() else -math.inf

    def upper(self, alpha: float) -> float:
        """The smallest shift that is excluded from above; inf where none is."""
        return -self._reversed().lower(alpha)

    def p_above(self, bound: float) -> float | None:
        """p-value for a median above the bound; a difference equal to the bound counts against it."""
        above = (self.differences > bound) + 0.5 * np.isnan(self.differences)
        return p_share(float(above @ self.weights), self.n)

    def p_below(self, bound: float) -> float | None:
        """p-value for a median below the bound."""
        return self._reversed().p_above(-bound)

    decision_low, decision_high = lower, upper

    def _reversed(self) -> Median:
        return Median(-self.differences, self.weights, self.n)


def matched(a: Sequence[T], b: Sequence[T]) -> list[tuple[T, T]]:
    """Cells that are compared with each other: in order, or all with all where one side has more."""
    return list(zip(a, b, strict=True)) if len(a) == len(b) else list(product(a, b))


def compare(a: Sequence[Cell], b: Sequence[Cell], *, sign: int = 1, spread: float = math.nan) -> Comparison:
    """a less b in units of the metric: of means, or of medians where a run diverged."""
    cells = [*a, *b]
    if not has_diverged(cells):
        return difference(a, b, spread)
    if not can_rank(cells):
        return UNKNOWN
    with np.errstate(invalid="ignore"):  # two diverged runs: inf - inf
        pairs = [
            sign * (scores(left, sign)[:, None] - scores(right, sign)[None, :]).ravel() for left, right in matched(a, b)
        ]
    weights = np.concatenate([np.full(len(pair), 1 / len(pair) / len(pairs)) for pair in pairs])
    return Median(np.concatenate(pairs), weights, min(cell.runs for cell in cells))
