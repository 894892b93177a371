"""Are verdicts calibrated? Truths are planted, the real code decides. Writes claims_{familywise,coverage,seeds}.csv.

familywise: share of studies with any error among their claims. Every claim is at the edge of being true, so that
supporting it and refuting it are both errors; or three of the six are far beyond the edge, which is where Holm's step
down has less left to correct. coverage: of the 95 % interval of a difference and of a trend. seeds: power of the user
who follows seeds_needed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from multiprocessing import Pool
from typing import Any

import numpy as np
from claims_summary import write_summaries
from common import write_results
from numpy.typing import NDArray
from planted_claims import (
    CELLS,
    MAX_LOOKS,
    SEEDED,
    SPREAD,
    UNEQUAL,
    Found,
    Scenario,
    covered,
    errors,
    followed,
    power_of,
    spread_for,
)

BATCH = 250
"""Simulations of one task."""
SHAPES = ("normal", "heavy tails (t3)", "skewed to the left")


def familywise_scenarios() -> Iterable[tuple[dict[str, Any], Scenario]]:
    """Rows of the first table: what they are called, and the scenario."""
    plain = {"equal": (SPREAD,) * CELLS, "up to 10 times": UNEQUAL}
    for shape, (name, spreads), seeds in product(SHAPES, plain.items(), (2, 3, 5, 8, 16)):
        scenario = Scenario(seeds, spreads, shape)
        names = {"distribution": shape, "spreads": name, "truth": "at the edge"}
        yield names, scenario
        if shape == "normal":
            yield {**names, "truth": "three of six beyond"}, replace(scenario, beyond=3.0)
        if seeds < 8:
            yield names, replace(scenario, looks=MAX_LOOKS)
    for share, seeds in product((0.1, 0.3, 0.5), (2, 3, 5, 8, 16)):
        scenario = Scenario(seeds, diverging=(share,) * CELLS, spared=(4,))  # fewer than half are above the mean
        names = {"distribution": f"{share:.0%} diverge", "spreads": "equal", "truth": "at the edge"}
        yield names, scenario
        if seeds < 8:
            yield names, replace(scenario, looks=MAX_LOOKS)
    for seeds in (2, 3, 5, 8, 16):
        scenario = Scenario(seeds, (0.05, 0.4) * 6, "normal", (0.0,) * 12, (75.0,) * 12, claims="pairs")
        names = {"distribution": "normal", "spreads": "8 times", "truth": "at the edge, independent"}
        yield names, scenario
        if seeds < 8:
            yield names, replace(scenario, looks=MAX_LOOKS)
    for seeds in (2, 3, 5, 8, 16):
        names = {"distribution": "constant against 50% that diverge", "spreads": "0 and another"}
        constant = Scenario(seeds, (0.0, SPREAD) * 3, "normal", (0.0, 0.5) * 3, (75.0,) * 6, claims="reverse")
        yield {**names, "truth": "as good where it converges"}, replace(constant, spared=(0, 1, 2))
        # where by chance no run diverges, the difference of those that converge is tested, and it is real
        better = replace(constant, means=(75.0, 76.0) * 3, claims="pairs")
        yield {**names, "truth": "chance of 1/2, better where it converges"}, better


Task = tuple[Callable[[np.random.Generator], Found], int, int]


def simulated(task: Task) -> NDArray[np.float64]:
    """Results of some simulations of one row (simulations, results)."""
    simulate, number, seed = task
    random = np.random.default_rng(seed)
    return np.array([simulate(random) for _ in range(number)], dtype=float)


def measured(
    rows: Sequence[Callable[[np.random.Generator], Found]], simulations: Sequence[int]
) -> list[NDArray[np.float64]]:
    """Results of all rows with so many simulations each, by two processes."""
    tasks = [
        (row, BATCH, place * 100_000 + start)
        for place, (row, number) in enumerate(zip(rows, simulations, strict=True))
        for start in range(0, number, BATCH)
    ]
    with Pool(2) as pool:
        results = iter(pool.map(simulated, tasks, chunksize=1))
    return [np.concatenate([next(results) for _ in range(0, number, BATCH)]) for number in simulations]


def share(values: NDArray[np.float64]) -> tuple[str, str]:
    """Percentage, and its Monte-Carlo standard error."""
    mean = float(values.mean())
    return f"{100 * mean:.2f}", f"{100 * math.sqrt(mean * (1 - mean) / len(values)):.2f}"


def familywise(simulations: int) -> list[dict[str, Any]]:
    """First table: errors of whole studies."""
    scenarios = list(familywise_scenarios())
    several = [scenario.looks > 1 for _, scenario in scenarios]
    rows = [partial(errors, scenario) for _, scenario in scenarios]
    # a single look is cheap: twice as many
    results = measured(rows, [simulations * (1 if looks else 2) for looks in several])
    rows = []
    for (names, scenario), found in zip(scenarios, results, strict=True):
        (supported, error), (refuted, other) = share(found[:, 0]), share(found[:, 1])
        rows.append({
            **names, "seeds": scenario.seeds, "looks": scenario.looks, "simulations": len(found),
            "falsely_supported_percent": supported, "falsely_refuted_percent": refuted,
            "standard_error": max(error, other, key=float),
            "meets": verdict(max(found.mean(axis=0)) - 0.05, max(error, other, key=float)),
        })  # fmt: skip
    return rows


def coverage(simulations: int) -> list[dict[str, Any]]:
    """Second table: intervals."""
    grid = list(product(("difference", "trend"), SHAPES, (1, 3, 10), (2, 3, 5, 8, 16)))
    results = measured(
        [partial(covered, kind, seeds, ratio, shape) for kind, shape, ratio, seeds in grid], [simulations] * len(grid)
    )
    rows = []
    for (kind, shape, ratio, seeds), found in zip(grid, results, strict=True):
        (inside, error), (low, _), (high, _) = (share(found[:, place]) for place in range(3))
        rows.append({
            "interval": kind, "distribution": shape, "ratio_of_spreads": ratio, "seeds": seeds,
            "simulations": len(found),
            "covered_percent": inside, "above_the_truth_percent": low, "below_the_truth_percent": high,
            "standard_error": error, "target": "93 to 97" if aimed(shape, seeds) else "",
            "meets": verdict(abs(found[:, 0].mean() - 0.95) - 0.02, error),
        })  # fmt: skip
    return rows


def aimed(shape: str, seeds: int) -> bool:
    """Whether a coverage is promised."""
    return shape == "normal" and seeds >= 3


def seeds_table(simulations: int) -> list[dict[str, Any]]:
    """Third table: power of those who follow seeds_needed."""
    grid = [
        (kind, spread_for(kind, need, level), claims, pilot, cells, need, level)
        for kind, claims, pilot, need in product(SEEDED, (1, 6), (5, 8), (5, 6, 8, 10, 12, 14, 16))
        for cells in ((2, 4) if kind == "better" else (4,))
        if (level := 0.05 / MAX_LOOKS / claims)
    ]
    results = measured([partial(followed, *row[:5]) for row in grid], [simulations] * len(grid))
    rows = []
    for (kind, spread, claims, pilot, cells, need, level), found in zip(grid, results, strict=True):
        supported, error = share(found[:, 0])
        rows.append({
            "kind": kind, "claims": claims, "cells": cells, "spread": spread, "needs": need, "pilot_seeds": pilot,
            "simulations": len(found), "supported_percent": supported, "standard_error": error,
            "median_seeds": f"{np.median(found[:, 1]):.0f}",
            "power_with_the_need_percent": f"{100 * power_of(kind, spread, level)(need):.1f}",
            "power_of_the_pilot_percent": f"{100 * power_of(kind, spread, level)(pilot):.1f}",
            "target": "75 to 90" if pilot <= need else "",
            "meets": verdict(abs(found[:, 0].mean() - 0.825) - 0.075, error),
        })  # fmt: skip
    return rows


def verdict(excess: float, error: str) -> str:
    """Whether a share is where it is aimed at; excess: how far it is not, error: its standard error in percent."""
    if excess <= 0:
        return "yes"
    return "within two standard errors" if 100 * excess <= 2 * float(error) else "no"


def main() -> None:
    """Simulate and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--only", choices=["familywise", "coverage", "seeds"])
    words = parser.parse_args()
    for name, table, times in (("coverage", coverage, 5), ("seeds", seeds_table, 1), ("familywise", familywise, 1)):
        if words.only in (None, name):
            write_results(f"claims_{name}", table(times * words.simulations))
    write_summaries()


if __name__ == "__main__":
    main()
