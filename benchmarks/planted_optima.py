"""Curves with a known peak, and runs drawn around them: what calibration_optimum.py lets methods find again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from warmscale.analysis.inference.cell import Cell

SD, DEPTH, SHIFT = 0.12, 0.5, 1.25
"""Spread of runs at the peak, and the fall a doubling squared, in points; w + 1.25 is the scale of most curves."""

CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "parabola": lambda d: -DEPTH * d**2,
    "steep left": lambda d: np.where(d < 0, -2.0, -0.3) * DEPTH * d**2,
    "steep right": lambda d: np.where(d < 0, -0.3, -2.0) * DEPTH * d**2,
    "tent": lambda d: -DEPTH * np.abs(d),
    "tent, steep left": lambda d: np.where(d < 0, 1.5 * d, -0.4 * d) * DEPTH,
    "tent, steep right": lambda d: np.where(d < 0, 0.4 * d, -1.5 * d) * DEPTH,
    "plateau": lambda d: -1.6 * DEPTH * np.maximum(np.abs(d) - 0.8, 0) - 1e-3 * d**2,
    "half plateau": lambda d: np.where(d < 0, 1e-3 * d, -DEPTH * d),
    "cliff": lambda d: -4 * DEPTH / (1 + np.exp(5 * (d + 1.5))) - 0.4 * DEPTH * np.maximum(d, 0) ** 1.5 + 1e-3 * d,
    "bump": lambda d: 3 * DEPTH * np.exp(-(d**2)),
    "narrow bump": lambda d: 3 * DEPTH * np.exp(-4 * d**2),
    "cusp": lambda d: -DEPTH * np.sqrt(np.abs(d)),
    "round left, sharp right": lambda d: -np.where(d < 0, 0.3, 0.8) * DEPTH * np.abs(d) ** np.where(d < 0, 2.7, 0.9),
    "sharp left, round right": lambda d: -np.where(d < 0, 1.6, 0.6) * DEPTH * np.abs(d) ** np.where(d < 0, 0.8, 1.6),
}
"""Percentage points below the peak, by the distance from it in doublings of warmup + 1.25."""
GRIDS = {5: (0, 2.5, 5, 10, 20), 7: (0, 1.25, 2.5, 5, 10, 20, 40), 9: (0, 1.25, 2.5, 3.5, 5, 7, 10, 20, 40)}
PLACES = {"at a level": 5.0, "just above a level": 6.0, "between levels": 6.7, "near the lower edge": 1.8,
          "near the upper edge": 14.0, "beside the upper edge": 27.0}  # fmt: skip
UNLIKE = ("steep left, then steep right", "tent, steep left, then plateau",
          "round left, sharp right, then sharp left, round right")  # fmt: skip
"""Curves that take turns over the sizes."""
GROWTHS = {"0": (1, 4), "0.5": (1, 16), "1": (1, 2, 8), "2": (1, 4, 16)}
"""Sizes, as multiples of the smallest, by planted exponent, where every size has a grid of its own."""
SHARED_GROWTHS = {"0.5": (1, 2, 8, 32), "1": (1, 2, 4)}
"""The same where all sizes share a grid."""
SIZE_GRID = (0, 0.625, 1.25, 2.5, 5, 10, 20, 40, 80)
SHARED_GRID = (0, 1.25, 2.5, 5, 10, 20, 40, 80, 160)


@dataclass(frozen=True)
class Setting:
    """One row of planted truth."""

    curve: str
    place: str
    """Of the optimum in the grid; or the exponent."""
    levels: int
    spread: str
    n: int
    """Runs a cell."""
    growth: tuple[float, ...] = ()
    """Sizes as multiples of the smallest; empty: one optimum, no exponent."""
    shared: bool = False
    """Whether all sizes have the same levels."""


def optimum_settings() -> Iterator[Setting]:
    """One size: all curves in the plainest case, and what else changes one by one."""
    some = ("parabola", "tent, steep left", "half plateau")
    for curve, n in itertools.product(CURVES, (5, 16)):
        yield Setting(curve, "between levels", 7, "growing", n)
    for curve, n in itertools.product(some[:2], (2, 3)):
        yield Setting(curve, "between levels", 7, "growing", n)
    for curve, place in itertools.product(some, PLACES):
        if place != "between levels":
            yield Setting(curve, place, 7, "growing", 5)
    for curve, levels in itertools.product(some[:2], (5, 9)):
        yield Setting(curve, "at a level", levels, "growing", 5)
    for curve, spread in itertools.product(some[:2], ("equal", "heavy tails", "divergence at 0")):
        yield Setting(curve, "between levels", 7, spread, 5)


def exponent_settings() -> Iterator[Setting]:
    """Several sizes, with grids that grow with the optimum and with one for all."""
    every = ("parabola", "tent, steep left", "plateau", "narrow bump", *UNLIKE)
    some = ("parabola", "plateau", UNLIKE[0])
    for curve, n in itertools.product(every, (5, 16)):
        yield Setting(curve, "0.5", 9, "growing", n, GROWTHS["0.5"])
    for curve, p in itertools.product(some, ("0", "1", "2")):
        yield Setting(curve, p, 9, "growing", 5, GROWTHS[p])
    for curve in some:
        yield Setting(curve, "0.5", 9, "growing", 3, GROWTHS["0.5"])
    for curve in every:
        yield Setting(curve, "0.5", 9, "growing", 5, SHARED_GROWTHS["0.5"], shared=True)
    for curve, p in (*itertools.product((*some, UNLIKE[2]), ("0.5",)), ("plateau", "1"), ("tent", "1")):
        yield Setting(curve, p, 9, "growing", 16, SHARED_GROWTHS[p], shared=True)


@dataclass(frozen=True)
class Truth:
    """What is planted at one size."""

    levels: np.ndarray
    """(levels,) epochs."""
    shift: float
    """Epochs; the curve is one of log2(w + shift)."""
    peak: float
    """Epochs."""
    curve: Callable[[np.ndarray], np.ndarray]
    sd: np.ndarray
    """(levels,) points."""

    def means(self, peaks: np.ndarray) -> np.ndarray:
        """(peaks, levels) the curve with its peak elsewhere."""
        return self.curve(np.log2((self.levels + self.shift) / (np.asarray(peaks)[:, None] + self.shift)))


def truths(setting: Setting) -> list[Truth]:
    """One a size; own grids grow with the optimum by powers of two, as a user would choose them."""
    found, shapes = [], setting.curve.split(", then ")
    for index, growth in enumerate(setting.growth or (1,)):
        factor = growth ** float(setting.place) if setting.growth else 1.0
        scale = 1.0 if setting.shared else 2.0 ** math.floor(math.log2(factor))
        grid = (SHARED_GRID if setting.shared else SIZE_GRID) if setting.growth else GRIDS[setting.levels]
        # the curve itself grows, whatever the grid does
        levels, shift = np.array(grid) * scale, SHIFT * (factor if setting.shared else scale)
        peak = 5.3 * factor if setting.growth else PLACES[setting.place]
        distance = np.abs(np.log2((levels + shift) / (peak + shift)))
        sd = SD * (1 + (0.5 * distance if setting.spread == "growing" else 0 * distance))
        found.append(Truth(levels, shift, peak, CURVES[shapes[index % len(shapes)]], sd))
    return found


def draw(setting: Setting, truth: Truth, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Values (count, levels, n), and how many runs of level 0 diverged (count,): the last of them."""
    shape = (count, len(truth.levels), setting.n)
    heavy = setting.spread == "heavy tails"
    noise = rng.standard_t(3, shape) / math.sqrt(3) if heavy else rng.standard_normal(shape)
    chance = 0.7 if setting.spread == "divergence at 0" else 0.0
    values = 75 + truth.means([truth.peak])[0][:, None] + truth.sd[:, None] * noise
    return values, rng.binomial(setting.n, chance, count)


def cells_of(values: np.ndarray, diverged: int) -> list[Cell]:
    """Cells of one simulation (levels, n)."""
    converged = values[0, : len(values[0]) - diverged]
    means, sds = values.mean(axis=1), values.std(axis=1, ddof=1)
    others = [
        Cell("", len(row), float(mean), float(sd), tuple(row))
        for row, mean, sd in zip(values[1:], means[1:], sds[1:], strict=True)
    ]
    return [Cell.of("", converged, diverged), *others]


def profiles(planted: Sequence[Truth], values: Sequence[np.ndarray]) -> list[tuple[np.ndarray, list[Cell]]]:
    """Levels and cells of one simulation, one a size."""
    return [(truth.levels, cells_of(own, 0)) for truth, own in zip(planted, values, strict=True)]
