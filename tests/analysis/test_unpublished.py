"""What tables and pages say of a run that has published nothing."""

from __future__ import annotations

import os
import socket
import time

import pytest

from warmscale.analysis.unpublished import unpublished_run
from warmscale.records import EPOCH_COLUMNS, StateFolder, append_line, append_rows, write_json

RUN = "mb64-w2-lr0.2-up0-s1-01721f9c4402"
LOST_SEC = 1000.0


@pytest.fixture
def state(tmp_path) -> StateFolder:
    return StateFolder(tmp_path / "state" / RUN)


def standing(state: StateFolder) -> tuple:
    """State, class and how it stands, of the run whose state folder this is."""
    record = unpublished_run(state.path.parents[1], RUN, time.time())
    return record["state"], record["failure_class"], record["failure"]


def ended(state: StateFolder, how: str, **changed: object) -> None:
    number = len(state.attempts.read_text().splitlines()) + 1 if state.attempts.exists() else 1
    attempt = {"number": number, "started": 100.0, "ended": 200.0, "host": "node1", "steps_done": 20, "state": how}
    append_line(state.attempts, {"failure_class": None, "failure": None, "rank": None, **attempt, **changed})


def going_on(state: StateFolder, silent_sec: float = 0.0, **changed: object) -> None:
    """An attempt without an end, whose lease beat so long ago."""
    write_json(state.attempt, {"number": 1, "started": time.time() - 60, "host": "node1", "steps_before": 0})
    write_json(state.progress, {"step": 7, "total_steps": 1600, "epoch": 1, "time": time.time(), "state": "running"})
    beat = state.lease / "000001.json"
    write_json(beat, {"host": "node1", "pid": 1, **changed})
    os.utime(beat, (time.time() - silent_sec,) * 2)


def test_without_a_state_folder_it_was_never_started(state):
    assert standing(state) == ("pending", None, "never started")


def test_a_job_without_an_attempt_is_named(state):
    write_json(state.job, {"scheduler": "lsf", "job_id": "4711", "submitted": time.time(), "log": "logs/4711.out"})
    assert standing(state) == ("pending", None, "submitted as job 4711, never started")
    assert unpublished_run(state.path.parents[1], RUN, time.time())["job"]["log"] == "logs/4711.out"


def test_an_attempt_with_a_fresh_heartbeat_is_running(state):
    going_on(state)
    assert standing(state) == ("running", None, "at step 7 of 1,600")


def test_an_attempt_without_a_heartbeat_is_paused_until_the_same_command_resumes_it(state):
    going_on(state, LOST_SEC)
    name, failure_class, text = standing(state)
    assert (name, failure_class) == ("paused", None)
    assert text.startswith("no sign of life for 10")


def test_an_attempt_whose_process_is_gone_from_this_host_was_killed_however_fresh_its_heartbeat(state):
    going_on(state, host=socket.gethostname(), pid=2**22 + 1)
    assert standing(state) == ("paused", None, "was killed, at step 7 of 1,600")


def test_an_attempt_whose_process_is_on_this_host_is_running(state):
    going_on(state, host=socket.gethostname(), pid=os.getpid())
    assert standing(state)[0] == "running"


@pytest.mark.parametrize(
    ("how", "changed", "expected"),
    [
        ("failed", {"failure_class": "data", "failure": "x.JPEG"}, ("failed", "data", "x.JPEG")),
        ("failed", {}, ("failed", None, "no message")),
        ("paused", {"failure_class": "walltime"}, ("paused", "walltime", "stopped, at step 20")),
        ("paused", {"failure_class": "node", "failure": "gone"}, ("paused", "node", "gone, at step 20")),
        ("killed", {}, ("paused", None, "killed, at step 20")),
        ("finished", {}, ("pending", None, "finished, not published yet")),
    ],
)
def test_the_last_attempt_says_how_it_stands(state, how, changed, expected):
    ended(state, "paused", failure_class="node", failure="an older reason")
    ended(state, how, **changed)
    assert standing(state) == expected


def test_all_attempts_and_whole_epochs_are_counted(state):
    ended(state, "paused")
    going_on(state)
    write_json(state.attempt, {"number": 2, "started": time.time() - 60, "host": "node1", "steps_before": 20})
    append_rows(state.epochs, [{"run_id": RUN, "epoch": epoch} for epoch in (1, 2)], EPOCH_COLUMNS)
    record = unpublished_run(state.path.parents[1], RUN, time.time())
    assert [attempt["state"] for attempt in record["attempts"]] == ["paused", "running"]
    assert record["epochs_done"] == 2
