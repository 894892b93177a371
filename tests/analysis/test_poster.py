"""What is weak in the poster shows in the verdicts on its claims, by itself."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from warmscale.analysis.tables import make_tables, read_tables
from warmscale.analysis.verdicts import make_verdicts
from warmscale.study import load_study

from .published_measurements import publish_measurement
from .published_runs import publish

ROOT = Path(__file__).parents[2]
BEST = {7680: {0: 73.0, 5: 75.5, 10: 75.0, 20: 74.0}, 30720: {0: 68.0, 5: 72.0, 10: 73.0, 20: 71.5}}
"""Accuracies as the poster tells them: the best warmup is 5 epochs at 7,680 and 10 at 30,720."""
BY_SIZE = {3840: 76.0, 7680: 75.6, 15360: 74.8, 23040: 73.6}


def as_the_poster_says(run) -> float:
    """Accuracy of a run, percent, with a tenth of a point between seeds."""
    recipe = run.recipe
    size, warmup, noise = recipe.mini_batch_size, int(recipe.warmup_epochs), 0.1 * (run.seed - 2)
    if recipe.lr_scaling.rule == "none":
        return BEST[30720][5] - 0.1 - noise
    return (BEST[size][warmup] if size in BEST and (size, recipe.workers) != (7680, 240) else BY_SIZE[size]) + noise


def judged(folder: Path, seeds: int, communication_sec: float | None = None) -> dict[str, dict[str, str]]:
    """{claim: its row} for runs as the poster has them; communication_sec: of a measurement, None: nothing measured."""
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text()) | {"seeds": seeds}
    study = load_study(raw)
    for measured in study.measurements.values() if communication_sec else ():
        sec = measured.worker_batch_size / 300 * (1 + 0.01 * measured.repeat)
        publish_measurement(folder, measured, computation_sec=sec, communication_sec=communication_sec)
    for run in study.runs.values():
        publish(folder, run, top1=[as_the_poster_says(run)] * 90, audit_every=10**6)
    make_tables(study, folder)
    make_verdicts(study, read_tables(folder / "tables"), folder)
    with (folder / "tables/claims.csv").open(newline="") as file:
        return {row["claim"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def of_three_seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    return judged(folder, 3), folder


def test_one_run_a_cell_as_on_the_poster_supports_and_refutes_nothing(tmp_path):
    verdicts = {row["verdict"] for row in judged(tmp_path, 1).values()}
    assert verdicts == {"inconclusive", "not_run"}


def test_communication_is_not_run_until_it_is_measured(of_three_seeds):
    row = of_three_seeds[0]["computation-to-communication"]
    assert (row["verdict"], row["note"]) == ("not_run", "12 of 12 measurements have not ended")


def test_communication_is_decided_by_measurements(tmp_path):
    row = judged(tmp_path, 1, communication_sec=0.03)["computation-to-communication"]
    assert (row["verdict"], row["n"], row["looks"]) == ("supported", "3", "1")
    assert "16 is the mean of 3 cells (nodes 2; 10; 40)" in row["note"]  # nodes: on one rank nothing is communicated
    assert "of measurements: n counts repeats, not seeds" in row["note"]


@pytest.mark.parametrize("claim", ["exponent-half", "exponent-linear", "warmup-grows-less"])
def test_the_exponent_is_refused_on_the_posters_grid(of_three_seeds, claim):
    row = of_three_seeds[0][claim]
    assert (row["verdict"], row["ci_low"], row["ci_high"]) == ("inconclusive", "-inf", "inf")
    assert "beside the edge" in row["note"] and "levels to add" in row["note"]


def test_no_significant_difference_is_an_equivalence_within_a_margin(of_three_seeds):
    row = of_three_seeds[0]["scaling-makes-no-difference"]
    assert (row["kind"], row["verdict"]) == ("equivalent", "inconclusive")
    assert int(row["seeds_needed"]) > 3


def test_what_the_mini_batch_changes_besides_is_named(of_three_seeds):
    assert "worker batch size 16 to 128" in of_three_seeds[0]["larger-is-worse"]["note"]


def test_what_warmup_changes_besides_is_named(of_three_seeds):
    note = of_three_seeds[0]["five-best-7k"]["note"]
    assert "warmup counts inside the decay: a longer one leaves fewer epochs at the peak rate" in note


def test_every_claim_of_the_poster_has_a_row(of_three_seeds):
    sources = " ".join(row["source"] for row in of_three_seeds[0].values())
    assert all(f"poster, {number}" in sources for number in range(1, 8))


def test_optima_at_the_edge_of_the_posters_grid_are_not_bracketed(of_three_seeds):
    with (of_three_seeds[1] / "tables/optimum.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["size"], row["best_level"], row["bracketed"]) for row in rows] == [
        ("7680", "5", "no"),
        ("30720", "10", "no"),
    ]
    assert rows[0]["levels_to_add"].startswith("2.5") and "40" in rows[1]["levels_to_add"]
