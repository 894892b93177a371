"""What the master does for a run around its batch job."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from warmscale.cluster.placement import Where
from warmscale.cluster.settle import RunJob, Settled
from warmscale.cluster.tasks import Task, task_left
from warmscale.lease import acquire
from warmscale.records import StateFolder, append_line, read_json, read_lines, write_json
from warmscale.training import attempts

EXIT_CODE = Path(__file__).parents[2] / "workflow/scripts/exit_code.py"


@pytest.fixture
def run(tmp_path):
    state = StateFolder(tmp_path / "state" / "run")
    write_json(state.content, {"mini_batch_size": 8})
    task = Task(
        "run", '{"mini_batch_size":8}', str(tmp_path), "index.tsv", "--root data", "--margin-sec 1", 1, {"nodes": 1}
    )
    return RunJob("tiny", state, tmp_path / "runs" / "run", Where(1, 1), task)


def attempted(run, job_id, **fields):
    record = {
        "number": 1,
        "started": 0.0,
        "ended": 1.0,
        "nodes": 1,
        "job_id": job_id,
        "node": "h1",
        "state": "paused",
        "failure_class": "walltime",
        "failure": None,
        "steps_before": 0,
        "steps_done": 5,
    }
    append_line(run.state.attempts, record | fields)


def test_a_job_is_remembered_for_its_scheduler_alone(run):
    run.remember("lsf", "12", "/a/log")
    assert run.remembered("lsf")["job_id"] == "12"
    assert run.remembered("slurm") is None


def test_a_measurement_is_published_with_its_own_two_files(run):
    content = json.dumps({"mini_batch_size": 8, "throughput": {"steps": 4}})
    measured = replace(run, published=run.published.parent / "tp", task=replace(run.task, content=content))
    assert not measured.is_published()
    attempted(measured, "12")
    write_json(measured.state.outcome, {"state": "finished", "steps_done": 9})
    assert measured.settle("12", "why") is Settled.PUBLISHED
    assert {path.name for path in measured.published.iterdir()} == {"measurement.json", "steps.csv"}
    assert measured.is_published()


def test_why_the_scheduler_ended_a_job_is_noted(run):
    run.remember("lsf", "12", "/a/log")
    run.note_end("12", "TERM_MEMLIMIT")
    run.remember("lsf", "13", "/a/log")
    assert read_json(run.state.job)["ended_by"] == {"12": "TERM_MEMLIMIT"}  # for the parent in job 13 to read


def test_a_job_that_waits_is_told_other_settings_but_not_of_another_place(run):
    run.correct_task()
    assert not run.state.task.exists()  # an earlier version submitted it
    run.leave_task()
    for task, told in (
        (other := replace(run.task, trainer="--settings {}"), other),
        (replace(run.task, job={"nodes": 2}), other),
    ):
        replace(run, task=task).correct_task()
        assert task_left(run.state.task) == told
    run.state.task.write_text("{")
    run.correct_task()
    assert run.state.task.read_text() == "{"  # it finds out by itself


def test_a_job_that_left_an_attempt_is_left_to_the_next_one(run):
    attempted(run, "12")
    assert run.settle("12", "unused") is Settled.AGAIN
    assert len(read_lines(run.state.attempts)) == 1
    assert run.standing() == "paused at step 5 (walltime), goes on"


def test_a_run_with_an_outcome_is_published_from_here(run):
    attempted(run, "12", state="finished", failure_class=None)
    outcome = {"state": "finished", "diverged_step": None, "epochs_done": 1, "steps_done": 5, "images_seen": 40}
    write_json(run.state.outcome, outcome)
    assert run.settle("12", "unused") is Settled.PUBLISHED
    assert run.is_published()
    assert read_json(run.published / "run.json")["state"] == "finished"


def test_two_jobs_in_which_nothing_began_publish_a_failure(run):
    assert run.settle("12", "job 12 ended before the trainer started: no python") is Settled.AGAIN
    assert run.standing() == "job 12 ended before the trainer started: no python; it is tried again"
    assert run.settle("13", "job 13 ended before the trainer started: no python") is Settled.PUBLISHED
    record = read_json(run.published / "run.json")
    assert (record["state"], record["failure_class"]) == ("failed", "node")
    assert "job 13 ended before the trainer started: no python" in record["failure"]


def test_a_run_that_another_copy_trains_is_left_alone(run):
    with acquire(run.state.lease, {}):
        assert run.settle("12", "unused") is Settled.HELD
        assert run.refuse("bsub: no") is Settled.HELD
        assert run.is_held()
    assert not run.is_held()
    assert read_lines(run.state.attempts) == []


def test_a_refused_run_is_published_with_the_reason(run):
    run.refuse("bsub: nowhere: No such queue")
    record = read_json(run.published / "run.json")
    assert (record["failure_class"], record["failure"]) == ("config", "bsub: nowhere: No such queue")


def test_a_run_that_was_given_up_but_not_published_is_published_and_not_tried_again(run):
    attempted(run, "12", state="failed", failure_class="out_of_memory", failure="peak")
    assert run.settle("12", "unused") is Settled.PUBLISHED
    assert read_json(run.published / "run.json")["failure_class"] == "out_of_memory"


def test_records_of_an_earlier_version_are_published(run):
    old = {"number": 1, "started": 0.0, "ended": 36.0, "host": "h", "world_size": 1, "steps_before": 0}
    append_line(
        run.state.attempts, old | {"steps_done": 5, "state": "finished", "failure_class": None, "failure": None}
    )
    outcome = {"state": "finished", "diverged_step": None, "epochs_done": 1, "steps_done": 5, "images_seen": 40}
    write_json(run.state.outcome, outcome)
    assert run.settle("12", "unused") is Settled.PUBLISHED
    assert read_json(run.published / "run.json")["node_hours"] == 0.01


def test_hosts_on_which_a_run_was_lost_are_known_until_it_is_given_up(run):
    attempted(run, "11", failure_class="node", lost_host="bad1")
    attempted(run, "12", failure_class="walltime", lost_host=None)
    attempted(run, "13", failure_class="communication", lost_host="bad2")
    attempted(run, "14", failure_class="node", lost_host="bad1")
    attempted(run, "15", failure_class="communication", lost_host=None)  # no one knows which
    assert run.lost_hosts() == ["bad2", "bad1"]
    attempted(run, "16", failure_class="node", state="failed")
    assert run.lost_hosts() == []


def begun(run, monkeypatch, job_id, nodes=1):
    """An attempt that goes on in a job on host h1, and perhaps others."""
    monkeypatch.setenv("LSB_JOBID", job_id)
    monkeypatch.setenv("LSB_HOSTS", "h1 h2")
    attempts.begin(run.state, nodes=nodes, ranks=nodes, deadline=None, lease=run.state.lease / "1.json")


@pytest.mark.parametrize(
    ("told", "lost"),
    [(None, ["h1"]), ("TERM_ZOMBIE", ["h1"]), ("TERM_OWNER", []), ("TERM_MEMLIMIT", []), ("TERM_RUNLIMIT", [])],
)
def test_a_host_that_took_the_parent_along_is_known_before_the_next_job_is_submitted(run, monkeypatch, told, lost):
    run.remember("lsf", "12", "/a/log")
    begun(run, monkeypatch, "12")
    run.note_end("12", told)
    assert run.lost_hosts() == lost
    attempts.record_lost(run.state)
    assert run.lost_hosts() == lost


def test_of_several_hosts_the_scheduler_tells_which_one_took_the_parent_along(run, monkeypatch):
    run.remember("lsf", "12", "/a/log")
    begun(run, monkeypatch, "12", nodes=2)
    assert run.is_host_in_doubt("12")
    assert run.lost_hosts() == []
    run.note_end("12", "TERM_ZOMBIE", "h2")
    assert run.lost_hosts() == ["h2"]
    attempts.record_lost(run.state)
    run.remember("lsf", "13", "/a/log")
    assert run.lost_hosts() == ["h2"]


def test_a_host_is_in_doubt_only_where_it_may_have_been_to_blame(run):
    attempted(run, "11", failure_class="walltime")
    attempted(run, "12", failure_class="communication", lost_host=None)
    attempted(run, "13", failure_class="node", lost_host="h2")
    assert [run.is_host_in_doubt(job_id) for job_id in ("11", "12", "13", "14")] == [False, True, False, False]
    run.remember("lsf", "12", "/a/log")
    run.note_end("12", None, "h3")  # LSF cannot reach it any more
    assert run.lost_hosts() == ["h3", "h2"]


def test_a_submission_is_known_until_its_job_is(run):
    run.begin_submission("lsf", "/a/log", ["h1"])
    assert run.begun_submission("slurm") is None
    assert run.begun_submission("lsf") == {"scheduler": "lsf", "log": "/a/log", "avoid": ["h1"]}
    run.remember("lsf", "12", "/a/log", ["h1"])
    assert run.begun_submission("lsf") is None
    assert run.remembered("lsf")["avoid"] == ["h1"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 75),
        ({"failure_class": "communication"}, 1),  # the same words would get the same host
        ({"failure_class": "node"}, 1),
        ({"failure_class": None}, 1),  # asked to stop: whoever asked does not want it back
        ({"state": "failed", "failure_class": "bug"}, 1),
        ({"job_id": "11"}, 1),  # an earlier job's
    ],
)
def test_lsf_is_told_to_requeue_what_goes_on(run, monkeypatch, fields, code):
    monkeypatch.setenv("LSB_JOBID", "12")
    attempted(run, **({"job_id": "12"} | fields))
    done = subprocess.run([sys.executable, str(EXIT_CODE), "--state", str(run.state.path)], check=False)
    assert done.returncode == code


def test_a_run_without_an_attempt_is_not_requeued(run):
    done = subprocess.run([sys.executable, str(EXIT_CODE), "--state", str(run.state.path)], check=False)
    assert done.returncode == 1


def test_records_are_plain_json(run):
    run.refuse("because")
    assert json.loads((run.published / "run.json").read_text())["node_hours"] == 0


def test_why_the_scheduler_ended_a_job_counts_more_than_that_its_parent_was_asked_to_stop(run):
    run.remember("lsf", "12", "/a/log")
    attempted(run, "12", failure_class=None)
    run.note_end("12", "TERM_MEMLIMIT")
    assert run.settle("12", "unused") is Settled.PUBLISHED
    record = read_json(run.published / "run.json")
    assert (record["state"], record["failure_class"]) == ("failed", "out_of_memory")
    assert record["failure"] == "the scheduler ended job 12: TERM_MEMLIMIT"


def test_the_walltime_that_ends_a_job_is_counted_once(run):
    run.remember("lsf", "12", "/a/log")
    attempted(run, "12", failure_class=None)
    run.note_end("12", "TERM_RUNLIMIT")
    assert [run.settle("12", "unused"), run.settle("12", "unused")] == [Settled.AGAIN] * 2
    assert [attempt["failure_class"] for attempt in read_lines(run.state.attempts)] == [None, "walltime"]


def test_a_job_in_which_nothing_began_tells_of_a_bad_node(run):
    run.settle("12", "no python", node="bad")
    assert run.lost_hosts() == ["bad"]


def test_a_job_that_was_killed_before_anything_began_tells_of_none(run):
    run.remember("lsf", "12", "/a/log")
    run.note_end("12", "TERM_OWNER")
    run.settle("12", "its log is empty", node="good")
    assert run.lost_hosts() == []


def test_asking_whether_a_copy_lives_takes_nothing_from_one_that_starts(run):
    with acquire(run.state.lease, {}):
        assert run.is_held()
    before = sorted(run.state.lease.iterdir())
    assert not run.is_held()
    assert sorted(run.state.lease.iterdir()) == before
