"""A run that is disturbed and started again ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from warmscale.records import read_json

from .conftest import small_run
from .launching import Started, plan_of, wait_for

EVERY_STEP = {"checkpoint_minutes": 0}


def long_run(**recipe):
    return small_run(epochs=4, decay={"epochs": [2, 3]}, **recipe)


@pytest.mark.parametrize(("ranks", "precision"), [(1, "bf16"), (2, "fp32"), (1, "fp16")])
def test_killed_and_paused_run_ends_bit_identical(tmp_path, lab, ranks, precision):
    run = long_run(precision=precision)
    undisturbed = Started(tmp_path / "undisturbed", lab, run, ranks=ranks)
    assert undisturbed.finish().returncode == 0, undisturbed.log()
    disturbed = Started(tmp_path / "disturbed", lab, run, ranks=ranks, **EVERY_STEP)
    assert disturbed.disturb(signal.SIGKILL, at_step=3) == -signal.SIGKILL
    for ahead in (1, 7, 30, 40):  # written by others that were killed before they published theirs
        torn = disturbed.state.checkpoints / f"step-{disturbed.checkpoint_step() + ahead:09d}"
        torn.mkdir(exist_ok=True)
        (torn / "state.pt").write_bytes(b"half of a checkp")
    assert disturbed.disturb(signal.SIGTERM, at_step=9) == 75
    assert disturbed.finish().returncode == 0, disturbed.log()
    assert disturbed.rows() == undisturbed.rows()
    epochs, _ = disturbed.rows()
    assert [row["epoch"] for row in epochs] == ["1", "2", "3", "4"]
    assert [attempt["state"] for attempt in disturbed.record()["attempts"]] == ["killed", "paused", "finished"]
    assert [attempt["number"] for attempt in disturbed.record()["attempts"]] == [1, 2, 3]
    assert not disturbed.state.checkpoints.exists()


def test_at_stage_0_another_number_of_ranks_resumes_and_is_recorded(tmp_path, lab):
    run = long_run(precision="fp64")
    alone = Started(tmp_path / "alone", lab, run)
    assert alone.finish().returncode == 0, alone.log()
    changed = Started(tmp_path / "changed", lab, run, ranks=2, **EVERY_STEP)
    assert changed.disturb(signal.SIGTERM, at_step=6) == 75
    changed.ranks = 1
    assert changed.finish().returncode == 0, changed.log()
    assert [attempt["world_size"] for attempt in changed.record()["attempts"]] == [2, 1]
    for ours, theirs in zip(changed.rows()[0], alone.rows()[0], strict=True):
        assert float(ours["train_loss"]) == pytest.approx(float(theirs["train_loss"]), rel=1e-7)


@pytest.mark.parametrize("engines", [("deepspeed", "ddp"), ("ddp", "deepspeed")])
def test_a_checkpoint_of_one_engine_is_resumed_by_the_other_bit_by_bit(tmp_path, lab, engines):
    run = long_run()
    undisturbed = Started(tmp_path / "undisturbed", lab, run, engine=engines[1])
    assert undisturbed.finish().returncode == 0, undisturbed.log()
    changed = Started(tmp_path / "changed", lab, run, engine=engines[0], **EVERY_STEP)
    assert changed.disturb(signal.SIGTERM, at_step=6) == 75
    changed.settings["engine"] = engines[1]
    assert changed.finish().returncode == 0, changed.log()
    assert changed.rows() == undisturbed.rows()
    assert changed.record()["engine"] == engines[1]


def test_at_stage_1_another_number_of_ranks_is_refused(tmp_path, lab):
    started = Started(tmp_path, lab, long_run(), ranks=2, zero_stage=1, **EVERY_STEP)
    assert started.disturb(signal.SIGTERM, at_step=6) == 75
    refused = started.finish(plan=plan_of(1))
    assert refused.returncode == 0
    assert started.record()["state"] == "failed"
    assert started.record()["failure_class"] == "config"
    assert "of 2 ranks at ZeRO stage 1 and cannot be resumed on 1 ranks at stage 1" in started.record()["failure"]
    assert started.finish().returncode == 0
    assert started.record()["state"] == "finished", started.log()


def test_state_of_another_content_is_refused(tmp_path, lab):
    started = Started(tmp_path, lab, small_run())
    assert started.finish().returncode == 0, started.log()
    refused = started.finish(content=small_run(seed=2).content_json())
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "holds the training of another content" in refused.stderr


def test_a_run_with_an_outcome_is_published_again_without_training(tmp_path, lab):
    started = Started(tmp_path, lab, small_run(), keep_weights=True)
    assert started.finish().returncode == 0, started.log()
    first = [(path.name, path.read_bytes()) for path in sorted(started.published.iterdir())]
    assert (started.state.checkpoints / "latest.json").exists()
    for path in started.published.iterdir():
        path.unlink()
    assert started.finish().returncode == 0
    assert [(path.name, path.read_bytes()) for path in sorted(started.published.iterdir())] == first
    assert len(started.record()["attempts"]) == 1


@pytest.mark.parametrize("after_sec", [0.0, 0.4, 1.5])
def test_a_run_that_is_stopped_while_it_starts_is_paused_and_not_failed(tmp_path, lab, after_sec):
    started = Started(tmp_path, lab, small_run())
    process = subprocess.Popen(started.command(), start_new_session=True, stderr=subprocess.PIPE, text=True)
    wait_for(started.state.attempt, process)
    time.sleep(after_sec)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal: the launcher and all ranks
    assert f"{started.run.run_id}: paused at step" in process.communicate(timeout=60)[1]
    assert process.returncode == 75
    assert not started.published.exists()
    assert started.finish().returncode == 0
    assert [attempt["state"] for attempt in started.record()["attempts"]] == ["paused", "finished"]


@pytest.mark.parametrize("after_sec", [0.0, 0.7])
def test_no_rank_outlives_a_launcher_that_is_killed_while_it_starts(tmp_path, lab, after_sec):
    started = Started(tmp_path, lab, small_run(), ranks=2)
    process = subprocess.Popen(started.command())
    wait_for(started.state.log(1), process)
    time.sleep(after_sec)
    process.kill()
    process.wait()
    time.sleep(0.3)
    running = subprocess.run(["pgrep", "-f", str(started.state.path)], capture_output=True, text=True, check=False)
    assert running.stdout == ""


def test_the_only_checkpoint_of_a_run_that_keeps_its_weights_is_never_lost(tmp_path, lab):
    started = Started(tmp_path, lab, small_run(), keep_weights=True)
    assert started.finish().returncode == 0
    kept = {path: path.read_bytes() for path in started.state.checkpoints.rglob("*") if path.is_file()}
    started.state.outcome.unlink()  # killed between the last checkpoint and the outcome
    assert started.finish().returncode == 0
    assert started.record()["state"] == "finished"
    assert {path: path.read_bytes() for path in started.state.checkpoints.rglob("*") if path.is_file()} == kept


def test_a_second_copy_waits_for_the_first_one_and_trains_nothing(tmp_path, lab):
    started = Started(tmp_path, lab, small_run())
    first = subprocess.Popen(started.command(), stderr=subprocess.DEVNULL)
    wait_for(started.state.attempt, first)
    second = started.finish()
    assert first.wait(60) == second.returncode == 0
    assert [attempt["state"] for attempt in started.record()["attempts"]] == ["finished"]


def test_a_second_copy_in_a_job_leaves_at_once_and_touches_nothing(tmp_path, lab, monkeypatch):
    started = Started(tmp_path, lab, small_run())
    first = subprocess.Popen(started.command(), stderr=subprocess.DEVNULL)
    wait_for(started.state.attempt, first)
    before = read_json(started.state.attempt)
    monkeypatch.setenv("LSB_JOBID", "12")
    second = started.finish()
    assert second.returncode == 73
    assert f"duplicate: another copy trains it, held by process {first.pid} on" in second.stderr
    assert before == read_json(started.state.attempt)
    assert first.wait(60) == 0
    assert len(started.record()["attempts"]) == 1
