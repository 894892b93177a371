"""The chance that an exponent is supported: curves are drawn around an assumed truth, fitted and tested as in reports.

There is no formula. The truth is that of exponent_truth.py; the p-value is compared with the level that the plan counts
with, whatever is decided on other claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from ..analysis.exponents import Found, exponent_evidence
from ..analysis.inference.cell import Cell
from ..analysis.inference.exponent import exponent
from ..study.config import StudyConfig
from .exponent_truth import PlannedCurve, losses, peaks
from .needs import Need
from .simulation import Simulated, is_supported

DRAWS = 100
"""Simulated studies: the standard error of a power of 0.8 is 0.04."""
FITS = 3000
"""Curves fitted for all claims of a plan: one of seven levels takes 3 ms, of twelve 7. With many exponents or sizes,
fewer studies are drawn."""
FEWEST_DRAWS = 16
"""Fewer say too little: the standard error is above 0.1."""
SEED = 20_261_121


def simulated_exponents(needs: Sequence[Need], seeds: Sequence[int], config: StudyConfig) -> dict[str, Simulated]:
    """{claim: its simulated power} of the exponents that have one; seeds: in each cell of each claim."""
    asked = [(need, n) for need, n in zip(needs, seeds, strict=True) if need.curves and n >= 2]
    draws = min(DRAWS, FITS // max(1, sum(len(need.curves) for need, _ in asked)))
    if draws < FEWEST_DRAWS:
        return {}
    powers = {
        need.claim.id: chance_to_support(
            need.curves,
            need.claim.window,
            n=n,
            sd=need.sd,
            effect=need.effect,
            level=need.level,
            sign=(need.claim.metric or config.metric).sign,
            confidence=config.confidence,
            draws=draws,
        )
        for need, n in asked
    }
    return {claim: Simulated(power, power, draws) for claim, power in powers.items()}


def chance_to_support(
    curves: Sequence[PlannedCurve],
    window: tuple[float, float],
    *,
    n: int,
    sd: float,
    effect: float,
    level: float,
    sign: int = 1,
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> float:
    """Share of simulated studies with n seeds a cell in which the exponent is found to lie in the window.

    sd: within cells; effect: what a level beside the peak loses; sign: 1 where larger is better, else -1.
    """
    random = np.random.default_rng(SEED)
    optima = peaks(fmean(window), curves)
    means = [-sign * losses(curve.levels, peak, effect) for curve, peak in zip(curves, optima, strict=True)]
    supported = 0
    for _ in range(draws):
        drawn = [
            (curve.levels, [_cell(random, mean, sd, n, share) for mean, share in zip(own, curve.diverged, strict=True)])
            for curve, own in zip(curves, means, strict=True)
        ]
        law = exponent([curve.size for curve in curves], drawn, sign=sign, confidence=confidence, spread=sd)
        supported += is_supported(exponent_evidence(Found(law, "", ()), window), level)
    return supported / draws


def _cell(random: np.random.Generator, mean: float, sd: float, n: int, share: float) -> Cell:
    """A cell of n runs of which some diverge."""
    diverged = int(random.binomial(n, share)) if share else 0
    return Cell.of("", random.normal(mean, sd, n - diverged), diverged)
