"""Studies with planted truths, one simulation each: what calibration_claims.py tabulates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import common  # noqa: F401  # makes warmscale importable
import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from warmscale.analysis.inference.cell import Cell, pooled_sd
from warmscale.analysis.inference.evidence import Evidence
from warmscale.analysis.inference.kinds import above, best, better, equivalent, trend
from warmscale.analysis.inference.verdict import decide, seeds_needed

MAX_SEEDS, MAX_LOOKS, EFFECT, SPREAD = 16, 3, 0.5, 0.2
UNEQUAL = (0.05, 0.5, 0.1, 0.3, 0.2, 0.05, 0.5)
"""Spreads of the cells, up to ten times each other."""
CELLS = 7


Found = tuple[float, ...]
"""What one simulation measures; True counts as 1."""


@dataclass(frozen=True)
class Scenario:
    """Where the runs of a study come from."""

    seeds: int
    """In every cell at the first look."""
    spreads: tuple[float, ...] = (SPREAD,) * CELLS
    distribution: str = "normal"
    diverging: tuple[float, ...] = (0.0,) * CELLS
    """Chance of a run to diverge, of each cell."""
    means: tuple[float, ...] = (75.0,) * 6 + (75.5,)
    looks: int = 1
    """The user adds seeds_needed and looks again, as often as this."""
    beyond: float = 0.0
    """How far three of the claims are beyond their edge."""
    claims: str = "mixed"
    spared: tuple[int, ...] = ()
    """Claims that are right to refute."""


def drawn(scenario: Scenario, random: np.random.Generator) -> NDArray[np.float64]:
    """Runs of every cell (cells, MAX_SEEDS), NaN: diverged; the distributions have mean 0 and sd 1 before scaling."""
    size = (len(scenario.means), MAX_SEEDS)
    noise = {
        "normal": random.standard_normal,
        "heavy tails (t3)": lambda size: random.standard_t(3, size) / math.sqrt(3),
        "skewed to the left": lambda size: (4 - random.chisquare(4, size)) / math.sqrt(8),
    }[scenario.distribution](size)
    runs = np.array(scenario.means)[:, None] + np.array(scenario.spreads)[:, None] * noise
    return np.where(random.random(size) < np.array(scenario.diverging)[:, None], np.nan, runs)


def cells_of(runs: NDArray[np.float64], seeds: int) -> list[Cell]:
    """Cells of the first seeds."""
    known = [row[:seeds] for row in runs]
    return [
        Cell.of(str(place), row[~np.isnan(row)], diverged=int(np.isnan(row).sum())) for place, row in enumerate(known)
    ]


def mixed(cells: Sequence[Cell], beyond: float) -> list[Evidence]:
    """Six claims on five equal levels and on a pair that is 0.5 apart, three of them `beyond` past their edge."""
    levels, pair, spread = cells[:5], cells[5:7], pooled_sd(cells)
    return [
        better([levels[1]], [levels[0]], spread=spread),
        equivalent([pair[0]], [pair[1]], margin=EFFECT, spread=spread),
        best(levels[2], [*levels[:2], *levels[3:]], spread=spread),
        near(levels, beyond, spread) if beyond else trend(levels, increasing=True, spread=spread),
        above([levels[3]], 75.0 - beyond, spread=spread),
        better([levels[4]], [levels[0]], margin=-beyond, spread=spread),
    ]


def near(levels: Sequence[Cell], beyond: float, spread: float) -> Evidence:
    """A true claim in place of the trend."""
    return equivalent([levels[2]], [levels[3]], margin=beyond, spread=spread)


def pairs(cells: Sequence[Cell], beyond: float) -> list[Evidence]:
    """Claims on cells of their own: independent tests, for which the corrections are the least conservative."""
    spread = pooled_sd(cells)
    return [better([a], [b], spread=spread) for a, b in zip(cells[::2], cells[1::2], strict=True)]


def reverse(cells: Sequence[Cell], beyond: float) -> list[Evidence]:
    """The same with the sides exchanged."""
    return pairs(cells[::-1], beyond)


CLAIMS: dict[str, Callable[[Sequence[Cell], float], list[Evidence]]] = {
    "mixed": mixed,
    "pairs": pairs,
    "reverse": reverse,
}


def errors(scenario: Scenario, random: np.random.Generator) -> tuple[bool, bool]:
    """Whether a study supports any claim at its edge at any look, and whether it refutes any."""
    runs, seeds = drawn(scenario, random), scenario.seeds
    supported = refuted = False
    for look in range(1, scenario.looks + 1):
        evidence = CLAIMS[scenario.claims](cells_of(runs, seeds), scenario.beyond)
        rules = {"max_looks": MAX_LOOKS if scenario.looks > 1 else 1}
        decisions = decide(evidence, looks=[look] * len(evidence), **rules)
        edge = decisions[:3] if scenario.beyond else decisions
        supported |= any(decision.verdict == "supported" for decision in edge)
        refuted |= any(
            decision.verdict == "refuted" for place, decision in enumerate(decisions) if place not in scenario.spared
        )
        if look < scenario.looks:
            needed = [seeds for seeds in seeds_needed(evidence, decisions, max_seeds=MAX_SEEDS, **rules) if seeds]
            seeds = min(MAX_SEEDS, max([*needed, seeds + 1]))
    return supported, refuted


def covered(kind: str, seeds: int, ratio: float, shape: str, random: np.random.Generator) -> tuple[bool, ...]:
    """Whether the 95 % interval covers a true value of 0, and whether it is above or below it."""
    spreads = (SPREAD, SPREAD * ratio) if kind == "difference" else tuple(np.geomspace(SPREAD, SPREAD * ratio, 4))
    scenario = Scenario(seeds, spreads, shape, (0.0,) * len(spreads), (75.0,) * len(spreads))
    cells = cells_of(drawn(scenario, random), seeds)
    found = better(cells[:1], cells[1:]) if kind == "difference" else trend(cells, increasing=True)
    low, high = found.lower(0.025), found.upper(0.025)
    return low <= 0 <= high, low > 0, high < 0


SEEDED: dict[str, Callable[[Sequence[Cell], float], Evidence]] = {
    "better": lambda cells, spread: better(cells[:1], cells[1:2], spread=spread),
    "better by a margin": lambda cells, spread: better(cells[:1], cells[1:2], margin=-EFFECT, spread=spread),
    "equivalent": lambda cells, spread: equivalent(cells[1:2], cells[2:3], margin=EFFECT, spread=spread),
    "best": lambda cells, spread: best(cells[0], cells[1:], spread=spread),
    "above": lambda cells, spread: above(cells[:1], 75.0, spread=spread),
    "increasing": lambda cells, spread: trend([cells[3], cells[0]], increasing=True, spread=spread),
}
"""Claims whose truth is EFFECT beyond their bound, on four cells of which the first is EFFECT better."""


def power_of(kind: str, spread: float, level: float) -> Callable[[int], float]:
    """Power with any number of seeds where the spread is known."""
    cells = [Cell("", 5, 75.0, spread)] * 4
    return partial(lambda n, alpha: SEEDED[kind](cells, spread).power(n, alpha), alpha=level)


def spread_for(kind: str, need: int, level: float) -> float:
    """A spread with which so many seeds are needed for a power of 0.8: halfway between one more and one less."""

    def lack(spread: float, n: int) -> float:
        return power_of(kind, spread, level)(n) - 0.8

    most = [optimize.brentq(lack, 0.005, 5, args=(n,), xtol=1e-3) for n in (need - 1, need)]
    return round(float(np.mean(most)), 4)


def followed(kind: str, spread: float, claims: int, pilot: int, cells: int, random: np.random.Generator) -> Found:
    """A pilot, then seeds_needed: whether the claim is supported at either look, and the seeds in the end.

    The experiment has four cells, or only the two that are compared. The other claims of the study stay undecided.
    """
    means = (75.0 if kind == "better by a margin" else 75.5, 75.0, 75.0, 75.0)
    runs = drawn(Scenario(pilot, (spread,) * 4, means=means, diverging=(0.0,) * 4), random)
    seeds = pilot
    for look in (1, 2):
        known = cells_of(runs, seeds)
        evidence = [SEEDED[kind](known, pooled_sd(known[:cells])), *[None] * (claims - 1)]
        decisions = decide(evidence, looks=[look] * claims, max_looks=MAX_LOOKS)
        if decisions[0].verdict == "supported":
            return True, seeds
        needed = seeds_needed(evidence, decisions, max_looks=MAX_LOOKS, max_seeds=MAX_SEEDS)[0]
        seeds = max(seeds, min(MAX_SEEDS, needed or 0))
    return False, seeds
