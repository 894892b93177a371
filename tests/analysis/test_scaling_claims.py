"""Claims on measurements: which of them they compare, and what is wrong with them in a config."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from warmscale.analysis.tables import make_tables, read_tables
from warmscale.analysis.verdicts import make_verdicts
from warmscale.records import rows_to_csv
from warmscale.study import StudyError, load_study
from warmscale.study.throughput import Measurement

from . import published_measurements
from .conftest import raw_study
from .published_measurements import publish_measurement
from .published_runs import publish

SPEED = {"name": "speed", "kind": "throughput", "nodes": [1, 2, 4], "worker_batch_size": [8, 16, 32], "repeats": 3}
RATIO = {"name": "computation_to_communication"}
BY_BATCH = {"experiment": "speed", "factor": "worker_batch_size"}
BY_NODES = {"experiment": "speed", "factor": "nodes"}
SPEED_OF = {"name": "images_per_sec", "goal": "maximize"}


def claimed(*claims: dict, runs: bool = False, **changes: Any) -> dict:
    """Measurements, with runs or alone, and claims, each called by its place: c1, c2."""
    raw = raw_study()
    entries = [{"id": f"c{index}", "statement": "It is so."} | claim for index, claim in enumerate(claims, start=1)]
    experiments = [*(raw["experiments"][1:2] if runs else ()), {**SPEED, **changes}]
    return raw | {"experiments": experiments, "claims": entries, "familywise": "none", "max_looks": 1}


def usual(measurement: Measurement) -> dict[str, float]:
    """Computation goes with the batch, communication with the nodes, both a percent apart between repeats."""
    noise = 1 + 0.01 * (measurement.repeat - 2)
    return {
        "computation_sec": measurement.worker_batch_size / 300 * noise,
        "communication_sec": 0.02 + 0.001 * measurement.where.nodes,
    }


def judged(raw: dict, results: Path, times: Callable = usual, states: dict[str, str] | None = None) -> dict[str, dict]:
    """{claim: its row} after publishing every measurement, and every run; states: of the other measurements."""
    study = load_study(raw)
    for run in study.runs.values():
        publish(results, run, top1=[70.0 + run.seed] * 8)
    for measurement in study.measurements.values():
        state = (states or {}).get(measurement.measurement_id, "finished")
        if state != "pending":
            publish_measurement(results, measurement, state, **times(measurement))
    make_tables(study, results)
    make_verdicts(study, read_tables(results / "tables"), results)
    with (results / "tables/claims.csv").open(newline="") as file:
        return {row["claim"]: row for row in csv.DictReader(file)}


def an_id(raw: dict, **wanted: int) -> str:
    """The first measurement with these values."""
    for one in load_study(raw).measurements.values():
        own = {"nodes": one.where.nodes, "batch": one.worker_batch_size, "repeat": one.repeat}
        if wanted.items() <= own.items():
            return one.measurement_id
    raise AssertionError(wanted)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ({"kind": "increasing", **BY_BATCH, "metric": RATIO}, "supported"),
        ({"kind": "decreasing", **BY_BATCH, "metric": RATIO}, "refuted"),
        ({"kind": "better", **BY_BATCH, "levels": [32, 8], "metric": RATIO}, "supported"),
        ({"kind": "best", **BY_BATCH, "level": 32, "metric": RATIO}, "supported"),
        ({"kind": "above", **BY_BATCH, "level": 32, "value": 2, "metric": RATIO}, "supported"),
        ({"kind": "below", **BY_BATCH, "level": 8, "value": 1, "metric": RATIO}, "refuted"),
        ({"kind": "equivalent", **BY_BATCH, "levels": [8, 16], "margin": 9, "metric": RATIO}, "supported"),
        ({"kind": "increasing", **BY_NODES, "metric": SPEED_OF}, "supported"),
        ({"kind": "worst", **BY_NODES, "level": 4, "metric": {"name": "step_sec", "goal": "minimize"}}, "supported"),
    ],
)  # fmt: skip
def test_kinds_of_claims_on_measurements(claim, verdict, tmp_path):
    assert judged(claimed(claim), tmp_path)["c1"]["verdict"] == verdict


def test_a_level_is_the_mean_over_placements_that_have_the_metric(tmp_path):
    row = judged(claimed({"kind": "above", **BY_BATCH, "level": 16, "value": 1, "metric": RATIO}), tmp_path)["c1"]
    expected = sum(16 / 300 / (0.02 + 0.001 * nodes) for nodes in (2, 4)) / 2
    assert float(row["estimate"]) == pytest.approx(expected)
    assert "16 is the mean of 2 cells (nodes 2; 4)" in row["note"]


def test_repeats_stand_for_seeds_and_the_note_says_so(tmp_path):
    row = judged(claimed({"kind": "increasing", **BY_BATCH, "metric": RATIO}), tmp_path)["c1"]
    assert (row["n"], row["looks"]) == ("3", "1") and "of measurements: n counts repeats, not seeds" in row["note"]


def test_one_repeat_decides_nothing(tmp_path):
    row = judged(claimed({"kind": "increasing", **BY_BATCH, "metric": RATIO}, repeats=1), tmp_path)["c1"]
    assert (row["verdict"], row["n"], row["looks"]) == ("inconclusive", "1", "0")


def test_a_claim_whose_measurements_are_not_all_there_is_not_run(tmp_path):
    raw = claimed({"kind": "increasing", **BY_BATCH, "metric": RATIO})
    row = judged(raw, tmp_path, states={an_id(raw, nodes=4, batch=8): "pending"})["c1"]
    assert (row["verdict"], row["note"]) == ("not_run", "1 of 6 measurements have not ended")


def test_a_failed_measurement_is_left_out_and_said_to_be(tmp_path):
    raw = claimed({"kind": "increasing", **BY_BATCH, "metric": RATIO})
    row = judged(raw, tmp_path, states={an_id(raw, nodes=4, batch=8): "failed"})["c1"]
    assert (row["verdict"], row["n"]) == ("supported", "2") and "left out: 1 x failed" in row["note"]


KINDS = [
    {"kind": "increasing"}, {"kind": "decreasing"}, {"kind": "better", "levels": [32, 8]},
    {"kind": "equivalent", "levels": [8, 16], "margin": 9}, {"kind": "best", "level": 32},
    {"kind": "worst", "level": 8},
    {"kind": "above", "level": 32, "value": 2}, {"kind": "below", "level": 8, "value": 1},
]  # fmt: skip
EMPTY = "computation_to_communication is empty in all measurements of speed: one rank, or ZeRO stage 1"


def test_on_one_rank_there_is_no_ratio_to_test_by_any_kind(tmp_path):
    rows = judged(claimed(*({**kind, **BY_BATCH, "metric": RATIO} for kind in KINDS), nodes=[1]), tmp_path)
    assert {(row["verdict"], row["note"]) for row in rows.values()} == {("not_run", EMPTY)}


def test_at_zero_stage_1_there_is_no_ratio_to_test_by_any_kind(tmp_path, monkeypatch):
    def whole_steps(rows, columns):
        return rows_to_csv([row for row in rows if row["kind"] == "step"], columns)

    monkeypatch.setattr(published_measurements, "rows_to_csv", whole_steps)
    raw = claimed(*({**kind, **BY_BATCH, "metric": RATIO} for kind in KINDS)) | {"placement": {"zero_stage": 1}}
    assert {(row["verdict"], row["note"]) for row in judged(raw, tmp_path).values()} == {("not_run", EMPTY)}


def test_a_placement_that_lacks_a_level_is_named(tmp_path):
    raw = claimed({"kind": "increasing", **BY_BATCH, "metric": RATIO})
    lost = [
        one.measurement_id
        for one in load_study(raw).measurements.values()
        if (one.where.nodes, one.worker_batch_size) == (4, 32)
    ]
    note = judged(raw, tmp_path, states=dict.fromkeys(lost, "failed"))["c1"]["note"]
    assert "left out: nodes 4, where there is no 32" in note
    assert "left out: 3 x failed measurement" in note and "cell" not in note


def test_placements_of_a_note_are_sorted_by_their_numbers(tmp_path):
    claim = {"kind": "increasing", **BY_BATCH, "metric": SPEED_OF}
    note = judged(claimed(claim, nodes=[1, 2, 10, 40]), tmp_path)["c1"]["note"]
    assert "16 is the mean of 4 cells (nodes 1; 2; 10; 40)" in note


def test_seeds_needed_have_no_number_where_the_metric_is_not_the_studys(tmp_path):
    def noisy(measurement):
        return {"computation_sec": 0.1 * (1 + 0.3 * (measurement.repeat % 3)), "communication_sec": 0.02}

    of_runs = {"kind": "above", "experiment": "warmup", "factor": "warmup_epochs", "level": 2, "value": 71.9}
    raw = claimed(of_runs, {"kind": "increasing", **BY_BATCH, "metric": RATIO}, runs=True)
    rows = judged(raw, tmp_path, noisy)
    assert [row["verdict"] for row in rows.values()] == ["inconclusive"] * 2
    assert rows["c1"]["seeds_needed"] and not rows["c2"]["seeds_needed"]


def test_what_no_measurement_has_is_not_run(tmp_path):
    claim = {"kind": "increasing", **BY_BATCH, "metric": {"name": "watts"}}
    row = judged(claimed(claim), tmp_path)["c1"]
    assert (row["verdict"], row["note"]) == ("not_run", "no row has a column watts")


def test_runs_and_measurements_are_judged_beside_each_other(tmp_path):
    of_runs = {"kind": "above", "experiment": "warmup", "factor": "warmup_epochs", "level": 2, "value": 50}
    filtered = {"kind": "above", "a": {"warmup_epochs": 2}, "value": 50}
    raw = claimed(of_runs, filtered, {"kind": "increasing", **BY_BATCH, "metric": RATIO}, runs=True)
    rows = judged(raw, tmp_path)
    assert {row["verdict"] for row in rows.values()} == {"supported"}
    assert [row["n"] for row in rows.values()] == ["3", "3", "3"]
    assert "measurements" not in rows["c1"]["note"] + rows["c2"]["note"]


def test_a_claim_on_runs_does_not_see_what_measurements_have(tmp_path):
    claim = {"kind": "increasing", "experiment": "warmup", "factor": "warmup_epochs", "metric": RATIO}
    row = judged(claimed(claim, runs=True), tmp_path)["c1"]
    assert (row["verdict"], row["note"]) == ("not_run", "no row has a column computation_to_communication")


@pytest.mark.parametrize(
    ("claim", "line"),
    [
        ({"kind": "increasing", **BY_BATCH}, "metric: is missing: measurements have no accuracy; name a column of"),
        (
            {"kind": "increasing", "experiment": "speed", "factor": "node", "metric": RATIO},
            "factor: node is no factor of experiment speed; did you mean nodes?",
        ),
        (
            {"kind": "best", **BY_BATCH, "level": 64, "metric": RATIO},
            "level: 64 is no level of worker_batch_size in speed: [8, 16, 32]",
        ),
        (
            {"kind": "better", **BY_BATCH, "levels": [8, 16], "paired": True, "metric": RATIO},
            "paired: repeats of a measurement have nothing in common",
        ),
        (
            {"kind": "above", "experiment": "speed", "a": {"nodes": 2}, "value": 1, "metric": RATIO},
            "a: filters choose runs, and speed has measurements; use factor and levels",
        ),
        (
            {"kind": "above", "a": {"nodes": 2}, "value": 1, "metric": RATIO},
            "a: filters choose runs, and the study has none; use experiment, factor and levels",
        ),
        (
            {"kind": "exponent", "experiments": ["speed"], "value": 1},
            "experiments: speed has measurements; an exponent is of runs",
        ),
    ],
)
def test_what_a_claim_on_measurements_cannot_be_is_one_line(claim, line):
    with pytest.raises(StudyError) as caught:
        load_study(claimed(claim))
    (found,) = caught.value.lines
    assert found.startswith(f"claims.c1.{line}")


def test_levels_that_the_placement_decides_are_not_known_before():
    claim = {"kind": "best", "experiment": "speed", "factor": "ranks_per_node", "level": 6, "metric": RATIO}
    assert load_study(claimed(claim)).config.claims
