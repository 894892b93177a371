"""Ranks that a launcher starts train what ranks that are started here do."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from warmscale.cluster.launchers import LaunchPlan
from warmscale.records import read_json

from .conftest import small_run
from .launching import Started


def launched(launcher: str) -> str:
    return json.dumps(
        LaunchPlan(launcher=launcher, ranks_per_node=2, cores_per_node=2, python=sys.executable).to_json()
    )


@pytest.mark.skipif(not shutil.which("mpirun"), reason="needs mpirun: apt-get install openmpi-bin")
def test_mpirun_trains_bit_for_bit_what_two_processes_do(tmp_path, lab):
    here = Started(tmp_path / "here", lab, small_run(), ranks=2)
    assert here.finish().returncode == 0, here.log()
    there = Started(tmp_path / "there", lab, small_run())
    done = there.finish(plan=launched("mpirun"))
    assert done.returncode == 0, done.stderr + there.log() + there.state.launcher_log.read_text()
    assert there.record()["world_size"] == 2
    assert there.rows() == here.rows()


def test_a_launcher_that_is_not_there_fails_the_run_in_one_line(tmp_path, lab, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    started = Started(tmp_path, lab, small_run())
    done = started.finish(plan=launched("jsrun"))
    assert done.returncode == 0
    record = started.record()
    assert (record["state"], record["failure_class"]) == ("failed", "config")
    assert record["failure"].startswith("jsrun is not on the PATH of ")
    assert read_json(started.state.attempt) is None
