"""What a batch job is told of its run, and when it must find out by itself."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace

import pytest

from warmscale.cluster.tasks import VARIABLE, Task, leave_task, task_of_job, with_known_signature

TASK = Task(
    run_id="mb8-x",
    content='{"mini_batch_size":8}',
    results="results/tiny",
    index="results/tiny/data/digits-1.tsv",
    trainer="--root 'my data'",
    options="--margin-sec 120",
    threads=2,
    job={"nodes": 1, "runtime": 60},
)
WORDS = ["snakemake", "--target-jobs", "train:run=mb8-x", "--mode", "remote"]


@pytest.fixture
def left(tmp_path):
    """The file of a run."""
    leave_task(tmp_path / "state/mb8-x/task.json", TASK)
    return tmp_path / "state/mb8-x/task.json"


def test_a_job_is_told_what_was_left_for_its_run(left):
    assert task_of_job({VARIABLE: str(left)}, WORDS) == TASK


def test_the_file_of_another_run_tells_a_job_nothing(left):
    assert task_of_job({VARIABLE: str(left)}, ["snakemake", "--target-jobs", "train:run=mb8-y"]) is None


def test_without_a_file_a_job_is_told_nothing(left):
    left.unlink()
    assert task_of_job({VARIABLE: str(left)}, WORDS) is None
    assert task_of_job({}, WORDS) is None


def test_the_job_of_a_measurement_is_told_what_was_left_for_it(left):
    measurement = replace(TASK, run_id="tp-x", is_measured=True, reads_data=False)
    leave_task(left, measurement)
    words = ["snakemake", "--target-jobs", "measure:measurement=tp-x"]
    assert task_of_job({VARIABLE: str(left)}, words) == measurement
    assert task_of_job({VARIABLE: str(left)}, ["snakemake", "--target-jobs", "train:run=tp-x"]) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"run_id": "mb8-x"}', "\x00"])
def test_a_file_that_is_not_a_whole_one_of_ours_tells_nothing(left, text):
    left.write_text(text)
    assert task_of_job({VARIABLE: str(left)}, WORDS) is None


def test_a_file_of_another_version_of_ours_tells_nothing(left):
    left.write_text(json.dumps({**json.loads(left.read_text()), "another": 1}))
    assert task_of_job({VARIABLE: str(left)}, WORDS) is None


def test_a_known_signature_is_the_functions_own():
    def of_run(wildcards):
        return wildcards

    own = inspect.signature(of_run)
    assert inspect.signature(with_known_signature(of_run)) == own
