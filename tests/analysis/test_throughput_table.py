"""The table of measurements: what follows from timed steps, and what is told of measurements without any."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmscale.analysis.throughput_table import THROUGHPUT, make_throughput_table, timed
from warmscale.records import MEASURED_COLUMNS, append_line, rows_to_csv, write_atomic, write_json
from warmscale.study import load_study

DATASET = {"name": "tree", "root": "data", "num_train_images": 1000, "num_val_images": 100, "num_classes": 10}
SPEED = {"name": "speed", "kind": "throughput", "ranks_per_node": [2], "worker_batch_size": [8, 16, 32], "repeats": 1}
DONE = {"state": "finished", "parameters": 10, "gradient_bytes": 40, "all_reduces": 1, "node_hours": 0.5}
SPEED_OF_RANKS = {"workers_per_pass": 1, "channels_last": False, "compile": "none", "cuda_graphs": False}


def rows(kind, *seconds):
    """Rows of steps.csv as they are read back."""
    waited = "0.001" if kind == "step" else ""
    return [
        {"kind": kind, "number": str(number), "sec": repr(sec), "data_wait_sec": waited}
        for number, sec in enumerate(seconds, 1)
    ]


def test_columns_follow_from_medians():
    steps = rows("step", 0.5, 0.4, 0.9) + rows("computation", 0.4, 0.4, 0.4) + rows("communication", 0.3, 0.2, 0.1)
    assert timed(steps, ranks=2, mini_batch_size=100) == pytest.approx(
        {
            "steps": 3,
            "step_sec": 0.5,
            "step_sec_low": 0.42,
            "step_sec_high": 0.82,
            "images_per_sec": 200.0,
            "computation_sec": 0.4,
            "communication_sec": 0.2,
            "data_wait_sec": 0.001,
            "exposed_sec": 0.1,
            "computation_to_communication": 2.0,
            "overlap": 0.5,
        }
    )


def test_one_rank_exposes_nothing_and_has_no_ratio():
    found = timed(rows("step", 0.5) + rows("computation", 0.4), ranks=1, mini_batch_size=8)
    assert found["exposed_sec"] == 0.0
    assert found["communication_sec"] is None
    assert found.keys().isdisjoint({"computation_to_communication", "overlap"})


def test_of_whole_steps_alone_no_share_is_told():
    found = timed(rows("step", 0.5), ranks=2, mini_batch_size=8)
    assert found["images_per_sec"] == 16.0
    assert found["computation_sec"] is None
    assert found.keys().isdisjoint({"exposed_sec", "computation_to_communication", "overlap"})


def test_without_rows_there_are_no_times():
    assert timed([], ranks=2, mini_batch_size=8) == {"steps": 0}


@given(step=st.floats(1e-6, 1e3), computation=st.floats(1e-6, 1e3), communication=st.floats(1e-6, 1e3))
def test_what_averaging_adds_keeps_its_sign(step, computation, communication):
    steps = rows("step", step) + rows("computation", computation) + rows("communication", communication)
    found = timed(steps, ranks=2, mini_batch_size=8)
    assert found["exposed_sec"] == step - computation
    assert (1 - found["overlap"]) * communication == pytest.approx(step - computation, rel=1e-6, abs=1e-9)


@pytest.fixture
def table(tmp_path):
    """Three measurements: a finished one, one that lacked memory, and one that was never started."""
    study = load_study({"study": "s", "dataset": DATASET, "recipe": {"model": "resnet8"}, "experiments": [SPEED]})
    finished, failed, pending = study.measurements
    folder = tmp_path / "throughput"
    ran = {"device_name": "a processor", "deterministic": True, "speed": SPEED_OF_RANKS, "attempts": [{}]}
    write_json(folder / finished / "measurement.json", DONE | ran)
    steps = rows("step", 0.5) + rows("computation", 0.4) + rows("communication", 0.2)
    write_atomic(folder / finished / "steps.csv", rows_to_csv(steps, MEASURED_COLUMNS))
    lacked = {"state": "failed", "failure_class": "out_of_memory", "node_hours": 0.1, "attempts": [{}, {}]}
    write_json(folder / failed / "measurement.json", lacked)
    write_atomic(folder / failed / "steps.csv", rows_to_csv([], MEASURED_COLUMNS))
    make_throughput_table(study, tmp_path, tmp_path / "tables")
    return pd.read_parquet(tmp_path / "tables/throughput.parquet").set_index("worker_batch_size"), pending


def test_every_measurement_of_the_study_has_a_row_with_what_is_known(table):
    found, pending = table
    assert [found.index.name, *found] == ["worker_batch_size", *(n for n in THROUGHPUT.names if n != found.index.name)]
    assert found["state"].tolist() == ["finished", "failed", "pending"]
    assert found["attempts"].tolist() == [1, 2, 0]
    assert found.loc[8, ["device_name", "workers_per_pass", "step_sec"]].tolist() == ["a processor", 1, 0.5]
    assert found.loc[16, "failure_class"] == "out_of_memory"
    assert found.loc[[16, 32], ["step_sec", "images_per_sec", "workers_per_pass"]].isna().all(axis=None)
    assert found.loc[32, "measurement_id"] == pending
    assert found["mini_batch_size"].tolist() == [16, 32, 64]
    assert set(found["workers_per_rank"]) == {1}


@pytest.mark.parametrize(
    ("recipe", "precision", "of_batchnorm"),
    [({}, "fp32", [8, 16, 32]), ({"tf32": True, "batchnorm_batch_size": 4}, "tf32", [4, 4, 4])],
)
def test_tf32_is_a_precision_and_batchnorm_may_see_fewer_images_than_a_worker_has(
    tmp_path, recipe, precision, of_batchnorm
):
    common = {"study": "s", "dataset": DATASET, "recipe": {"model": "resnet8"} | recipe}
    make_throughput_table(load_study(common | {"experiments": [SPEED]}), tmp_path, tmp_path / "tables")
    found = pd.read_csv(tmp_path / "tables/throughput.csv")
    assert set(found["precision"]) == {precision}
    assert found["batchnorm_batch_size"].tolist() == of_batchnorm


@pytest.mark.parametrize(("second", "mixed"), [("a GPU", [True, True, True]), ("a processor", [False, False, False])])
def test_experiments_on_several_devices_are_marked(tmp_path, second, mixed):
    study = load_study({"study": "s", "dataset": DATASET, "recipe": {"model": "resnet8"}, "experiments": [SPEED]})
    for name, device in zip(study.measurements, ("a processor", second), strict=False):
        record = DONE | {"device_name": device, "attempts": [{}]}
        write_json(tmp_path / "throughput" / name / "measurement.json", record)
        write_atomic(tmp_path / "throughput" / name / "steps.csv", rows_to_csv(rows("step", 0.5), MEASURED_COLUMNS))
    make_throughput_table(study, tmp_path, tmp_path / "tables")
    assert pd.read_parquet(tmp_path / "tables/throughput.parquet")["mixed_devices"].tolist() == mixed


def test_a_measurement_that_was_interrupted_is_paused(tmp_path):
    study = load_study({"study": "s", "dataset": DATASET, "recipe": {"model": "resnet8"}, "experiments": [SPEED]})
    name = next(iter(study.measurements))
    attempt = {"number": 1, "started": 1.0, "ended": 2.0, "state": "paused", "failure_class": None, "steps_done": 0}
    append_line(tmp_path / "state" / name / "attempts.jsonl", {**attempt, "failure": None, "steps_before": 0})
    make_throughput_table(study, tmp_path, tmp_path / "tables")
    states = pd.read_csv(tmp_path / "tables/throughput.csv").set_index("measurement_id")["state"]
    assert states[name] == "paused"
