"""Power checked: data are drawn as assumed, tested as the report would test them, and decided for all claims at once.

The truth of each claim lies its effect beyond its bound, which may contradict that of another claim on the same cell:
so every claim has means of its own. What claims on one cell share is how its runs deviate from their mean, in standard
deviations. All of these claims hold, so Holm's procedure frees more risk than where some do not: then the power of one
is between the two that are simulated. Claims whose power is not known take part as never supported, and free none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ..analysis.claims import evidence_of, paired_evidence
from ..analysis.inference.cell import Cell, shares_diverged
from ..analysis.inference.evidence import Evidence
from ..analysis.inference.verdict import decide
from ..analysis.observed_cells import Group
from ..study.claims import Claim
from ..study.config import StudyConfig
from ..study.levels import is_level
from ..study.metric import Metric
from .needs import Need

Array = NDArray[np.float64]

DRAWS = 500
"""Simulated studies: the standard error of a power of 0.8 is 0.018."""
TESTS = 50_000
"""Claims tested in all of them together, about 6 s: with more than a hundred claims, fewer studies are drawn."""
SEED = 20_261_120


@dataclass(frozen=True)
class Simulated:
    """In what share of simulated studies a claim is supported."""

    power: float
    """With all claims of the study decided together, as the report does."""
    alone: float
    """At the level that the plan counts with, whatever is decided on other claims: what the formula says."""
    draws: int

    @property
    def standard_error(self) -> float:
        """Of the power."""
        return math.sqrt(max(self.power * (1 - self.power), 1 / self.draws) / self.draws)


def simulated_powers(
    needs: Sequence[Need], seeds: Sequence[int], config: StudyConfig, draws: int = DRAWS
) -> dict[str, Simulated | None]:
    """{claim: its simulated power}; None where no power is known, or no test is made.

    needs: of all claims of a study; seeds: in each cell of each of them.
    """
    drawn = [_is_drawn(need, n) for need, n in zip(needs, seeds, strict=True)]
    draws = min(draws, max(1, TESTS // max(1, sum(drawn))))
    together, alone = (found.mean(axis=0) for found in simulated_verdicts(needs, seeds, config, draws))
    return {
        need.claim.id: Simulated(float(power), float(own), draws) if is_drawn else None
        for need, power, own, is_drawn in zip(needs, together, alone, drawn, strict=True)
    }


def simulated_verdicts(
    needs: Sequence[Need], seeds: Sequence[int], config: StudyConfig, draws: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(draws, claims) which are supported where all are decided together as in the report, and where each is alone.

    What is supported alone is so together; but a trend is not where only the larger level shows a pair to be reversed.
    """
    rule = {"confidence": config.confidence, "familywise": config.familywise, "max_looks": config.max_looks}
    tested = [
        _evidence(need, need.claim.metric or config.metric, n, draws) if _is_drawn(need, n) else repeat(None, draws)
        for need, n in zip(needs, seeds, strict=True)
    ]
    together, alone = np.zeros((2, draws, len(needs)), dtype=bool)
    for draw, study in enumerate(zip(*tested, strict=True)):
        together[draw] = [one.verdict == "supported" for one in decide(study, **rule)]
        alone[draw] = [
            one is not None and is_supported(one, need.level) for one, need in zip(study, needs, strict=True)
        ]
    return together, alone


def is_supported(evidence: Evidence, level: float) -> bool:
    """Whether a claim is supported at a level of its own."""
    is_reversed = evidence.reversed_p is not None and evidence.reversed_p <= level
    return evidence.p_support is not None and evidence.p_support <= level and not is_reversed


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


def _is_drawn(need: Need, n: int) -> bool:
    """Whether its power is known, and n seeds a cell make a test."""
    return need.evidence is not None and n >= 2


def _evidence(need: Need, metric: Metric, n: int, draws: int) -> Iterator[Evidence]:
    """What each simulated study says of a claim with n seeds in each of its cells."""
    means = true_means(need.claim, metric, need.groups, need.effect)
    shares = [shares_diverged(group.cells) for group in need.groups]
    of_cells = [(mean, share) for mean, own in zip(means, shares, strict=True) for share in own]
    runs = [
        _runs(name, mean, need.sd, share, n, draws)
        for name, (mean, share) in zip(_cell_names(need), of_cells, strict=True)
    ]
    drawn = runs if need.claim.paired else map(_cells, runs)
    for study in zip(*drawn, strict=True):
        # no verdict rests on the ends of intervals, which take longer than all tests
        yield replace(_tested(need, metric, study), decision_low=_nowhere, decision_high=_nowhere)


def _cell_names(need: Need) -> list[str]:
    """Of all cells of its groups, in order; the claim's own where a cell is imported."""
    if need.claim.paired:
        return [need.order.place[run_id][0] for run_id in need.choices[0].units[0]]
    return [
        need.order.place[choice.units[0][0]][0] if choice.units else f"{number} of {need.claim.id}"
        for number, choice in enumerate(need.choices)
    ]


def _runs(cell: str, mean: float, sd: float, share: float, n: int, draws: int) -> Array:
    """(draws, n) runs of a cell, NaN: diverged. The same deviations for each claim: of n seeds, the first n."""
    random = np.random.default_rng((SEED, crc32(cell.encode())))
    chances, deviations = random.spawn(2)
    found = mean + sd * deviations.standard_normal((n, draws))
    return np.where(chances.random((n, draws)) < share, math.nan, found).T


def _cells(runs: Array) -> Iterator[Cell]:
    """One a study, from (draws, n) runs."""
    if np.isnan(runs).any():
        return (Cell.of("", own[~np.isnan(own)], int(np.isnan(own).sum())) for own in runs)
    found = zip(runs, runs.mean(axis=1).tolist(), runs.std(axis=1, ddof=1).tolist(), strict=True)  # as Cell.of has them
    return (Cell("", len(own), mean, sd, tuple(own.tolist())) for own, mean, sd in found)


def _tested(need: Need, metric: Metric, drawn: Sequence[Cell] | Sequence[Array]) -> Evidence:
    """The report's test of a claim on its cells, or on the runs of both sides of a pair."""
    if need.claim.paired:
        return paired_evidence(need.claim, *drawn, metric.sign, need.effect, need.sd)
    cells = iter(drawn)
    groups = [replace(group, cells=tuple(next(cells) for _ in group.cells)) for group in need.groups]
    return evidence_of(need.claim, metric, groups, need.sd, need.effect)


def _nowhere(alpha: float) -> float:
    return math.nan


def simulated_power(need: Need, metric: Metric, n: int) -> Simulated | None:
    """Until planning/files.py asks for all claims at once."""
    if not _is_drawn(need, n):
        return None
    found = np.mean([is_supported(one, need.level) for one in _evidence(need, metric, n, DRAWS)])
    return Simulated(float(found), float(found), DRAWS)
