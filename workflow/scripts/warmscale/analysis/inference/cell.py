"""A cell as statistics see it: the runs that differ in their seed alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cell:
    """Values of one metric over the seeds of a cell."""

    label: str
    n: int
    """Runs with a value: those that converged."""
    mean: float
    """Of those; NaN where there is none."""
    sd: float
    """Standard deviation of those, n - 1 in the denominator; NaN below two."""
    values: tuple[float, ...] | None = None
    """One a run; None where only the summary is known."""
    diverged: int = 0
    """Runs that diverged: beside n, without a value."""

    @classmethod
    def of(cls, label: str, values: Iterable[float], diverged: int = 0) -> Cell:
        """The cell of these runs."""
        found = tuple(float(value) for value in values)
        mean = float(np.mean(found)) if found else math.nan
        sd = float(np.std(found, ddof=1)) if len(found) > 1 else math.nan
        if len(set(found)) == 1 < len(found):  # np.std leaves rounding errors
            mean, sd = found[0], 0.0
        return cls(label, len(found), mean, sd, found, diverged)

    @property
    def runs(self) -> int:
        """Runs with a result, diverged ones among them."""
        return self.n + self.diverged


def pooled_sd(cells: Sequence[Cell]) -> float:
    """Root of the mean variance within cells, weighted by degrees of freedom; NaN where no cell has two runs.

    Cells whose runs are all equal do not count: their spread is below the resolution of the metric.
    """
    spreads = [(cell.n - 1, cell.sd) for cell in cells if cell.n > 1 and cell.sd > 0]
    total = sum(df for df, _ in spreads)
    return math.sqrt(sum(df * sd**2 for df, sd in spreads) / total) if total else math.nan


def shares_diverged(cells: Sequence[Cell]) -> list[float]:
    """Share of the runs of each cell that diverged; 0 where a cell has no run."""
    return [cell.diverged / cell.runs if cell.runs else 0.0 for cell in cells]
