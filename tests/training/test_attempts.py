"""What is recorded of an attempt, for each way in which its processes can end."""

from __future__ import annotations

import subprocess
import time

import pytest

from warmscale.records import StateFolder, read_json, read_lines, write_json
from warmscale.training import attempts, processes
from warmscale.training.attempts import Exit

CONTENT = {"mini_batch_size": 80, "workers": 20}
SETTINGS = {"loader_threads": 0}


@pytest.fixture
def state(tmp_path):
    folder = StateFolder(tmp_path / "state" / "run")
    write_json(folder.content, CONTENT)
    return folder


def begin(state, *, deadline=None):
    return attempts.begin(state, nodes=2, ranks=4, deadline=deadline, lease=state.lease / "000001.json")


def end(state, attempt, **exited):
    given = {
        "codes": [1],
        "died": {},
        "stop_requested": False,
        "timed_out": False,
        "lacked_memory": False,
        "lost_host": None,
        "last_words": "nothing was said",
    }
    return attempts.end(state, attempt, Exit(**(given | exited)), SETTINGS)


def checkpoint(state, step):
    write_json(state.checkpoints / "latest.json", {"step": step})


def test_the_host_whose_part_of_a_launcher_fails_first_is_at_fault(state, monkeypatch):
    monkeypatch.setenv("LSB_HOSTS", "n1 n2")
    record = end(state, begin(state), lost_host="n2", last_words="ssh: connect to host n2: No route to host")
    assert (record["failure_class"], record["lost_host"]) == ("node", "n2")
    assert record["failure"] == "what was started on n2 ended first: ssh: connect to host n2: No route to host"


def test_of_several_processes_the_one_that_fails_first_is_known(tmp_path):
    def first(*commands):
        started = [subprocess.Popen(["sh", "-c", command]) for command in commands]
        return processes._wait(started, None, tmp_path / "failure.json", 5.0)[2]

    assert first("sleep 0.6; exit 1", "exit 3") == 1
    assert first("exit 0", "sleep 0.3; exit 3") == 1
    assert first("exit 75", "exit 0") is None


def test_an_attempt_that_goes_on_can_be_read_by_others(state, monkeypatch):
    monkeypatch.setenv("LSB_JOBID", "77")
    attempt = begin(state)
    assert read_json(state.attempt) == attempt
    assert (attempt["number"], attempt["job_id"], attempt["nodes"], attempt["world_size"]) == (1, "77", 2, 4)


def test_an_outcome_is_an_end_whatever_the_exit_codes_are(state):
    attempt = begin(state)
    write_json(state.outcome, {"state": "finished", "steps_done": 8})
    record = end(state, attempt, codes=[1, -9])
    assert (record["state"], record["failure_class"], record["steps_done"]) == ("finished", None, 8)
    assert not state.attempt.exists()


@pytest.mark.parametrize(
    ("failure_class", "state_after"),
    [("audit", "failed"), ("data", "failed"), ("config", "failed"), ("bug", "failed"), ("communication", "paused")],
)
def test_the_reason_that_a_rank_left_decides(state, failure_class, state_after):
    attempt = begin(state)
    write_json(state.failure, {"failure_class": failure_class, "failure": "because", "rank": 3})
    record = end(state, attempt)
    assert (record["state"], record["failure_class"], record["rank"]) == (state_after, failure_class, 3)


def test_a_rank_that_was_killed_explains_what_the_others_say(state):
    attempt = begin(state)
    write_json(state.failure, {"failure_class": "communication", "failure": "connection closed", "rank": 0})
    record = end(state, attempt, died={2: 9}, codes=[1, 1, -9, 1])
    assert (record["failure_class"], record["failure"], record["rank"]) == ("node", "killed: rank 2 by SIGKILL", 2)


def test_a_rank_that_a_request_to_stop_met_before_it_could_hear_was_not_killed(state):
    record = end(state, begin(state), died={0: 15}, codes=[-15], stop_requested=True)
    assert (record["state"], record["failure_class"]) == ("paused", None)


def test_what_a_rank_knows_of_its_memory_is_kept_when_it_is_killed_afterwards(state):
    attempt = begin(state)
    advice = [{"what": "worker_batch_size: 2", "changes_result": True, "fits": True, "peak_mib": 9.0}]
    reason = {"failure_class": "out_of_memory", "failure": "peak", "rank": 1, "advice": advice, "trying": True}
    write_json(state.failure, reason)
    record = end(state, attempt, died={1: 11})
    assert (record["state"], record["failure"], record["rank"], record["advice"]) == ("failed", "peak", 1, advice)
    assert "trying" not in record


def test_what_the_kernel_killed_for_memory_is_not_tried_again(state):
    record = end(state, begin(state), died={0: 9}, lacked_memory=True)
    assert (record["state"], record["failure_class"], record["rank"]) == ("failed", "out_of_memory", 0)
    assert all("what" in advice for advice in record["advice"])


def test_a_kill_for_memory_says_how_many_images_a_pass_of_several_workers_had(state):
    write_json(state.environment, {"speed": {"workers_per_pass": 5}})
    record = end(state, begin(state), died={0: 9}, lacked_memory=True)
    assert record["failure"] == "rank 0 killed by the kernel for want of memory with 20 images a forward pass"
    assert "placement.workers_per_pass: 1 (now 5)" in [advice["what"] for advice in record["advice"]]


def test_a_launcher_without_a_reason_is_quoted(state):
    record = end(state, begin(state), codes=[127], last_words="bash: module: command not found")
    assert record["failure_class"] == "unknown"
    assert record["failure"] == "ended with exit codes [127]: bash: module: command not found"


def test_a_pause_by_the_own_clock_is_a_walltime(state):
    attempt = begin(state, deadline=time.time() + 1000)
    write_json(state.progress, {"state": "paused", "time": 0})
    assert end(state, attempt, codes=[75])["failure_class"] == "walltime"


def test_a_pause_on_request_has_no_class(state):
    attempt = begin(state, deadline=time.time() + 1000)
    write_json(state.progress, {"state": "paused", "time": 0})
    record = end(state, attempt, codes=[75], stop_requested=True)
    assert (record["state"], record["failure_class"]) == ("paused", None)


def test_a_pause_that_the_scheduler_asked_for_at_the_walltime_is_one(state):
    attempt = begin(state, deadline=time.time() + 10)
    write_json(state.progress, {"state": "paused", "time": 0})
    assert end(state, attempt, stop_requested=True)["failure_class"] == "walltime"


def test_the_pause_of_the_last_attempt_is_not_taken_for_this_one(state):
    write_json(state.progress, {"state": "paused", "time": 0, "step": 5})
    record = end(state, begin(state), codes=[1])
    assert record["failure_class"] == "unknown"
    assert read_json(state.progress)["step"] == 5


def test_ranks_that_do_not_pause_in_time_are_a_walltime(state):
    record = end(state, begin(state, deadline=time.time()), codes=[-9], timed_out=True)
    assert record["failure_class"] == "walltime"
    assert "did not pause in time" in record["failure"]


def test_a_lost_attempt_ended_when_it_was_last_heard_of(state):
    attempt = begin(state)
    heard = attempt["started"] + 40
    write_json(state.progress, {"state": "running", "time": heard})
    checkpoint(state, 3)
    record = attempts.record_lost(state)
    assert (record["state"], record["failure_class"], record["steps_done"]) == ("killed", "node", 3)
    assert record["ended"] == heard
    assert attempts.record_lost(state) is None
    assert len(read_lines(state.attempts)) == 1


@pytest.mark.parametrize(
    ("told", "failure_class"),
    [("TERM_RUNLIMIT", "walltime"), ("TERM_MEMLIMIT", "out_of_memory"), ("NODE_FAIL", "node"), ("TIMEOUT", "walltime")],
)
def test_the_scheduler_knows_why_a_parent_was_killed(state, monkeypatch, told, failure_class):
    monkeypatch.setenv("LSB_JOBID", "77")
    begin(state)
    write_json(state.job, {"job_id": "78", "ended_by": {"77": told}})
    assert attempts.record_lost(state)["failure_class"] == failure_class


def test_what_another_job_was_ended_by_tells_nothing(state, monkeypatch):
    monkeypatch.setenv("LSB_JOBID", "77")
    begin(state)
    write_json(state.job, {"job_id": "77", "ended_by": {"76": "TERM_MEMLIMIT"}})
    assert attempts.record_lost(state)["failure_class"] == "node"


def test_two_jobs_in_which_nothing_began_are_a_failure(state):
    first, second = (
        attempts.record_unstarted(state, job=job, node="h", nodes=1, failure_class="node", failure="no python")
        for job in ("1", "2")
    )
    assert (first["state"], second["state"]) == ("killed", "failed")
    assert second["failure"] == "two attempts in a row added no step: no python"


def test_a_second_attempt_without_a_step_is_the_last_one(state):
    checkpoint(state, 4)
    assert end(state, begin(state))["state"] == "paused"
    assert end(state, begin(state))["state"] == "failed"
