"""The exponent p of a power law, best level = c * size^p, from intervals of the best level at several sizes.

Derivation, what p means and calibration: docs/optimum.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .cell import Cell
from .optimum import Optimum, Profile, optimum_of, profile

RIVALS = (0.0, 0.5, 1.0, 2.0)
"""Exponents that others found or that mean something simple."""
EVERYTHING = (-math.inf, math.inf)

Ends = tuple[float, float] | None
"""Of an interval; None where it is empty."""


@dataclass(frozen=True)
class PowerLaws:
    """All lines log(level) = a + p * log(size) that pass through an interval at every size."""

    x: np.ndarray
    """(sizes,) logs of the sizes, all different, two at least."""
    low: np.ndarray
    """(sizes,) logs of the lower ends, finite."""
    high: np.ndarray
    """(sizes,) logs of the upper ends, finite."""

    @cached_property
    def slopes(self) -> Ends:
        """Smallest and largest p.

        For a given p, one a serves all sizes if it serves every two of them (intervals of a that meet in pairs have a
        point in common), so the pairs decide.
        """
        first, second = np.nonzero(self.x[:, None] < self.x)
        run = self.x[second] - self.x[first]
        smallest = float(np.max((self.low[second] - self.high[first]) / run))
        largest = float(np.min((self.high[second] - self.low[first]) / run))
        return (smallest, largest) if smallest <= largest else None

    def heights(self, slope: float) -> tuple[float, float]:
        """Smallest and largest a of the lines with a slope."""
        return float(np.max(self.low - slope * self.x)), float(np.min(self.high - slope * self.x))

    def band(self, x: float) -> tuple[float, float]:
        """Smallest and largest value of these lines at x; they must not be none."""
        first, second = np.nonzero(self.x[:, None] < self.x)
        run = self.x[second] - self.x[first]
        # largest a and smallest a are piecewise linear in p, so that extremes of a + p x lie at their corners
        corners = [(ends[second] - ends[first]) / run for ends in (self.low, self.high)]
        slopes = np.clip(np.concatenate([self.slopes, *corners]), *self.slopes)
        values = [(bottom + slope * x, top + slope * x) for slope in slopes for bottom, top in [self.heights(slope)]]
        return min(bottom for bottom, _ in values), max(top for _, top in values)


@dataclass(frozen=True)
class Exponent:
    """How the best level grows with size."""

    p: float
    """Point estimate; NaN where it is refused."""
    low: float
    """-inf where it is refused, NaN where no power law fits."""
    high: float
    """inf where it is refused, NaN where no power law fits."""
    refused: str
    """Why there is none; empty where there is one."""
    levels_to_add: tuple[tuple[float, ...], ...]
    """One a size: levels that may bracket its optimum."""
    fits: bool
    """Whether some power law passes through the intervals of all sizes."""
    sizes: tuple[float, ...]
    """Ascending."""
    optima: tuple[Optimum, ...]
    """One a size."""
    curves: tuple[Profile, ...]
    """One a size."""
    confidence: float
    """Of the interval of p, and of those of the optima together."""

    @property
    def p_fit(self) -> float:
        """p-value of there being a power law: the smallest alpha at which none fits; 1 where there is no such."""
        return min((alpha for alpha, ends in self._steps if ends is None), default=1.0)

    def p_value(self, rival: float) -> float:
        """p-value of a rival exponent: the smallest alpha at which the interval excludes it; 1 where none does."""
        excluded = (alpha for alpha, ends in self._steps if ends is None or not ends[0] <= rival <= ends[1])
        return min(excluded, default=1.0)

    def p_support(self, low: float, high: float) -> float:
        """The smallest alpha at which the interval lies within low to high; 1 where it never does or no law fits."""
        within = (alpha for alpha, ends in self._steps if ends and low <= ends[0] and ends[1] <= high)
        return min(within, default=1.0) if self.fits else 1.0

    def p_refute(self, low: float, high: float) -> float:
        """The smallest alpha at which all of the interval lies outside low to high; 1 likewise."""
        outside = (alpha for alpha, ends in self._steps if ends and (ends[1] < low or high < ends[0]))
        return min(outside, default=1.0) if self.fits else 1.0

    def interval(self, alpha: float) -> Ends:
        """Ends that hold p with probability 1 - alpha or more: infinite where refused, None where no law fits."""
        return _slopes(self.sizes, self.curves, _alone(alpha, len(self.sizes)))

    def line(self, size: float) -> tuple[float, float, float]:
        """Best level at a size by the fitted law, and the lowest and highest by any that fits; NaN without one."""
        if self.refused or not self.fits:
            return math.nan, math.nan, math.nan
        laws, x = _laws(self.sizes, [(found.low, found.high) for found in self.optima]), math.log(size)
        height = float(np.clip(_fit(self.sizes, self.optima, self.p)[0], *laws.heights(self.p)))
        low, high = laws.band(x)
        return math.exp(height + self.p * x), math.exp(low), math.exp(high)

    @cached_property
    def _steps(self) -> list[tuple[float, Ends]]:
        """Every alpha at which the interval changes, ascending, and the interval from there on."""
        count = len(self.sizes)
        alone = sorted({float(p) for curve in self.curves for p in curve.gap_p if p < 1})
        return [(_together(alpha, count), _slopes(self.sizes, self.curves, alpha)) for alpha in alone]


def exponent(
    sizes: Sequence[float],
    profiles: Sequence[tuple[Sequence[float], Sequence[Cell]]],
    *,
    sign: int,
    confidence: float = 0.95,
    spread: float = math.nan,
    longest: float = math.inf,
) -> Exponent:
    """The exponent of the best level in size: refused where an optimum is not bracketed.

    profiles: levels and cells, one a size; spread, longest: as of an `optimum`.
    Raises ValueError for sizes that are not positive or there twice.
    """
    rows = sorted(zip(map(float, sizes), profiles, strict=True), key=lambda row: row[0])
    ordered = tuple(size for size, _ in rows)
    if any(not 0 < size < math.inf for size in ordered) or len(set(ordered)) < len(ordered):
        raise ValueError(f"sizes are not different numbers above 0: {', '.join(f'{size:g}' for size in ordered)}")
    curves = tuple(profile(levels, cells, sign=sign, spread=spread) for _, (levels, cells) in rows)
    alpha = _alone(1 - confidence, len(rows))
    optima = tuple(optimum_of(curve, alpha, longest) for curve in curves)
    refused = _refusal(ordered, optima, alpha)
    ends = _slopes(ordered, curves, alpha)
    low, high = EVERYTHING if refused else ends or (math.nan, math.nan)
    fitted = math.nan if refused else _fit(ordered, optima)[1]
    return Exponent(
        p=float(np.clip(fitted, low, high)) if ends else fitted,
        low=low,
        high=high,
        refused=refused,
        levels_to_add=tuple(found.levels_to_add for found in optima),
        fits=bool(refused) or ends is not None,
        sizes=ordered,
        optima=optima,
        curves=curves,
        confidence=confidence,
    )


def meanings(rate_exponent: float) -> dict[float, str]:
    """What an exponent of warmup epochs means where the peak rate grows as mini_batch_size^rate_exponent.

    Epochs as size^p are steps as size^(p - 1), so the rate rises by size^(rate_exponent + 1 - p) a step.
    """
    if rate_exponent == 0:
        return {0.0: "constant epochs", 1.0: "constant number of steps and rate increment a step"}
    return {
        0.0: "constant epochs",
        1.0: "constant number of steps",
        1 + rate_exponent: "constant rate increment a step",
    }


def _alone(alpha: float, count: int) -> float:
    """Alpha of each of several independent intervals that hold together with probability 1 - alpha (Šidák 1967)."""
    return -math.expm1(math.log1p(-alpha) / max(count, 1)) if alpha < 1 else 1.0


def _together(alpha: float, count: int) -> float:
    return -math.expm1(count * math.log1p(-alpha))


def _slopes(sizes: Sequence[float], curves: Sequence[Profile], alpha: float) -> Ends:
    """Ends of p where every optimum errs with probability alpha; infinite where one is open."""
    intervals = [curve.interval(alpha) for curve in curves]
    if None in intervals:
        return None
    if len(sizes) < 2 or any(any(curve.open_sides(alpha)) for curve in curves):
        return EVERYTHING
    return _laws(sizes, intervals).slopes


def _laws(sizes: Sequence[float], intervals: Sequence[tuple[float, float]]) -> PowerLaws:
    low, high = np.log(np.array(intervals)).T
    return PowerLaws(np.log(np.array(sizes)), low, high)


def _fit(sizes: Sequence[float], optima: Sequence[Optimum], slope: float | None = None) -> tuple[float, float]:
    """Height and slope of the line through the optima, by least squares in logs, weighted by 1 / width^2."""
    x, y = np.log(np.array(sizes)), np.log([found.value for found in optima])
    weight = np.array([np.log(found.high / found.low) ** -2.0 for found in optima])
    x_mean, y_mean = np.average(x, weights=weight), np.average(y, weights=weight)
    if slope is None:
        slope = float(np.sum(weight * (x - x_mean) * (y - y_mean)) / np.sum(weight * (x - x_mean) ** 2))
    return float(y_mean - slope * x_mean), slope


def _refusal(sizes: Sequence[float], optima: Sequence[Optimum], alpha: float) -> str:
    if len(sizes) < 2:
        return f"optima at {len(sizes)} size{'' if len(sizes) == 1 else 's'}: two at least"
    open_ones = [f"{size:,g} {found.reason}" for size, found in zip(sizes, optima, strict=True) if not found.bracketed]
    return f"not bracketed at {100 * (1 - alpha):.1f} %: {'; '.join(open_ones)}" if open_ones else ""
