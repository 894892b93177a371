"""How a run can end, and what is left of it then."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from warmscale.records import EPOCH_COLUMNS, STEP_COLUMNS, read_rows

from .conftest import small_run
from .launching import Started


def test_a_loss_that_is_not_finite_is_a_result(tmp_path, lab):
    started = Started(tmp_path, lab, small_run(base_lr=1.0e30))
    assert started.finish().returncode == 0
    record = started.record()
    assert (record["state"], record["failure_class"]) == ("diverged", None)
    assert 0 < record["diverged_step"] < 8
    assert record["steps_done"] == record["diverged_step"]


def test_a_loss_above_the_bound_for_long_enough_is_a_result(tmp_path, lab):
    run = small_run(divergence={"loss_above": 1.0e-6, "for_steps": 3})
    started = Started(tmp_path, lab, run)
    assert started.finish().returncode == 0
    assert (started.record()["state"], started.record()["diverged_step"]) == ("diverged", 2)
    assert list(read_rows(started.published / "epochs.csv")) == []


def test_an_unreadable_image_fails_the_run_with_its_path(tmp_path, lab):
    spoilt = tmp_path / "lab"
    shutil.copytree(lab / "tree", spoilt / "tree")
    shutil.copy(lab / "index.tsv", spoilt / "index.tsv")
    image = spoilt / "tree/train/class3/0003.png"
    for spoiled in (image, *(spoilt / "tree/train/class1").iterdir()):
        spoiled.write_bytes(spoiled.read_bytes()[:60])
    started = Started(tmp_path, spoilt, small_run())
    done = started.finish()
    record = started.record()
    assert done.returncode == 0
    assert (record["state"], record["failure_class"]) == ("failed", "data")
    assert re.search(r"tree/train/class\d/\d+\.png cannot be read: .* \(\d+ others in this batch\)", record["failure"])
    assert record["failure"] in done.stderr
    assert read_rows(started.published / "epochs.csv") == []


def test_the_reason_that_a_rank_left_outlives_an_abort_of_its_libraries(tmp_path, lab, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    started = Started(tmp_path, lab, small_run(model="models:aborting"))
    assert started.finish().returncode == 0
    record = started.record()
    assert (record["state"], record["failure_class"], record["failure"]) == ("failed", "bug", '"a bug of one\'s own"')


def test_a_killed_rank_pauses_the_run_and_the_next_start_goes_on(tmp_path, lab, monkeypatch):
    monkeypatch.setenv("KILLED_ONCE", str(tmp_path / "killed"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    started = Started(tmp_path, lab, small_run(model="models:killed_once"), ranks=2)
    done = started.finish()
    assert done.returncode == 75
    assert "node: killed: rank 1 by SIGKILL" in done.stderr
    assert not started.published.exists()
    assert started.finish().returncode == 0
    record = started.record()
    assert record["state"] == "finished", started.log()
    attempts = [(attempt["state"], attempt["failure_class"], attempt["rank"]) for attempt in record["attempts"]]
    assert attempts == [("paused", "node", 1), ("finished", None, None)]


def test_records_have_the_columns_of_the_contract(tmp_path, lab):
    started = Started(tmp_path, lab, small_run())
    assert started.finish().returncode == 0, started.log()
    epochs, steps = read_rows(started.published / "epochs.csv"), read_rows(started.published / "steps.csv")
    assert tuple(epochs[0]) == EPOCH_COLUMNS
    assert tuple(steps[0]) == STEP_COLUMNS
    assert [int(row["images_seen"]) for row in epochs] == [320, 640]
    assert [int(row["step"]) for row in steps] == [0, 3, 4, 6]
    assert [row["update_error"] != "" for row in steps] == [True, False, True, False]
    assert all(row["learning_rate"] == row["expected_learning_rate"] for row in steps)
    record = started.record()
    assert (record["world_size"], record["device"], record["deterministic"]) == (1, "cpu", True)
    assert record["versions"]["deepspeed"]
    assert record["node_hours"] == pytest.approx(
        sum(attempt["ended"] - attempt["started"] for attempt in record["attempts"]) / 3600
    )


def test_carry_sees_every_image(tmp_path, lab):
    started = Started(tmp_path, lab, small_run(last_batch="carry", epochs=3))
    assert started.finish().returncode == 0, started.log()
    epochs, _ = started.rows()
    assert [int(row["step"]) for row in epochs] == [4, 8, 12]  # 330, 660 and 990 images in steps of 80
    assert [int(row["images_seen"]) for row in epochs] == [320, 640, 960]


def test_weights_that_the_last_update_ruins_are_a_divergence(tmp_path, lab, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    started = Started(tmp_path, lab, small_run(model="models:ruined_at_last"))
    assert started.finish().returncode == 0
    assert (started.record()["state"], started.record()["diverged_step"]) == ("diverged", 7), started.log()


def test_zero_stage_1_is_refused_where_it_would_train_something_else(tmp_path, lab):
    started = Started(tmp_path, lab, small_run(precision="bf16"), zero_stage=1)
    assert started.finish().returncode == 0
    assert (started.record()["state"], started.record()["failure_class"]) == ("failed", "config")
    assert "only with optimizer sgd and precision fp32" in started.record()["failure"]
