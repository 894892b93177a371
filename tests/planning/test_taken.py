"""What finished runs took beside what is predicted of them by other cells."""

from __future__ import annotations

import csv
import math

import pytest

from tests.analysis.published_runs import epoch_rows, publish
from warmscale.cluster.placement import Where
from warmscale.cluster.site import Site
from warmscale.planning.calibration import calibrate
from warmscale.planning.cells import cell_name, tables_in_memory
from warmscale.planning.costs import run_cost
from warmscale.planning.files import simulate, write_plan
from warmscale.planning.measured import measured_steps
from warmscale.planning.prices import Prices
from warmscale.planning.taken import taken_runs
from warmscale.records import EPOCH_COLUMNS, rows_to_csv, write_atomic

from .studies import BETTER, study_of
from .test_page import shown
from .test_plan import CLUSTER, SITE, planned

EPOCHS = 3


def train(study, results, run, train_sec, node_hours=None, **changed):
    """Publish a run of three epochs that took so long each, without what publishing by itself would say of its time."""
    publish(results, run, "finished", [50.0] * EPOCHS, **changed)
    if node_hours is not None:
        publish(results, run, "finished", [50.0] * EPOCHS, node_hours=node_hours, **changed)
    rows = [row | {"train_sec": train_sec} for row in epoch_rows(run, [50.0] * EPOCHS)]
    write_atomic(results / "runs" / run.run_id / "epochs.csv", rows_to_csv(rows, EPOCH_COLUMNS))


def by_cells(study):
    """Runs of each cell."""
    found = {}
    for run in study.runs.values():
        found.setdefault(cell_name(run), []).append(run)
    return list(found.values())


def taken_of(study, results, site=SITE):
    return {
        one.run_id: one
        for one in taken_runs(Prices(study, site, measured_steps(study, results)), tables(study, results))
    }


def tables(study, results):
    return tables_in_memory(study, results)


def test_alone_a_cell_is_predicted_by_the_preset_whatever_it_took(tmp_path):
    study = study_of()
    first, second = by_cells(study)[0][:2]
    for run in (first, second):
        train(study, tmp_path, run, train_sec=1e6)
    model = Prices(study, SITE, []).model_of(first)
    expected = run_cost(first, Where(1, 1), SITE, model, study.config.planning)
    found = taken_of(study, tmp_path)
    assert set(found) == {first.run_id, second.run_id}
    assert {one.predicted for one in found.values()} == {expected}
    assert {one.fitted_to for one in found.values()} == {0}
    assert found[first.run_id].train_hours == pytest.approx(EPOCHS * 1e6 / 3600)


def test_a_cell_is_predicted_by_all_others_and_not_by_itself(tmp_path):
    study = study_of()
    cells = by_cells(study)
    for number, cell in enumerate(cells):
        for run in cell[:2]:
            train(study, tmp_path, run, train_sec=1e3 * (1 + number))
    measured = measured_steps(study, tmp_path)
    assert len(measured) == 2 * len(cells)
    found = taken_of(study, tmp_path)
    for cell in cells:
        own = {run.run_id for run in cell}
        others = [each for each in measured if each.source not in own]
        prices = Prices(study, SITE, others)
        model = calibrate(prices.model_of(cell[0]).work, prices.hardware, others)
        expected = run_cost(cell[0], Where(1, 1), SITE, model, study.config.planning)
        for run in cell[:2]:
            assert found[run.run_id].fitted_to == len(others)
            assert found[run.run_id].predicted.node_hours == pytest.approx(expected.node_hours)
            assert found[run.run_id].predicted.train_sec_high > found[run.run_id].predicted.train_sec


def test_a_run_that_took_what_is_predicted_is_within_and_one_that_took_far_more_is_not(tmp_path):
    study = study_of()
    run, other = (cell[0] for cell in by_cells(study)[:2])
    expected = run_cost(run, Where(1, 1), SITE, Prices(study, SITE, []).model_of(run), study.config.planning)
    publish(tmp_path, run, "finished", [50.0], node_hours=expected.node_hours)
    publish(tmp_path, other, "finished", [50.0], node_hours=10 * expected.node_hours_high)
    found = taken_of(study, tmp_path)
    assert (found[run.run_id].is_inside, found[other.run_id].is_inside) == (True, False)
    assert found[run.run_id].node_hours == expected.node_hours


def attempt(nodes, before, done):
    return {
        "nodes": nodes,
        "world_size": nodes,
        "steps_before": before,
        "steps_done": done,
        "started": 0.0,
        "ended": 9.0,
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"device_name": "NVIDIA H200"},  # the site is one of CPUs
        {"attempts": [attempt(1, 0, 5), attempt(2, 5, 10)]},
        {"attempts": [attempt(2, 0, 10)]},  # the site has jobs of one node
    ],
)
def test_without_a_place_of_this_machine_nothing_is_predicted_and_what_it_took_is_told(tmp_path, changed):
    study = study_of()
    run = next(iter(study.runs.values()))
    publish(tmp_path, run, "finished", [50.0], **changed)
    one_node = {"walltime": [{"up_to_nodes": 1, "minutes": 6000}], "placement": {"max_nodes": 1}}
    site = Site.model_validate(CLUSTER | one_node)
    (one,) = taken_of(study, tmp_path, site).values()
    assert (one.predicted, one.is_inside, one.node_hours) == (None, None, 0.25)
    assert one.attempts == len(changed.get("attempts", [0]))


def test_runs_that_diverged_or_failed_are_not_compared(tmp_path):
    study = study_of()
    first, second, third = list(study.runs.values())[:3]
    for run, state in ((first, "diverged"), (second, "failed"), (third, "finished")):
        publish(tmp_path, run, state, [50.0])
    assert set(taken_of(study, tmp_path)) == {third.run_id}


def test_many_cells_are_left_out_in_twenty_parts(tmp_path):
    grid = {"warmup_epochs": [number / 10 for number in range(30)]}
    study = study_of(experiments=[{"name": "many", "grid": grid}], seeds=1)
    for run in study.runs.values():
        train(study, tmp_path, run, train_sec=1e3)
    fitted_to = sorted(one.fitted_to for one in taken_of(study, tmp_path).values())
    number = len(study.runs)
    assert 25 < number <= 30
    assert fitted_to == [number - 2] * 2 * (number - 20) + [number - 1] * (40 - number)


def test_the_page_and_a_table_have_what_was_predicted_and_taken(tmp_path):
    study = study_of(BETTER)
    assert "Predicted and taken" not in shown(study, tmp_path)[1]
    for cell in by_cells(study)[:3]:
        train(study, tmp_path, cell[0], train_sec=2e3, node_hours=0.75)
    plan, text = shown(study, tmp_path)
    part = text.partition("Predicted and taken Of 3 finished runs")[2].partition("Assumptions")[0]
    assert all(one.run_id in part for one in plan.taken)
    assert "together they took 2.25 node-hours" in part
    write_plan(plan, SITE, tmp_path, simulate(plan))
    with (tmp_path / "plan/taken.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run_id"] for row in rows] == [one.run_id for one in plan.taken]
    for row, one in zip(rows, plan.taken, strict=True):
        assert math.isclose(float(row["predicted_node_hours"]), one.predicted.node_hours, rel_tol=1e-5)
        assert math.isclose(float(row["predicted_train_hours_low"]), one.predicted.train_sec_low / 3600, rel_tol=1e-5)
        assert (row["nodes"], row["fitted_to"], float(row["node_hours"])) == ("1", "2", 0.75)
        assert row["is_inside"] == ("yes" if one.is_inside else "no")
    assert planned(study, tmp_path).taken == plan.taken
