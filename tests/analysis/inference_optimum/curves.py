"""Planted curves: cells whose means are known and whose runs do not vary by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from warmscale.analysis.inference.cell import Cell

GRID = (0.0, 1.25, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)
POSTER_GRID = (0.0, 5.0, 10.0, 20.0)


def parabola(levels: Sequence[float], peak: float, shift: float = 1.25) -> np.ndarray:
    """Percent; falls by half a point a doubling of level + shift squared."""
    return 75 - 0.5 * np.log2((np.asarray(levels) + shift) / (peak + shift)) ** 2


def cells_at(means: Sequence[float], n: int = 5, sd: float = 0.05) -> list[Cell]:
    """A cell a mean, with runs spread evenly around it so that mean and sd are exactly these."""
    steps = np.arange(n) - (n - 1) / 2
    unit = steps / np.std(steps, ddof=1) if n > 1 else np.zeros(1)
    return [Cell.of(f"cell {index}", mean + sd * unit) for index, mean in enumerate(means)]


def planted(
    peak: float, levels: Sequence[float] = GRID, curve: Callable = parabola, **cell: float
) -> tuple[Sequence[float], list[Cell]]:
    """A profile with its best level at a peak."""
    return levels, cells_at(curve(levels, peak), **cell)
