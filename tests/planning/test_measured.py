from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from warmscale.planning.measured import measured_of, measured_steps
from warmscale.planning.step_time import StepShape
from warmscale.records import EPOCH_COLUMNS, rows_to_csv, write_json

from .studies import RULES, SPEED, WARMUPS, measure, study_of

STUDY = study_of(experiments=[WARMUPS, RULES, SPEED])

ROW = {
    "measurement_id": "tp-one",
    "model": "resnet50",
    "image_size": 224,
    "precision": "bf16",
    "device_name": "Tesla V100-SXM2-16GB",
    "nodes": 2,
    "ranks_per_node": 6,
    "workers": 24,
    "worker_batch_size": 32,
    "data": "synthetic",
    "workers_per_pass": 2,
    "state": "finished",
    "step_sec": 0.25,
    "computation_sec": 0.2,
    "communication_sec": 0.1,
    "batchnorm_batch_size": 32,
    "zero_stage": 0,
    "compile": "none",
    "cuda_graphs": False,
    "data_wait_sec": 0.0,
}


def training(
    folder: Path,
    run_id: str = "mb64",
    epochs: list[tuple[int, float]] = ((10, 9.0), (20, 2.0), (30, 3.0), (40, 2.0)),
    waits_sec: float = 0.0,
    of_content: Mapping[str, Any] | None = None,
    **changes: Any,
) -> None:
    """A published run; epochs: (step, train_sec), of which waits_sec for images."""
    content = {"model": "resnet18", "workers": 4, "mini_batch_size": 64, "precision": "fp16", **(of_content or {})}
    content["dataset"] = {"num_val_images": 100, "image_size": 64}
    attempt = {"started": 1000.0, "ended": 1030.0, "nodes": 1, "world_size": 2}
    record = {
        "run_id": run_id,
        "state": "finished",
        "content": content,
        "attempts": [attempt],
        "device_name": "AMD EPYC",
    }
    record |= {"speed": {"workers_per_pass": 2}}
    write_json(folder / "runs" / run_id / "run.json", record | changes)
    common = {"run_id": run_id, "eval_sec": 0.5, "data_wait_sec": waits_sec}
    rows = [common | {"step": step, "train_sec": sec} for step, sec in epochs]
    (folder / "runs" / run_id / "epochs.csv").write_text(rows_to_csv(rows, EPOCH_COLUMNS))


def test_nothing_measured_is_an_empty_list(tmp_path):
    assert measured_steps(STUDY, tmp_path) == []


def test_a_measurement_counts_as_soon_as_it_is_published_whatever_the_tables_have(tmp_path):
    alone, both = STUDY.measurements
    measure(tmp_path, both, step_sec=0.5)
    (made,) = measured_steps(STUDY, tmp_path)
    assert not (tmp_path / "tables").exists()
    assert made.shape == StepShape(1, 2, 2, 8)
    assert (made.step_sec, made.computation_sec, made.communication_sec) == (0.5, 0.4, 0.15)
    assert (made.source, made.model, made.device) == (both, "resnet50", "AMD EPYC")
    assert not made.has_input
    measure(tmp_path, alone)
    assert [made.source for made in measured_steps(STUDY, tmp_path)] == [alone, both]


def test_measurements_that_failed_or_are_of_no_study_are_left_out(tmp_path):
    alone, both = STUDY.measurements
    measure(tmp_path, alone, state="failed")
    measure(tmp_path, "tp-of-before")
    assert measured_steps(STUDY, tmp_path) == []
    measure(tmp_path, both)
    assert [made.source for made in measured_steps(STUDY, tmp_path)] == [both]


def test_a_row_of_the_table_has_the_parts_of_a_step():
    made = measured_of(ROW)
    assert made.shape == StepShape(2, 6, 24, 32, workers_per_pass=2)
    assert (made.step_sec, made.computation_sec, made.communication_sec) == (0.25, 0.2, 0.1)
    assert (made.source, made.model, made.image_size, made.precision) == ("tp-one", "resnet50", 224, "bf16")
    assert made.device == "Tesla V100-SXM2-16GB" and not made.has_input


def test_cells_may_be_text():
    assert measured_of({name: str(value) for name, value in ROW.items()}) == measured_of(ROW)


@pytest.mark.parametrize("cell", [None, 0.0])
def test_on_one_rank_there_is_no_communication_time(cell):
    made = measured_of(ROW | {"communication_sec": cell, "data": "dataset", "workers_per_pass": None})
    assert made.communication_sec is None
    assert made.has_input and made.shape.workers_per_pass == 1


def test_a_finished_training_has_the_median_step_of_its_epochs_but_the_first(tmp_path):
    training(tmp_path)
    (made,) = measured_steps(STUDY, tmp_path)
    assert made.step_sec == pytest.approx(0.2)
    assert made.shape == StepShape(1, 2, 4, 16, workers_per_pass=2)
    assert (made.source, made.model, made.image_size, made.precision) == ("mb64", "resnet18", 64, "fp16")
    assert made.device == "AMD EPYC" and made.has_input
    assert made.eval_images_per_sec == pytest.approx(100 / 2 / 0.5)
    assert made.start_up_sec == pytest.approx(30 - 16 - 2)
    assert made.checkpoints == 3  # one at the end of each epoch but the last is in it


@pytest.mark.parametrize("state", ["diverged", "failed"])
def test_trainings_that_did_not_finish_are_left_out(tmp_path, state):
    training(tmp_path, state=state)
    assert measured_steps(STUDY, tmp_path) == []


def test_trainings_that_moved_or_are_too_short_are_left_out(tmp_path):
    places = [{"started": 0.0, "ended": 9.0, "nodes": nodes, "world_size": 2 * nodes} for nodes in (1, 2)]
    training(tmp_path, "moved", attempts=places)
    training(tmp_path, "short", epochs=[(10, 1.0)])
    assert measured_steps(STUDY, tmp_path) == []


def test_jobs_that_never_began_do_not_make_a_placement_mixed(tmp_path):
    lost = {"started": 5.0, "ended": 5.0, "nodes": 8, "world_size": 0}
    attempts = [{"started": 0.0, "ended": 9.0, "nodes": 2, "world_size": 4} for _ in range(2)]
    training(tmp_path, attempts=[attempts[0], lost, attempts[1]])
    (made,) = measured_steps(STUDY, tmp_path)
    assert (made.shape.nodes, made.shape.ranks_per_node) == (2, 2)
    assert made.start_up_sec is None  # of two attempts it is not known which steps were done twice


def test_records_without_later_fields_are_read(tmp_path):
    training(
        tmp_path, attempts=[{"started": 0.0, "ended": 30.0, "world_size": 1}], speed={}, device_name=None, device="cpu"
    )
    (made,) = measured_steps(STUDY, tmp_path)
    assert made.shape == StepShape(1, 1, 4, 16)
    assert made.device == "cpu"


def test_passes_have_the_images_of_a_batchnorm_batch(tmp_path):
    training(tmp_path, of_content={"batchnorm_batch_size": 4})
    measurement, (trained,) = measured_of(ROW | {"batchnorm_batch_size": 8}), measured_steps(STUDY, tmp_path)
    assert measurement.shape == StepShape(2, 6, 96, 8, workers_per_pass=2)
    assert measurement.shape.passes == 4
    assert trained.shape == StepShape(1, 2, 16, 4, workers_per_pass=2)


@pytest.mark.parametrize(
    ("asked", "overlaps"),
    [
        ({}, True),
        ({"compile": "default"}, False),
        ({"cuda_graphs": True}, False),
        ({"zero_stage": 1}, False),
    ],
)
def test_compiled_and_captured_passes_and_zero_do_not_overlap(tmp_path, asked, overlaps):
    speed = {name: asked[name] for name in ("compile", "cuda_graphs") if name in asked}
    training(tmp_path, speed=speed, zero_stage=asked.get("zero_stage", 0))
    (trained,) = measured_steps(STUDY, tmp_path)
    assert (measured_of(ROW | asked).shape.overlaps, trained.shape.overlaps) == (overlaps, overlaps)


@pytest.mark.parametrize(
    ("data", "wait_sec", "is_bound"),
    [
        ("dataset", 0.05, True),
        ("dataset", 0.01, False),
        ("dataset", None, False),
        ("synthetic", 0.05, False),
    ],
)
def test_a_measurement_that_waits_for_a_tenth_of_its_step_is_bound_by_its_images(data, wait_sec, is_bound):
    made = measured_of(ROW | {"data": data, "data_wait_sec": wait_sec})
    step = {"input_sec": 0.25} if is_bound else {"step_sec": 0.25, "alone_sec": 0.2}
    assert made.parts == step | {"communication_sec": 0.1}


@pytest.mark.parametrize(
    ("device", "waits_sec", "part"),
    [
        ("NVIDIA H200", 1.0, "input_sec"),
        ("NVIDIA H200", 0.1, "step_sec"),
        ("AMD EPYC", 1.0, "step_sec"),  # decoded between passes
    ],
)
def test_so_is_a_training_on_gpus(tmp_path, device, waits_sec, part):
    training(tmp_path, waits_sec=waits_sec, device_name=device)
    (made,) = measured_steps(STUDY, tmp_path)
    assert made.parts == pytest.approx({part: 0.2})


def test_rows_of_before_lack_columns():
    later = ("batchnorm_batch_size", "cuda_graphs", "compile", "data_wait_sec")
    made = measured_of({name: value for name, value in ROW.items() if name not in later})
    assert made.shape == StepShape(2, 6, 24, 32, workers_per_pass=2)
