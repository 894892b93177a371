"""The tables behind the figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from warmscale.analysis.catalogue import factors_of
from warmscale.analysis.frames import curves_frame, final_frame
from warmscale.analysis.levels import level_points
from warmscale.analysis.rate_frames import realised_frame, schedules_frame
from warmscale.analysis.tables import make_tables, read_tables
from warmscale.study import Schedule

from .conftest import accuracy
from .published_runs import AUDIT_EVERY, publish, run_at


@pytest.fixture(scope="module")
def warmup_curves(study, tables):
    own, names = level_points(tables.points, "warmup", factors_of(study, "warmup"))
    return curves_frame(own, tables, names, "top1", chance=10.0)


def test_curves_hold_every_epoch_of_every_finished_seed(study, warmup_curves):
    own = warmup_curves[(warmup_curves["level"] == "2") & (warmup_curves["seed"] == 3)]
    run = run_at(study, "warmup", seed=3, warmup_epochs=2)
    assert own["top1"].tolist() == [accuracy(run, epoch) for epoch in range(1, 9)]
    assert own["measured"].all()


def test_a_diverged_run_stays_at_chance_level_to_the_end(warmup_curves, odd_runs):
    own = warmup_curves[warmup_curves["run_id"] == odd_runs["diverged"]]
    assert own["measured"].tolist() == [True] * 3 + [False] * 5
    assert own["top1"].tolist()[3:] == [10.0] * 5
    level = warmup_curves[warmup_curves["level"] == "0"].drop_duplicates("epoch")
    assert level["diverged"].tolist() == [0] * 3 + [1] * 5
    assert level["n"].tolist() == [3] * 8


def test_a_run_that_diverged_before_its_first_epoch_is_at_chance_level_throughout(study, tmp_path):
    publish(tmp_path, run_at(study, "warmup", warmup_epochs=2), "diverged", [])
    make_tables(study, tmp_path)
    own, names = level_points(read_tables(tmp_path / "tables").points, "warmup", ("warmup_epochs",))
    frame = curves_frame(own, read_tables(tmp_path / "tables"), names, "top1", chance=10.0)
    assert frame["top1"].dropna().tolist() == [10.0] * 8


@pytest.mark.parametrize("state", ["failed", "pending"])
def test_a_run_without_a_result_is_one_row_without_an_epoch(warmup_curves, odd_runs, state):
    own = warmup_curves[warmup_curves["run_id"] == odd_runs[state]]
    assert own["state"].tolist() == [state]
    assert own[["epoch", "top1"]].isna().all(axis=None)


def test_means_over_epochs_are_over_the_seeds_with_a_result(study, warmup_curves):
    row = warmup_curves[(warmup_curves["level"] == "4") & (warmup_curves["epoch"] == 8)].iloc[0]
    assert row["n"] == 1
    assert np.isnan(row["ci_low"])
    row = warmup_curves[(warmup_curves["level"] == "2") & (warmup_curves["epoch"] == 8)].iloc[0]
    expected = [accuracy(run_at(study, "warmup", seed=seed, warmup_epochs=2), 8) for seed in (1, 2, 3)]
    assert row["mean"] == pytest.approx(np.mean(expected))


def test_final_takes_the_diverged_run_into_its_cell(study, tables):
    own, names = level_points(tables.points, "warmup", factors_of(study, "warmup"))
    frame = final_frame(own, tables.runs, names, "top1")
    cell = frame[frame["level"] == "0"]
    assert cell["top1"].tolist()[1] == 10.0
    assert cell["mean"].unique() == pytest.approx([cell["top1"].mean()])
    assert frame["seed"].size == 9


def test_two_points_that_share_a_run_both_have_it(study, tables):
    own, names = level_points(tables.points, "scaling", factors_of(study, "scaling"))
    frame = final_frame(own, tables.runs, names, "top1").set_index(["level", "seed"])["top1"]
    assert frame["none, 0"].tolist() == frame["none, 2"].tolist()
    assert frame.notna().sum() == 12


def test_schedules_are_the_closed_form_of_the_recipe(study, tables):
    frame = schedules_frame(study, tables.points)
    own = frame[(frame["experiment"] == "warmup") & (frame["level"] == "2")]
    # 20 steps an epoch: 2 epochs from 0.1 to twice that, a tenth from epoch 4 on, a hundredth from epoch 6 on
    expected = [0.1 + 0.1 * (step + 1) / 40 for step in range(40)] + [0.2] * 40 + [0.02] * 40 + [0.002] * 40
    assert own["step"].tolist() == list(range(160))
    assert own["learning_rate"].tolist() == pytest.approx(expected)
    assert own["epoch"].tolist() == pytest.approx([step / 20 for step in range(160)])


def test_every_cell_has_a_schedule(study, tables):
    found = schedules_frame(study, tables.points).drop_duplicates(["experiment", "level"])
    assert found.groupby("experiment").size().to_dict() == {"sizes": 2, "warmup": 3, "scaling": 4}


def test_realised_rates_peak_at_1_and_without_scaling_at_1_over_k(study, tables):
    frame = realised_frame(study, tables.points, tables.runs, tables.steps)
    peaks = frame[frame["experiment"] == "scaling"].groupby("level")["realised"].max().to_dict()
    assert peaks == pytest.approx({"linear, 0": 1, "linear, 2": 1, "none, 0": 0.5, "none, 2": 0.5})
    assert frame["deviation"].max() == 0
    own = frame[(frame["experiment"] == "sizes") & (frame["level"] == "128")]
    assert own["step"].tolist() == list(range(0, 80, AUDIT_EVERY))
    assert own["n"].tolist() == [3] * len(own)


def test_a_run_off_the_closed_form_shows_in_range_and_deviation(study, tmp_path):
    for seed, factor in ((1, 1.0), (2, 1.25)):
        run = run_at(study, "warmup", seed=seed, warmup_epochs=0)
        publish(tmp_path, run, "finished", [50.0] * 8, rate_factor=factor)
    make_tables(study, tmp_path)
    found = read_tables(tmp_path / "tables")
    row = realised_frame(study, found.points, found.runs, found.steps).iloc[0]
    assert row[["realised_min", "realised_max", "expected", "deviation"]].tolist() == pytest.approx([1, 1.25, 1, 0.25])
    assert row["realised"] == pytest.approx(1.125)


def test_the_schedule_of_a_run_and_its_steps_table_agree(study, tables):
    run = run_at(study, "warmup", warmup_epochs=4, seed=2)
    own = tables.steps[tables.steps["run_id"] == run.run_id]
    schedule = Schedule.from_json(run.content["schedule"])
    assert own["expected_learning_rate"].tolist() == [schedule.learning_rate(step) for step in own["step"]]
    assert pd.api.types.is_integer_dtype(own["step"])
