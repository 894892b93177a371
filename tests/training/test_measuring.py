"""Measuring steps: what is timed, what it needs, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from warmscale.cluster.launchers import LaunchPlan
from warmscale.records import MEASURED_COLUMNS, StateFolder, read_json, read_lines, read_rows
from warmscale.study import load_study
from warmscale.study.throughput import Measurement, blocks
from warmscale.training.pack import PACK

from .conftest import CLASSES, SETTINGS, TRAIN_IMAGES, VAL_IMAGES
from .launching import Started, wait_for

STEPS, WARMUP = 4, 1


def small_measurement(*, ranks: int = 1, placement: dict[str, Any] | None = None, **changes: Any) -> Measurement:
    """Four workers of 4 images on ranks of one node."""
    dataset = {"name": "noise", "root": "unused", "num_train_images": TRAIN_IMAGES, "num_val_images": VAL_IMAGES}
    dataset |= {"num_classes": CLASSES, "image_size": 8, "val_resize": 9}
    asked = {"name": "speed", "kind": "throughput", "worker_batch_size": [4], "workers": [4], "ranks_per_node": [ranks]}
    asked |= {"steps": STEPS, "warmup_steps": WARMUP, "repeats": 1}
    study = load_study(
        {
            "study": "lab",
            "dataset": dataset,
            "recipe": {"model": "resnet8"},
            "experiments": [asked | changes],
            "placement": placement or {},
        }
    )
    return next(iter(study.measurements.values()))


class Measured(Started):
    """One measurement in a folder; without a lab there is no data set."""

    def __init__(self, folder, measurement, *, lab=None, **settings):
        self.run = SimpleNamespace(run_id=measurement.measurement_id, content_json=measurement.content_json)
        self.lab, self.settings = lab or folder / "nowhere", SETTINGS | settings
        self.ranks = measurement.where.ranks
        self.state = StateFolder(folder / "state" / measurement.measurement_id)
        self.published = folder / "throughput" / measurement.measurement_id

    def record(self):
        return read_json(self.published / "measurement.json")

    def counts(self):
        """{kind: number of rows}."""
        kinds = [row["kind"] for row in read_rows(self.published / "steps.csv")]
        return {kind: kinds.count(kind) for kind in kinds}


@pytest.mark.parametrize("engine", ["deepspeed", "ddp"])
def test_two_ranks_time_as_many_steps_of_each_kind_as_asked_without_a_data_set(tmp_path, engine):
    measured = Measured(tmp_path, small_measurement(ranks=2), engine=engine)
    done = measured.finish()
    assert done.returncode == 0, done.stderr + measured.log()
    rows, record = read_rows(measured.published / "steps.csv"), measured.record()
    assert measured.counts() == {"step": STEPS, "computation": STEPS, "communication": STEPS}
    assert tuple(rows[0]) == MEASURED_COLUMNS
    turns = [(kind, str(number)) for number in range(1, STEPS + 1) for kind in ("step", "computation")]
    averages = [("communication", str(number)) for number in range(1, STEPS + 1)]
    assert [(row["kind"], row["number"]) for row in rows] == turns + averages
    assert all(float(row["sec"]) > 0 for row in rows)
    assert (record["state"], record["world_size"], record["engine"]) == ("finished", 2, engine)
    assert record["steps_done"] == WARMUP + 2 * (STEPS + 4)
    assert record["gradient_bytes"] == 4 * record["parameters"] > 0
    assert record["all_reduces"] >= 1
    assert json.loads(measured.run.content_json()) == record["content"]
    assert {path.name for path in measured.published.iterdir()} == {"measurement.json", "steps.csv"}
    assert not measured.state.checkpoints.exists()


def test_one_rank_has_nothing_to_communicate(tmp_path):
    measured = Measured(tmp_path, small_measurement())
    assert measured.finish().returncode == 0, measured.log()
    assert measured.counts() == {"step": STEPS, "computation": STEPS}
    assert measured.record()["all_reduces"] == 0


def test_at_zero_stage_1_only_whole_steps_are_timed(tmp_path):
    measured = Measured(tmp_path, small_measurement(ranks=2, placement={"zero_stage": 1}), zero_stage=1)
    assert measured.finish().returncode == 0, measured.log()
    assert measured.counts() == {"step": STEPS}
    assert measured.record()["all_reduces"] is None


def test_synthetic_images_need_no_copy_of_a_pack_on_the_node(tmp_path):
    measured = Measured(tmp_path, small_measurement(), lab=tmp_path)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / PACK).write_text("not even a pack")
    (tmp_path / "disk").mkdir()
    plan = LaunchPlan(python=sys.executable, node_local=str(tmp_path / "disk")).to_json()
    assert measured.finish(plan=json.dumps(plan)).returncode == 0, measured.log()
    assert not list((tmp_path / "disk").iterdir())


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 40, 41])
def test_blocks_have_all_steps_and_none_is_empty(steps):
    assert sum(blocks(steps)) == steps
    assert len(blocks(steps)) == min(4, steps)
    assert max(blocks(steps)) - min(blocks(steps)) <= 1


def test_real_images_come_from_the_loader(tmp_path, lab):
    measured = Measured(tmp_path, small_measurement(data="dataset", steps=30), lab=lab)
    assert measured.finish().returncode == 0, measured.log()  # more steps than an epoch has
    assert measured.counts() == {"step": 30, "computation": 30}


def test_a_batch_that_does_not_fit_is_an_outcome(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "hungry.py").write_text(
        "from torch import nn\n\n\nclass Hungry(nn.Linear):\n"
        "    def forward(self, images):\n        raise MemoryError('too much')\n\n\n"
        "def model(num_classes):\n    return Hungry(3, num_classes)\n"
    )
    measured = Measured(tmp_path, small_measurement(recipe={"model": "hungry:model"}), workers_per_pass=1)
    assert measured.finish().returncode == 0
    record = measured.record()
    assert (record["state"], record["failure_class"]) == ("failed", "out_of_memory")
    assert len(record["attempts"]) == 1
    assert measured.counts() == {}


def test_what_was_measured_is_published_again_not_measured_again(tmp_path):
    measured = Measured(tmp_path, small_measurement())
    assert measured.finish().returncode == 0
    rows = (measured.published / "steps.csv").read_bytes()
    (measured.published / "steps.csv").unlink()
    assert measured.finish().returncode == 0
    assert (measured.published / "steps.csv").read_bytes() == rows
    assert len(measured.record()["attempts"]) == 1


def test_a_request_to_stop_pauses_it_and_nothing_is_kept(tmp_path):
    measured = Measured(tmp_path, small_measurement(ranks=2, steps=100_000))
    process = subprocess.Popen(measured.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(measured.state.progress, process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 75, said + measured.log()
    (attempt,) = read_lines(measured.state.attempts)
    assert (attempt["state"], attempt["failure_class"], attempt["steps_done"]) == ("paused", None, 0)
    assert not measured.published.exists()
    assert not measured.state.steps.exists()
