"""The trainer's own clock."""

from __future__ import annotations

import json
import sys
import time

import pytest

from warmscale.cluster.launchers import LaunchPlan
from warmscale.records import StateFolder, append_line
from warmscale.training import deadline
from warmscale.training.deadline import Deadline
from warmscale.training.launch import Launch

from .conftest import small_run
from .launching import Started


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [1000.0]
    monkeypatch.setattr(deadline.time, "time", lambda: now[0])
    return now


def test_without_a_walltime_it_is_never_near(clock):
    never = Deadline()
    clock[0] = 1e12
    assert not never.is_near()


def test_twice_the_longest_way_from_step_to_step_is_kept_free(clock):
    ends = Deadline(at=1100.0)
    near = []
    for now in (1000, 1010, 1015, 1079, 1080):  # the longest way is that from 1015 to 1079: a validation
        clock[0] = float(now)
        near.append(ends.is_near())
    assert near == [False, False, False, True, True]


def test_time_is_kept_for_the_write_of_a_checkpoint_that_is_under_way_and_for_the_pauses(clock):
    ends = Deadline(at=1100.0, write_sec=15.0)
    near = []
    for now in (1000, 1010, 1020, 1030, 1040, 1049, 1050):  # two steps of 10 and two writes of 15
        clock[0] = float(now)
        near.append(ends.is_near())
    assert near == [False] * 6 + [True]


def test_a_deadline_that_has_passed_is_near_at_the_first_step(clock):
    assert Deadline(at=999.0).is_near()


def test_a_run_that_needs_many_walltimes_completes_without_a_hand(tmp_path, lab, monkeypatch):
    """Each walltime is over before the first step: one step an attempt, and the same bits as in one go."""
    once = Started(tmp_path / "once", lab, small_run())
    assert once.finish().returncode == 0, once.log()
    often = Started(tmp_path / "often", lab, small_run())
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 1000))
    codes = [often.finish(**{"margin-sec": 1000}).returncode for _ in range(8)]
    assert codes == [75] * 7 + [0]
    assert often.rows() == once.rows()
    classes = [attempt["failure_class"] for attempt in often.record()["attempts"]]
    assert classes == ["walltime"] * 7 + [None]


def test_ranks_that_do_not_pause_in_time_are_killed_before_the_scheduler_does(tmp_path, lab, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 8))
    setup = ("trap '' TERM", "sleep 60")
    plan = json.dumps(LaunchPlan(setup=setup, python=sys.executable).to_json())
    started = Started(tmp_path, lab, small_run())
    began = time.monotonic()
    done = started.finish(plan=plan, **{"margin-sec": 8})
    assert time.monotonic() - began < 30
    assert done.returncode == 75
    assert "walltime: the ranks did not pause in time, and were killed" in done.stderr


def test_after_an_attempt_that_lost_its_work_to_the_walltime_the_next_one_stops_earlier(tmp_path):
    """Its validation took longer than the margin: to do the same again would give a healthy run up."""
    state = StateFolder(tmp_path)
    launch = Launch("run", {}, state, tmp_path, tmp_path, tmp_path, LaunchPlan(), {}, time.time() + 10_000, 100)
    lost = {"failure_class": "walltime", "state": "paused", "steps_before": 5, "steps_done": 5}
    margins = [launch.margin]
    for _ in range(3):
        append_line(state.attempts, lost)
        margins.append(round(launch.margin))
    assert margins == [100, 400, 1600, 5000]  # at most half of what is left
    append_line(state.attempts, lost | {"steps_done": 6})
    assert launch.margin == 100
