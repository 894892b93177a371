"""The ratio of two means over seeds, and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def mean_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Mean of one over mean of the other; NaN where there is nothing, or nothing above 0 to divide by."""
    if not len(denominators) or not np.mean(denominators) > 0:
        return math.nan
    return float(np.mean(numerators) / np.mean(denominators))


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], confidence: float
) -> tuple[float, float]:
    """Interval for a ratio that cannot be negative, by Fieller's theorem (1954); NaN for fewer than two seeds.

    The values of a seed stand at the same place of both. It has every ratio r at which a t-test does not tell the mean
    of numerator - r * denominator from 0: exact for normal values, however they are correlated, and for two seeds as
    for many. No ratio of a single seed is formed, so it does not matter that such ratios are biased and have no mean.
    The upper end is inf where the denominator cannot be told from 0; NaN where all of these ratios are negative.
    """
    n = len(numerators)
    if n < 2:
        return math.nan, math.nan
    quantile = stats.t.ppf((1 + confidence) / 2, n - 1)
    top, below = np.mean(numerators), np.mean(denominators)
    (top_var, both), (_, below_var) = np.cov(numerators, denominators) * quantile**2 / n
    # all r with a r^2 - 2 b r + c <= 0
    a, b, c = below**2 - below_var, top * below - both, top**2 - top_var
    root = math.sqrt(max(b**2 - a * c, 0.0))
    if a > 0:
        low, high = (b - root) / a, (b + root) / a
        return (max(low, 0.0), high) if high >= 0 else (math.nan, math.nan)
    if a < 0 and c > 0:  # one root on each side of 0: what lies between them is excluded
        return (b - root) / a, math.inf
    return 0.0, math.inf
