"""The exponent p of a power law, best level = c * size^p, from where the best level may be at several sizes.

Derivation, what p means and calibration: docs/optimum.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from .cell import Cell
from .optimum import Optimum, optimum_of
from .profile import TAILS, Profile, profile

Array = NDArray[np.float64]

RIVALS = (0.0, 0.5, 1.0, 2.0)
"""Exponents that others propose or that mean something simple."""
DRAWS = 10_000
"""Of the peaks at all sizes together."""
SEED = 2027
LEAST_LEVEL = 0.02
"""Of the smallest positive level: has a logarithm where a drawn peak has none. Such an optimum is not bracketed."""


@dataclass(frozen=True, eq=False)
class Exponent:
    """How the best level grows with size."""

    p: float
    """Point estimate; NaN where it is refused."""
    low: float
    """-inf where it is refused."""
    high: float
    """inf where it is refused."""
    refused: str
    """Why there is none; empty where there is one."""
    levels_to_add: tuple[tuple[float, ...], ...]
    """One a size: levels that may bracket its optimum."""
    fits: bool
    """Whether some power law passes through the intervals of all optima, which then hold together at the confidence."""
    sizes: tuple[float, ...]
    """Ascending."""
    optima: tuple[Optimum, ...]
    """One a size."""
    curves: tuple[Profile, ...]
    """One a size."""
    confidence: float
    """Of the intervals."""

    @property
    def p_open(self) -> float:
        """The smallest alpha at which every optimum is bracketed: below it all exponents are possible."""
        return max((curve.p_open for curve in self.curves), default=1.0) if len(self.sizes) > 1 else 1.0

    def p_value(self, rival: float) -> float:
        """The smallest alpha at which the interval excludes an exponent."""
        return self._p(lambda p: min(_share(p <= rival), _share(p >= rival)))

    def p_support(self, low: float, high: float) -> float:
        """The smallest alpha at which the interval lies within low to high; 1 where no power law fits."""
        return self._p(lambda p: max(_share(p < low), _share(p > high))) if self.fits else 1.0

    def p_refute(self, low: float, high: float) -> float:
        """The smallest alpha at which the interval lies outside low to high, all of it; likewise."""
        return self._p(lambda p: min(_share(p >= low), _share(p <= high))) if self.fits else 1.0

    def interval(self, alpha: float) -> tuple[float, float]:
        """Ends of p that err with probability alpha together; infinite where an optimum is open."""
        beyond = math.floor(min(alpha / TAILS, 0.5) * (DRAWS + 1) + 1e-9) - 1  # draws on each side, as in _share
        if alpha < self.p_open or beyond < 0:
            return -math.inf, math.inf
        drawn = np.sort(self._slopes)
        return float(drawn[beyond]), float(drawn[-1 - beyond])

    def line(self, size: float) -> tuple[float, float, float]:
        """Fitted best level at a size, and the ends of its interval; NaN where refused or no law fits."""
        if self.refused or not self.fits:
            return math.nan, math.nan, math.nan
        tail = (1 - self.confidence) / TAILS
        at = self._heights + self._slopes * (math.log(size) - self._middle)
        low, mid, high = np.exp(np.quantile(at, (tail, 0.5, 1 - tail)))
        return float(mid), float(low), float(high)

    def _p(self, tail: Callable[[Array], float]) -> float:
        """From what a tail of the exponents holds."""
        return 1.0 if self.p_open >= 1 else min(1.0, max(self.p_open, TAILS * tail(self._slopes)))

    @cached_property
    def _logs(self) -> Array:
        """(draws, sizes) logs of peaks, drawn from each curve by itself."""
        shares = _shares(len(self.curves))
        return np.stack([_peaks(curve, own) for curve, own in zip(self.curves, shares.T, strict=True)], axis=1)

    @cached_property
    def _centre(self) -> Array:
        return np.median(self._logs, axis=0)

    @cached_property
    def _weights(self) -> Array:
        """(sizes,) of least squares: what each optimum is known to."""
        weights = 1 / np.maximum(self._logs.var(axis=0), 1e-6)
        return weights / weights.sum()

    @property
    def _middle(self) -> float:
        return float(self._weights @ np.log(self.sizes))

    @cached_property
    def _slopes(self) -> Array:
        """(draws,) exponents."""
        run = np.log(self.sizes) - self._middle
        return self._logs @ (self._weights * run) / float(self._weights @ run**2)

    @property
    def _heights(self) -> Array:
        """(draws,) log of the best level in the middle of the sizes."""
        return self._logs @ self._weights


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

    profiles: levels and cells, one a size. sign: +1 if larger is better, else -1. longest: no level above it is
    proposed. Raises ValueError for sizes that are not positive or there twice, and for levels as `optimum` does.
    """
    rows = sorted(zip(map(float, sizes), profiles, strict=True), key=lambda row: row[0])
    ordered = tuple(size for size, _ in rows)
    if any(not 0 < size < math.inf for size in ordered) or len(set(ordered)) < len(ordered):
        raise ValueError(f"sizes are not different numbers above 0: {', '.join(f'{size:g}' for size in ordered)}")
    curves = tuple(profile(levels, cells, sign=sign, spread=spread) for _, (levels, cells) in rows)
    alpha = 1 - confidence
    optima = tuple(optimum_of(curve, alpha, longest) for curve in curves)
    refused = _refusal(ordered, optima, confidence)
    told = Exponent(
        p=math.nan,
        low=-math.inf,
        high=math.inf,
        refused=refused,
        levels_to_add=tuple(found.levels_to_add for found in optima),
        fits=True,
        sizes=ordered,
        optima=optima,
        curves=curves,
        confidence=confidence,
    )
    return told if refused else _estimated(told, alpha)


def _estimated(told: Exponent, alpha: float) -> Exponent:
    """With point estimate and interval."""
    low, high = told.interval(alpha)
    alone = -math.expm1(math.log1p(-alpha) / len(told.sizes))  # Šidák 1967
    passes = line_passes(told.sizes, [curve.interval(alone) for curve in told.curves])
    return replace(told, p=float(np.median(told._slopes)), low=low, high=high, fits=passes)


def line_passes(sizes: Sequence[float], ends: Sequence[tuple[float, float]]) -> bool:
    """Whether some line in logs passes through an interval of levels at every size.

    One line serves all sizes if its slope serves every two of them (intervals that meet in pairs have a common point).
    """
    with np.errstate(divide="ignore"):
        x, (low, high) = np.log(sizes), np.log(np.array(ends)).T
    first, second = np.nonzero(x[:, None] < x)
    run = x[second] - x[first]
    return bool(np.max((low[second] - high[first]) / run) <= np.min((high[second] - low[first]) / run))


def _peaks(curve: Profile, shares: Array) -> Array:
    """Logs of the places below which a curve peaks with these probabilities."""
    grid = curve.scale.grid
    edges = np.concatenate([grid[:1], (grid[:-1] + grid[1:]) / 2, grid[-1:]])  # a place stands for what is around it
    level = curve.scale.level(np.interp(shares, np.concatenate([[0.0], np.cumsum(curve.weights)]), edges))
    return np.log(np.maximum(level, LEAST_LEVEL * curve.scale.shift))


def _share(those: NDArray[np.bool_]) -> float:
    """Of the draws; never 0, as their number is finite."""
    return (float(those.sum()) + 1) / (len(those) + 1)


@lru_cache(maxsize=16)
def _shares(sizes: int) -> Array:
    """(DRAWS, sizes) a Latin hypercube: every column is even from 0 to 1, and independent of the others."""
    random = np.random.default_rng(SEED)
    even = np.arange(DRAWS)[:, None] + random.uniform(size=(DRAWS, sizes))
    return random.permuted(even, axis=0) / DRAWS


def _refusal(sizes: Sequence[float], optima: Sequence[Optimum], confidence: float) -> str:
    if len(sizes) < 2:
        return f"optima at {len(sizes)} size{'' if len(sizes) == 1 else 's'}: two at least"
    open_ones = [f"{size:,g} {found.reason}" for size, found in zip(sizes, optima, strict=True) if not found.bracketed]
    return f"not bracketed at {100 * confidence:g} %: {'; '.join(open_ones)}" if open_ones else ""
