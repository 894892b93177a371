"""What is taken to be true of an exponent, for its power: where the metric peaks at each size, and how it falls.

At every size the metric is a parabola on the axis that the report describes curves on, log2(level + smallest positive
level). It peaks at c * size^p: p is the middle of what is claimed, and c the middle of what keeps every peak two levels
inside its grid. A level one gap of the grid away from the peak is worse by the smallest effect; the gap is the one that
the peak lies in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..analysis import optima
from ..analysis.inference.profile import FEWEST_AROUND, INSIDE
from ..analysis.inference.shapes import scale_of
from ..study.claims import Claim
from ..study.levels import is_level
from ..study.metric import Metric
from .cells import ASSUMED
from .selection import Selection

Array = NDArray[np.float64]

TINY = 1e-9
"""Of the axis: a peak this near to a level is at it."""


@dataclass(frozen=True)
class PlannedCurve:
    """The levels of a factor at one size."""

    size: float
    """NaN where its rows have several."""
    levels: tuple[float, ...]
    """Ascending."""
    diverged: tuple[float, ...]
    """One a level: share of its runs that diverged so far."""


def planned_curves(claim: Claim, metric: Metric, among: Selection) -> tuple[PlannedCurve, ...]:
    """The curves whose optima an exponent is fitted to; raises NotThereError and CannotTestError."""
    factor = claim.varied
    found = [
        curve for name in claim.experiments for curve in optima.curves(among.planned, metric, name, factor, claim.of)
    ]
    return tuple(
        PlannedCurve(curve.size, curve.levels, tuple(_diverged(curve.rows, factor, level) for level in curve.levels))
        for curve in found
    )


def why_untestable(claim: Claim, curves: Sequence[PlannedCurve]) -> str:
    """Why no report tells an exponent from these curves, whatever they show; empty where one may."""
    sizes = [curve.size for curve in curves]
    if len(sizes) < 2 or not all(size > 0 for size in sizes) or len(set(sizes)) < len(sizes):
        return f"an exponent needs two values of {claim.of} or more, and one curve at each"
    if short := [curve for curve in curves if len(curve.levels) < FEWEST_AROUND]:
        there = f"{len(short[0].levels)} levels of {claim.varied} at {short[0].size:,g}"
        return f"{there} cannot bracket an optimum: {FEWEST_AROUND} at least can"
    return ""


def why_no_power(claim: Claim, curves: Sequence[PlannedCurve]) -> str:
    """Why nothing can be assumed of curves that may be tested; empty where it can."""
    low, high = _room(fmean(claim.window), curves)
    if low < high:
        return ""
    p = fmean(claim.window)
    return f"optima with an exponent of {p:g} cannot all be {INSIDE} levels inside: widen the grid of {claim.varied}"


def peaks(exponent: float, curves: Sequence[PlannedCurve]) -> list[float]:
    """The true optimum of each curve, in units of its levels."""
    middle = fmean(_room(exponent, curves))
    return [math.exp(middle + exponent * math.log(curve.size)) for curve in curves]


def losses(levels: tuple[float, ...], peak: float, effect: float) -> Array:
    """(levels,) how much worse than at the peak the metric is."""
    scale = scale_of(levels)
    place = math.log2(peak + scale.shift)
    begin, end = scale.points[:-1], scale.points[1:]
    gap = (end - begin)[(begin <= place + TINY) & (place <= end + TINY)].min()
    return effect * ((scale.points - place) / gap) ** 2


def _room(exponent: float, curves: Sequence[PlannedCurve]) -> tuple[float, float]:
    """Between which ends log c keeps the optimum of every curve two levels inside its grid."""
    shifts = [exponent * math.log(curve.size) for curve in curves]
    low = max(math.log(curve.levels[INSIDE - 1]) - shift for curve, shift in zip(curves, shifts, strict=True))
    high = min(math.log(curve.levels[-INSIDE]) - shift for curve, shift in zip(curves, shifts, strict=True))
    return low, high


def _diverged(rows: pd.DataFrame, factor: str, level: float) -> float:
    """Share of the runs of a level that are there; 0 where none is."""
    own = rows[[is_level(found, level) for found in rows[factor]]]
    there = own[~own[ASSUMED].eq(True)]
    return float(there["state"].eq("diverged").mean()) if len(there) else 0.0
