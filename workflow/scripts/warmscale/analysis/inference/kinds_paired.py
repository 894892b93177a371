"""Claims on runs that are paired by their seed: only where runs of one seed share the order of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .cell import Cell
from .compare import UNKNOWN, Comparison, Median, Share
from .evidence import Evidence, counts, one_sided
from .kinds_sides import between
from .power import SMALLEST_EFFECT, contrasts, in_sds, within
from .rank_power import all_above
from .ranks import wins
from .welch import contrast

ONE = ((1.0,),)


def paired_better(
    a: Sequence[float],
    b: Sequence[float],
    *,
    sign: int = 1,
    margin: float = 0.0,
    spread: float = math.nan,
    smallest_effect: float = SMALLEST_EFFECT,
) -> Evidence:
    """a is better than b by more than the margin; a and b: runs in the order of their seeds, NaN: diverged.

    spread: sd of runs within cells; stands in, for two independent runs, where the differences have none of their own.
    """
    differences, diverged = _differences(a, b, sign)
    cell = _cell(differences, diverged)
    mean = contrast([cell], [1.0], math.sqrt(2) * spread)
    found: Comparison = mean
    if diverged:
        oriented = np.where(np.isnan(differences), margin, sign * differences)  # both diverged: a tie
        found = Share(wins(oriented, np.array([margin])), len(differences)) if len(differences) > 1 else UNKNOWN
    effect = in_sds(smallest_effect, cell.sd if cell.sd > 0 else math.sqrt(2) * spread)
    return Evidence(
        estimand="P(a better than b), same seed" if diverged else "mean difference a - b of runs with the same seed",
        **(one_sided(found, 0.5, 1) if diverged else one_sided(found, sign * margin, sign)),
        **counts([cell], math.sqrt(2) * spread, ranked="P(a better than b), same seed, against 1/2"),
        power=lambda n, alpha: (
            all_above([effect], [diverged / len(differences)], n, alpha)
            if diverged
            else contrasts(ONE, effect, n, alpha)
        ),
        converged=mean if diverged else None,
    )


def paired_equivalent(
    a: Sequence[float],
    b: Sequence[float],
    *,
    margin: float,
    sign: int = 1,
    spread: float = math.nan,
    smallest_effect: float = SMALLEST_EFFECT,
) -> Evidence:
    """a and b differ by less than the margin; arguments as of paired_better."""
    differences, diverged = _differences(a, b, sign)
    cell = _cell(differences, diverged)
    mean = contrast([cell], [1.0], math.sqrt(2) * spread)
    found: Comparison = mean
    if diverged:
        number = len(differences)
        found = Median(differences, np.full(number, 1 / number), number) if number > 1 else UNKNOWN
    sd, offset = cell.sd if cell.sd > 0 else math.sqrt(2) * spread, max(0.0, margin - smallest_effect)
    return Evidence(
        estimand="median difference, same seed" if diverged else "mean difference a - b of runs with the same seed",
        **between(found, margin),
        **counts([cell], math.sqrt(2) * spread, ranked="median of the differences of runs with the same seed"),
        power=lambda n, alpha: math.nan if diverged else within(ONE, in_sds(offset, sd), in_sds(margin, sd), n, alpha),
        converged=mean if diverged else None,
    )


def _differences(a: Sequence[float], b: Sequence[float], sign: int) -> tuple[np.ndarray, int]:
    """a - b of every seed, infinite where one diverged, NaN where both did; and in how many one did."""
    left, right = (np.array(side, dtype=float) for side in (a, b))
    diverged = int((np.isnan(left) | np.isnan(right)).sum())
    left, right = (np.where(np.isnan(side), -sign * np.inf, side) for side in (left, right))
    with np.errstate(invalid="ignore"):  # both diverged: inf - inf
        return left - right, diverged


def _cell(differences: np.ndarray, diverged: int) -> Cell:
    known = np.round(differences[np.isfinite(differences)], 10)  # equal differences stay equal: 2.1 - 2 and 1.1 - 1
    return replace(Cell.of("a - b", known), diverged=diverged)
