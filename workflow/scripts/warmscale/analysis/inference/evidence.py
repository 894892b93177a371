"""What the runs say of one claim, before the other claims of the study and earlier looks are counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from .cell import Cell
from .compare import Comparison
from .ranks import can_rank, has_diverged
from .welch import Contrast

Bound = Callable[[float], float]
"""Probability of error on one side -> end of an interval; -inf or inf where it cannot be had."""
Power = Callable[[int, float], float]
"""Runs of each cell, level -> chance to support the claim; NaN where it is unknown."""


@dataclass(frozen=True)
class Evidence:
    """Estimate, intervals, tests and power of one claim."""

    estimand: str
    """What is estimated, in words."""
    estimate: float
    """In units of the metric; a chance where a rank test says so. NaN where there is none."""
    lower: Bound
    """Of the interval that is shown."""
    upper: Bound
    p_support: float | None
    """One-sided, of this claim alone; None where it cannot be tested."""
    p_refute: float | None
    """Of the opposite."""
    decision_low: Bound
    """Of the interval that the tests correspond to."""
    decision_high: Bound
    supports_with: Literal["low", "high", "both", "outside"]
    """The bound that supports the claim, the other one refutes it; equivalent: both, outside if the estimate is."""
    n: int
    """Runs of the smallest cell, diverged ones among them."""
    diverged: int
    """Runs that diverged, of all its cells."""
    notes: tuple[str, ...] = ()
    power: Power = lambda n, alpha: math.nan
    """Of the supporting test where the true value is smallest_effect beyond the bound of the claim."""
    refute_share: float = 1.0
    """Part of the level of refutation that the bound nearer to the claim has: less than 1 for two-sided tests."""
    reversed_p: float | None = None
    """Smallest corrected p-value of a neighbouring pair that goes against a trend: it is not supported with one."""
    converged: Contrast | None = None
    """The same in units of the metric among runs that converged; None where none diverged."""


def one_sided(found: Comparison, bound: float, direction: int) -> dict:
    """Fields of an Evidence that the true value is above the bound (direction 1) or below it (-1)."""
    above, below = found.p_above(bound), found.p_below(bound)
    return dict(
        estimate=found.estimate,
        lower=found.lower,
        upper=found.upper,
        p_support=above if direction > 0 else below,
        p_refute=below if direction > 0 else above,
        decision_low=found.decision_low,
        decision_high=found.decision_high,
        supports_with="low" if direction > 0 else "high",
    )


def counts(cells: Sequence[Cell], spread: float = math.nan, ranked: str = "") -> dict:
    """Fields of an Evidence that count its runs, and notes on how they are treated; ranked: what a rank test tests."""
    return dict(
        n=min(cell.runs for cell in cells),
        diverged=sum(cell.diverged for cell in cells),
        notes=tuple(_notes(cells, spread, ranked)),
    )


def _notes(cells: Sequence[Cell], spread: float, ranked: str) -> list[str]:
    """One sentence for everything that is unusual."""
    notes = []
    if few := [cell.label for cell in cells if cell.runs < 2]:
        notes.append(f"fewer than two runs decide nothing ({', '.join(few)})")
    if has_diverged(cells):
        notes.append(
            f"a run diverged: rank test, {ranked}; a diverged run is worse than any other"
            if can_rank([cell for cell in cells if cell.runs >= 2])
            else "a run diverged and only means are known: no rank test is possible"
        )
    same = [cell.label for cell in cells if cell.n > 1 and cell.sd == 0]
    if same and not all(cell.diverged for cell in cells):
        treated = f"the pooled spread of {spread:.3g} is used" if spread > 0 else "no test without a spread"
        notes.append(f"all runs are equal ({', '.join(same)}): {treated}")
    return notes


def given_convergence(evidence: Evidence, confidence: float) -> str:
    """The estimate among runs that converged, in words; empty where none diverged or none converged."""
    found = evidence.converged
    if found is None or math.isnan(found.estimate):
        return ""
    alpha = (1 - confidence) / 2
    what = "" if len(found.dofs) == 1 else "difference "
    text = f"given convergence: {what}{found.estimate:.2f}"
    if not found.testable:
        return text
    return f"{text}, {100 * confidence:g} % interval {found.lower(alpha):.2f} to {found.upper(alpha):.2f}"
