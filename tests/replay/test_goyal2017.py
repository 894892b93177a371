"""The example that ships: numbers of shared notes as published, and claims that the rows can answer."""

from pathlib import Path

import pytest
import yaml

from .reading import read

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "config/replay/goyal2017.yaml").read_text())


@pytest.fixture(scope="module")
def cells():
    imported = read(cells=ROOT / CONFIG["replay"]["cells"], metrics=["error"], referenced=["mini_batch_size", "warmup"])
    return imported.cells


@pytest.mark.parametrize(
    ("size", "warmup", "rule", "mean", "sd"),
    [
        (256, "gradual", "linear", 23.60, 0.12),
        (8192, "none", "linear", 24.84, 0.37),
        (8192, "constant", "linear", 25.88, 0.56),
        (8192, "gradual", "linear", 23.74, 0.09),
        (16384, "gradual", "linear", 24.79, 0.27),
        (65536, "gradual", "linear", 33.96, 0.80),
        (8192, "gradual", "sqrt", 26.22, 0.03),
        (8192, "gradual", "none", 41.67, 0.10),
    ],
)
def test_cell_has_the_published_numbers(cells, size, warmup, rule, mean, sd):
    (row,) = cells[(cells.mini_batch_size == size) & (cells.warmup == warmup) & (cells.lr_rule == rule)].itertuples()
    assert (row.n, row.mean, row.sd) == (5, mean, sd)


def test_cells_are_all_of_the_paper_once(cells):
    assert len(cells) == 10 + 2 + 4


@pytest.mark.parametrize("experiment", CONFIG["experiments"], ids=lambda experiment: experiment["name"])
def test_experiment_selects_several_cells(cells, experiment):
    chosen = cells
    for column, value in experiment["where"].items():
        chosen = chosen[chosen[column] == value]
    assert len(chosen) > 2


@pytest.mark.parametrize("claim", CONFIG["claims"], ids=lambda claim: claim["id"])
def test_claim_compares_two_cells_that_are_there(cells, claim):
    where = {experiment["name"]: experiment["where"] for experiment in CONFIG["experiments"]}
    if "experiment" in claim:
        sides = [where[claim["experiment"]] | {claim["factor"]: level} for level in claim["levels"]]
    else:
        sides = [claim["a"], claim["b"]]
    for side in sides:
        assert len(cells[(cells[list(side)] == list(side.values())).all(axis=1)]) == 1
