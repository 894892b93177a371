"""Ranks that a launcher starts train what ranks that are started here do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys

import pytest

from warmscale.cluster.launchers import LaunchPlan
from warmscale.records import read_json, read_lines

from .conftest import small_run
from .launching import Started


def launched(launcher: str) -> str:
    return json.dumps(
        LaunchPlan(launcher=launcher, ranks_per_node=2, cores_per_node=2, python=sys.executable).to_json()
    )


needs_mpirun = pytest.mark.skipif(not shutil.which("mpirun"), reason="needs mpirun: apt-get install openmpi-bin")
DISK = """
import os, threading, time
fsync = os.fsync
def beside_training(handle):
    if threading.current_thread() is not threading.main_thread():
        {does}
    fsync(handle)
os.fsync = beside_training
"""


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """Lets the disk of ranks do something when a checkpoint is written in the background."""

    def does(what: str) -> None:
        (tmp_path / "disk").mkdir(exist_ok=True)
        (tmp_path / "disk/sitecustomize.py").write_text(DISK.format(does=what))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "disk"), prepend=os.pathsep)

    return does


@needs_mpirun
def test_mpirun_trains_bit_for_bit_what_two_processes_do(tmp_path, lab):
    here = Started(tmp_path / "here", lab, small_run(), ranks=2)
    assert here.finish().returncode == 0, here.log()
    there = Started(tmp_path / "there", lab, small_run())
    done = there.finish(plan=launched("mpirun"))
    assert done.returncode == 0, done.stderr + there.log() + there.state.launcher_log.read_text()
    assert there.record()["world_size"] == 2
    assert there.rows() == here.rows()


@needs_mpirun
def test_a_pause_waits_for_the_first_ranks_disk_though_a_launcher_kills_what_is_left(tmp_path, lab, disk):
    disk("time.sleep(1.5)")
    started = Started(tmp_path, lab, small_run(), checkpoint_minutes=0)
    assert started.disturb(signal.SIGTERM, at_step=1, plan=launched("mpirun")) == 75
    (attempt,) = read_lines(started.state.attempts)
    assert (attempt["state"], attempt["failure_class"]) == ("paused", None)
    assert attempt["steps_done"] == started.checkpoint_step() == read_json(started.state.progress)["step"] > 1


@pytest.mark.parametrize("launcher", ["local", pytest.param("mpirun", marks=needs_mpirun)])
def test_a_first_rank_that_cannot_write_ends_the_others_and_says_why(tmp_path, lab, disk, launcher):
    disk("raise OSError(28, 'No space left on device')")
    started = Started(tmp_path, lab, small_run(), keep_weights=True, checkpoint_minutes=1000)  # only at the end
    assert started.finish(plan=launched(launcher)).returncode == 75
    (attempt,) = read_lines(started.state.attempts)
    assert (attempt["rank"], attempt["steps_done"]) == (0, 0)
    assert "No space left on device" in attempt["failure"]


def test_a_launcher_that_is_not_there_fails_the_run_in_one_line(tmp_path, lab, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    started = Started(tmp_path, lab, small_run())
    done = started.finish(plan=launched("jsrun"))
    assert done.returncode == 0
    record = started.record()
    assert (record["state"], record["failure_class"]) == ("failed", "config")
    assert record["failure"].startswith("jsrun is not on the PATH of ")
    assert read_json(started.state.attempt) is None
