"""How long the program of a plan takes, and how good its solution is, on random plans of up to 1,000 cells: plan.csv.

A plan has half as many claims as cells, each of two to six cells and of three to eight seeds, with weights of 1 to 3;
some runs are there, some are required, and each has five places. Its budget pays about a tenth of the runs: node-hours
alone, or with a deadline, nodes and jobs at a time, so that places are chosen too. Packing is part of the time.

A whole plan is that of a study, as `snakemake plan` makes it before its files: reading, what claims need and what runs
cost are part of the time too. Each of its experiments has four cells of twelve seeds and two claims on all of them.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import common  # noqa: F401  puts our package on the path
from common import write_results

from warmscale.cluster.site import load_site
from warmscale.planning.choices import Candidate, CellChoice, Chosen, Goal, Limits, Option
from warmscale.planning.fitting import Fitted, by_priority, fit
from warmscale.planning.packing import Work
from warmscale.planning.plan import make_plan
from warmscale.planning.solver import solver_name
from warmscale.study import Study, load_study

SIZES = (100, 300, 1000)
SEEDS_A_CELL = 8
NODES = (1, 2, 5, 10, 40)
TARGET_SEC = 60.0
LIMITS = {
    "node-hours": {"node_hours": 20.0},
    "node-hours, deadline, nodes, jobs": {
        "node_hours": 40.0,
        "deadline_hours": 200.0,
        "concurrent_nodes": 200,
        "jobs": 40,
    },
}
"""{name: limits}, node-hours of each cell."""


CONFIG = {
    "study": "planned",
    "dataset": {"name": "tree", "root": "data", "num_train_images": 1000, "num_val_images": 100, "num_classes": 10},
    "recipe": {"epochs": 10, "workers": 4, "mini_batch_size": 100, "base_lr": 0.1, "decay": {"kind": "cosine"}},
    "seeds": 12,
    "planning": {"sd": 1.0, "smallest_effect": 2.5},
}
"""What all cells of a whole plan have in common."""


def random_plan(cells: int, costs: int | None, seed: int) -> tuple[list[CellChoice], list[Goal]]:
    """Cells and claims; costs: so many different ones."""
    chance = random.Random(seed)
    levels = [chance.uniform(5, 60) for _ in range(costs or cells)]
    found = []
    for number in range(cells):
        hours = levels[number] if costs is None else chance.choice(levels)
        options = tuple(Option(n, hours / n * (1 + 0.03 * n), hours * (1 + 0.03 * n)) for n in NODES)
        runs = [Candidate(f"c{number}-{seed}", options, chance.random() < 0.002) for seed in range(SEEDS_A_CELL)]
        found.append(CellChoice(f"c{number}", chance.choice([0, 0, 1]), tuple(runs)))
    goals = []
    for number in range(cells // 2):
        names, seeds = chance.sample(found, chance.choice([2, 2, 3, 4, 6])), chance.randint(3, SEEDS_A_CELL)
        wanted = {cell.name: seeds for cell in names}
        goals.append(Goal(f"g{number}", float(chance.choice([1, 1, 2, 3])), wanted))
    return found, goals


def solved(cells: int, costs: int | None, name: str, seed: int) -> dict[str, Any]:
    """A row of one plan, packed."""
    found, goals = random_plan(cells, costs, seed)
    given = LIMITS[name]
    limits = Limits(**{**given, "node_hours": given["node_hours"] * cells})

    def works(chosen: Chosen) -> list[Work]:
        order = by_priority(chosen, found, goals)
        return [Work(run, chosen.taken[run].nodes, chosen.taken[run].wall_hours) for run in order]

    began = time.monotonic()
    fitted = fit(found, goals, limits, works)
    seconds = time.monotonic() - began
    what = {"costs": "each its own" if costs is None else f"{costs} different", "limits": name, "seed": seed}
    return row(cells, what, len(goals), fitted, seconds)


def study_of(cells: int) -> Study:
    """A study of so many cells whose budget pays about a tenth of the runs."""
    numbers = range(cells // 4)
    experiments = [
        {"name": f"e{number}", "recipe": {"base_lr": 0.05 + 0.001 * number}, "grid": {"warmup_epochs": [0, 1, 1.5, 2]}}
        for number in numbers
    ]
    claims = [
        {
            "id": f"{kind}{number}",
            "statement": kind,
            "kind": kind,
            "experiment": f"e{number}",
            "factor": "warmup_epochs",
        }
        | more
        for number in numbers
        for kind, more in (("best", {"level": 1}), ("increasing", {}))
    ]
    return load_study(CONFIG | {"experiments": experiments, "claims": claims, "budget": {"node_hours": 1.2 * cells}})


def whole(cells: int) -> dict[str, Any]:
    """A row of the whole plan of a study, on this machine."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as results:
        plan = make_plan(study_of(cells), load_site(None), Path(results))
    seconds = time.monotonic() - began
    return row(cells, {"costs": "whole plan", "limits": "node-hours"}, len(plan.claims), plan.fitted, seconds)


def row(cells: int, what: Mapping[str, Any], claims: int, fitted: Fitted, seconds: float) -> dict[str, Any]:
    """A row of the table. what: its costs, limits and seed."""
    return {
        "cells": cells,
        "costs": what["costs"],
        "limits": what["limits"],
        "seed": what.get("seed", ""),
        "claims": claims,
        "claims planned": len(fitted.chosen.settled),
        "runs planned": len(fitted.chosen.taken),
        "gap %": f"{100 * fitted.chosen.gap:.3f}",
        "cheapest is proved": "yes" if fitted.chosen.is_cheapest else "no",
        "hours": f"{fitted.hours:.1f}",
        "seconds": f"{seconds:.1f}",
        "solver": solver_name(),
        "target": f"under {TARGET_SEC:g} s" if cells == max(SIZES) else "",
    }


def shown(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if value != "")


def main() -> None:
    """Solve, and write plan.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest size only, and write no file")
    given = parser.parse_args()
    rows = []
    for cells in SIZES[:1] if given.quick else SIZES:
        for costs in (None, 20):
            for name in LIMITS:
                rows.append(solved(cells, costs, name, seed=cells))
                print(shown(rows[-1]), file=sys.stderr, flush=True)
        rows.append(whole(cells))
        print(shown(rows[-1]), file=sys.stderr, flush=True)
    if not given.quick:
        write_results("plan", rows)


if __name__ == "__main__":
    main()
