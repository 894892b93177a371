"""Welch's t for contrasts of independent cells: the plain interval that is shown, and tests that hold their level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from .cell import Cell
from .safe import safe_p, welch_p


@dataclass(frozen=True)
class Contrast:
    """An estimate that is normal around its true value, and what is known of its error."""

    estimate: float
    se: float
    """Standard error; NaN where it cannot be had."""
    df: float
    """Satterthwaite's degrees of freedom."""
    dofs: tuple[int, ...] = ()
    """n - 1 of each cell."""

    @property
    def testable(self) -> bool:
        """Whether there is a standard error above zero."""
        return self.se > 0

    def lower(self, alpha: float) -> float:
        """Lower end of Welch's interval that errs with probability alpha on this side; -inf where it cannot be had."""
        return self._end(-1, alpha)

    def upper(self, alpha: float) -> float:
        """The upper end; inf where it cannot be had."""
        return self._end(1, alpha)

    def p_above(self, bound: float) -> float | None:
        """One-sided p-value for a true value above the bound, valid whatever the spreads of the cells."""
        if not self.testable:
            return None
        return safe_p(float(special.stdtr(self.df, (bound - self.estimate) / self.se)), self.dofs)

    def p_below(self, bound: float) -> float | None:
        """The same for a true value below the bound."""
        return Contrast(-self.estimate, self.se, self.df, self.dofs).p_above(-bound)

    def decision_low(self, alpha: float) -> float:
        """The bound at which p_above is alpha."""
        return self._end(-1, welch_p(alpha, self.dofs))

    def decision_high(self, alpha: float) -> float:
        """The bound at which p_below is alpha."""
        return self._end(1, welch_p(alpha, self.dofs))

    def _end(self, side: int, alpha: float) -> float:
        if not self.testable or alpha <= 0:
            return side * math.inf
        return self.estimate - side * self.se * float(special.stdtrit(self.df, alpha))


def contrast(cells: Sequence[Cell], coefficients: Sequence[float], spread: float = math.nan) -> Contrast:
    """Sum of coefficient * mean over independent cells, with Welch's error (Satterthwaite 1946, Welch 1947).

    Cells of coefficient 0 do not count. `spread` stands in for the sd of a cell whose runs are all equal.
    """
    used = [(cell, c) for cell, c in zip(cells, coefficients, strict=True) if c]
    estimate = float(sum(c * cell.mean for cell, c in used))
    if any(cell.n < 2 for cell, _ in used):
        return Contrast(estimate, math.nan, math.nan)
    variances = [(c * (cell.sd or spread)) ** 2 / cell.n for cell, c in used]
    total = sum(variances)
    if not all(variance > 0 for variance in variances):
        return Contrast(estimate, math.nan, math.nan)
    dofs = tuple(cell.n - 1 for cell, _ in used)
    # as shares of the total: squares of tiny variances would underflow
    df = 1 / sum((variance / total) ** 2 / dof for variance, dof in zip(variances, dofs, strict=True))
    return Contrast(estimate, math.sqrt(total), df, dofs)


def difference(a: Sequence[Cell], b: Sequence[Cell], spread: float = math.nan) -> Contrast:
    """Mean of the cells of a, less that of b."""
    return contrast([*a, *b], [1 / len(a)] * len(a) + [-1 / len(b)] * len(b), spread)
