"""Checkpoints are written in the background, and are of the moment at which they were asked for."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from warmscale.cluster.discovery import Rank
from warmscale.training.batchnorm import RunningStatistics
from warmscale.training.checkpoint import Checkpoints
from warmscale.training.engine import Plan, make_engine
from warmscale.training.model import build_model

ALONE = Rank(0, 1, 0)
PLAN = Plan(4, 4, 1, 0.0, "fp32", 0, torch.device("cpu"))


@pytest.fixture
def parts(only_rank):
    """An engine with momenta, and the statistics of its model."""
    model = build_model("resnet8", num_classes=5, zero_init_residual=False, init_seed=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    engine = make_engine("ddp", model, optimizer, PLAN)
    train(engine)
    return engine, RunningStatistics(model)


def train(engine) -> None:
    """One step."""
    engine.backward(engine.forward(torch.rand(4, 3, 8, 8)).sum())
    engine.end_micro_batch()


def numbers(engine) -> torch.Tensor:
    """Parameters, statistics and momenta in one vector."""
    momenta = [state["momentum_buffer"] for state in engine.optimizer.state.values()]
    return torch.cat([each.flatten().double() for each in (*engine.model.state_dict().values(), *momenta)])


@pytest.fixture
def disk(monkeypatch):
    """A disk that takes nothing until it is told to go on."""
    go_on, save = threading.Event(), torch.save

    def save_then(*words) -> None:
        assert go_on.wait(60)
        save(*words)

    monkeypatch.setattr(torch, "save", save_then)
    yield go_on
    go_on.set()


def test_a_checkpoint_is_of_the_step_at_which_it_was_taken_though_training_goes_on(tmp_path, parts, disk):
    checkpoints, before = Checkpoints(tmp_path), numbers(parts[0])
    checkpoints.save(*parts, ALONE, step=1, zero_stage=0, notes={"seen": 4})
    train(parts[0])
    assert not torch.equal(numbers(parts[0]), before)
    disk.set()
    checkpoints.wait()
    assert Checkpoints(tmp_path).load(*parts, ALONE, zero_stage=0)["seen"] == 4
    assert torch.equal(numbers(parts[0]), before)


@pytest.fixture
def failing(tmp_path, parts):
    """Checkpoints of which one was saved where it cannot be written."""
    folder = tmp_path / "checkpoints"
    folder.write_text("no folder")
    checkpoints = Checkpoints(folder)
    checkpoints.save(*parts, ALONE, step=1, zero_stage=0, notes={})
    return checkpoints


def test_a_checkpoint_that_cannot_be_written_is_told_of_and_not_published(failing):
    with pytest.raises(OSError, match="checkpoints"):
        failing.wait()


def test_a_checkpoint_that_could_not_be_written_is_told_of_before_the_next_one(failing):
    with pytest.raises(OSError, match="checkpoints"):
        for _ in range(600):
            failing.collect()
            time.sleep(0.1)


def test_looking_whether_a_checkpoint_is_written_does_not_wait_for_it(tmp_path, parts, disk):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(*parts, ALONE, step=1, zero_stage=0, notes={})
    checkpoints.collect()
    assert checkpoints.latest() is None


def test_the_longest_write_is_known_while_it_is_under_way_and_afterwards(tmp_path, parts, disk):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.longest_write_sec == 0.0
    checkpoints.save(*parts, ALONE, step=1, zero_stage=0, notes={})
    time.sleep(0.2)
    under_way = checkpoints.longest_write_sec
    disk.set()
    checkpoints.wait()
    longest = checkpoints.longest_write_sec
    assert longest >= under_way >= 0.2
    checkpoints.save(*parts, ALONE, step=2, zero_stage=0, notes={})
    checkpoints.wait()
    assert checkpoints.longest_write_sec >= longest


def test_a_copy_that_lost_its_lease_removes_nothing_of_the_copy_that_has_it(tmp_path, parts):
    def lost() -> None:
        raise RuntimeError("lease lost")

    others = tmp_path / "step-000000001" / "state.pt"
    others.parent.mkdir()
    others.write_text("another copy's")
    checkpoints = Checkpoints(tmp_path, lost)
    checkpoints.save(*parts, ALONE, step=1, zero_stage=0, notes={})
    with pytest.raises(RuntimeError, match="lease lost"):
        checkpoints.wait()
    assert others.read_text() == "another copy's"


def test_a_copy_that_lost_its_lease_while_it_wrote_publishes_nothing(tmp_path, parts):
    def lost() -> None:
        raise RuntimeError("lease lost")

    checkpoints = Checkpoints(tmp_path, lost)
    checkpoints.save(*parts, ALONE, step=1, zero_stage=0, notes={})
    with pytest.raises(RuntimeError, match="lease lost"):
        checkpoints.save(*parts, ALONE, step=2, zero_stage=0, notes={})
    assert checkpoints.latest() is None


def test_the_newest_checkpoint_and_its_predecessor_are_kept(tmp_path, parts):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(*parts, ALONE, step=step, zero_stage=0, notes={})
    checkpoints.wait()
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-000000002", "step-000000003"]
    assert checkpoints.latest()["tag"] == "step-000000003"
