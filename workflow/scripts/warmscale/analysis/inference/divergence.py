"""How many runs of a cell diverged, as a share."""

from __future__ import annotations

from functools import cache

from scipy.stats import binomtest


@cache  # of a thousand cells, most have the same counts
def divergence_interval(diverged: int, runs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for the chance of a run to diverge (Clopper and Pearson 1934); all chances where there is no run."""
    if runs == 0:
        return 0.0, 1.0
    found = binomtest(diverged, runs).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)
