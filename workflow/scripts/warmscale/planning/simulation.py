"""Power checked: data are drawn as a claim's assumptions have them, and tested as the report would test them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..analysis.claims import evidence_of, paired_evidence
from ..analysis.inference.cell import Cell, shares_diverged
from ..analysis.inference.evidence import Evidence
from ..analysis.observed_cells import Group
from ..study.claims import Claim
from ..study.levels import is_level
from ..study.metric import Metric
from .needs import Need

DRAWS = 500
"""Simulated studies: the standard error of a power of 0.8 is 0.018."""


@dataclass(frozen=True)
class Simulated:
    """Share of simulated studies in which a claim is supported."""

    power: float
    draws: int

    @property
    def standard_error(self) -> float:
        """Of the power."""
        return math.sqrt(max(self.power * (1 - self.power), 1 / self.draws) / self.draws)


def simulated_power(need: Need, metric: Metric, n: int, draws: int = DRAWS, seed: int = 20_261_120) -> Simulated | None:
    """Chance to support a claim with n seeds in each of its cells; None where no power is known, or no test is made.

    The truth lies `effect` beyond the claim's bound; runs are normal around it, and diverge as often as was seen.
    """
    if need.evidence is None or n < 2:
        return None
    random, claim = np.random.default_rng(seed), need.claim
    means = true_means(claim, metric, need.groups, need.effect)
    shares = [shares_diverged(group.cells) for group in need.groups]
    supported = 0
    for _ in range(draws):
        groups = [
            replace(group, cells=tuple(_cell(random, mean, need.sd, n, share) for share in own))
            for group, mean, own in zip(need.groups, means, shares, strict=True)
        ]
        supported += is_supported(_tested(claim, metric, groups, need), need.level)
    return Simulated(supported / draws, draws)


def true_means(claim: Claim, metric: Metric, groups: Sequence[Group], effect: float) -> list[float]:
    """Means of all groups where the truth is `effect` beyond the bound of the claim, as its power has it."""
    sign, levels = metric.sign, range(len(groups))
    match claim.kind:
        case "better":
            return [sign * ((claim.margin or 0.0) + effect), 0.0]
        case "equivalent":
            return [max(0.0, claim.margin - effect), 0.0]
        case "above":
            return [claim.value + effect]
        case "below":
            return [claim.value - effect]
        case "best" | "worst":
            towards = sign if claim.kind == "best" else -sign
            return [towards * effect * is_level(group.level, claim.level) for group in groups]
    rise = effect if claim.strict else effect / (len(groups) - 1)
    return [(rise if claim.kind == "increasing" else -rise) * place for place in levels]


def is_supported(evidence: Evidence, level: float) -> bool:
    """Whether a claim is supported at a level of its own."""
    is_reversed = evidence.reversed_p is not None and evidence.reversed_p <= level
    return evidence.p_support is not None and evidence.p_support <= level and not is_reversed


def _cell(random: np.random.Generator, mean: float, sd: float, n: int, share: float) -> Cell:
    """A cell of n runs of which some diverge."""
    diverged = int(random.binomial(n, share)) if share else 0
    return Cell.of("", random.normal(mean, sd, n - diverged), diverged)


def _tested(claim: Claim, metric: Metric, groups: Sequence[Group], need: Need) -> Evidence:
    """The report's test of these cells."""
    if not claim.paired:
        return evidence_of(claim, metric, groups, need.sd, need.effect)
    a, b = ([*group.cells[0].values, *[math.nan] * group.cells[0].diverged] for group in groups)
    return paired_evidence(claim, a, b, metric.sign, need.effect, need.sd)
