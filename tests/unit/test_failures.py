"""What is said of failed and missing runs: reason, log, and what to type."""

import shlex
import time
from pathlib import Path

import pytest

from warmscale.monitoring.failures import failure_lines, rerun_command
from warmscale.monitoring.runs import read_run

from .run_folders import RunFolder

COMMAND = "snakemake --profile lsf"


@pytest.fixture
def study(tmp_path):
    return tmp_path / "results/digits"


def lines_of(study, *folders, command=COMMAND, **options):
    runs = [read_run(str(study), folder.run_id, {}, time.time()) for folder in folders]
    return failure_lines(str(study), runs, command, **options)


def failed(study, run_id="mb1-a", rank=None, failure="no memory", failure_class="out_of_memory", **more):
    return RunFolder(study, run_id).ended("failed", failure_class=failure_class, failure=failure, rank=rank, **more)


def quoted(lines):
    """The lines of a log among others."""
    return [line.strip().removeprefix("| ") for line in lines if line.strip().startswith("|")]


def test_a_failed_run_is_named_with_class_reason_job_and_attempts(study):
    run = failed(study, job_id="77").ended("failed", failure_class="bug", failure="oops", job_id="78")
    lines = lines_of(study, run)
    assert lines[0] == "mb1-a: bug: oops"
    assert lines[1].strip() == "job 78 on node1, 2 attempts"


def test_the_log_is_that_of_the_rank_that_failed(study):
    run = failed(study, rank=3).log("rank0", "peer left").log("rank3", *"abcdefg").log("launcher", "rank 3 died")
    lines = lines_of(study, run)
    assert quoted(lines) == list("cdefg")
    assert f"    {study}/state/mb1-a/logs/rank3.log" in lines


def test_without_a_rank_the_launchers_log_tells_and_without_that_the_jobs(study):
    run = (
        failed(study).submitted(ago_sec=9e6).log("rank0", "fine").log("launcher", "mpirun: no slots").log("job", "bsub")
    )
    assert quoted(lines_of(study, run)) == ["mpirun: no slots"]
    run.log("launcher")
    assert quoted(lines_of(study, run)) == ["bsub"]


def test_a_folder_of_a_version_without_ranks_and_jobs_shows_the_first_ranks_log(study):
    run = RunFolder(study, "mb1-a").ended("failed").log("rank0", "ValueError: x").log("launch", "see rank0.log")
    lines = lines_of(study, run)
    assert lines[0] == "mb1-a: unknown: no reason was recorded"
    assert quoted(lines) == ["ValueError: x"]


def test_a_run_without_any_log_says_so(study):
    assert f"    no log in {study}/state/mb1-a/logs" in lines_of(study, failed(study, rank=2))


def test_a_log_cannot_repaint_the_terminal(study):
    run = failed(study, rank=0).write("logs/rank0.log", "  1%\r 50%\r100%\n\x1b[2Jred \x1b[31malert\x07\r\n\n\xff\n")
    assert quoted(lines_of(study, run)) == ["100%", "red alert", "\xff"]


def test_the_end_of_a_huge_log_is_enough(study):
    run = failed(study, rank=0).log("rank0", *["x" * 100] * 100_000, "the reason")
    assert quoted(lines_of(study, run))[-1] == "the reason"


def test_the_same_command_is_told_and_one_for_a_single_run(study):
    lines = lines_of(study, failed(study))
    assert lines[-4:] == [
        "1 run failed; the same command tries again, and trains nothing else:",
        f"    {COMMAND}",
        "only it:",
        f"    snakemake {study}/runs/mb1-a/run.json --profile lsf",
    ]


def test_failed_and_missing_are_told_apart(study):
    paused = RunFolder(study, "mb2-b").ended("paused", failure_class="node", failure="killed: rank 1")
    never = RunFolder(study, "mb3-c")
    lines = lines_of(study, paused, failed(study), never)
    assert lines[0].startswith("mb1-a: out_of_memory")
    assert "mb2-b: paused: node: killed: rank 1" in lines
    assert "never started: mb3-c" in lines
    assert "1 run failed, 2 are missing; the same command tries again" in lines[-4]


def test_runs_that_wait_are_not_missing_while_others_go_on(study):
    going = RunFolder(study, "mb2-b").going().beating()
    assert lines_of(study, going, RunFolder(study, "mb3-c"), under_way=True) == []
    lines = lines_of(study, failed(study), going, RunFolder(study, "mb3-c"), under_way=True)
    assert "1 run failed; when the workflow has ended, the same command tries again" in lines[-4]


def test_a_pause_at_the_walltime_needs_no_log(study):
    run = RunFolder(study, "mb1-a").ended("paused", failure_class="walltime").log("rank0", "paused at step 7")
    lines = lines_of(study, run)
    assert lines[0] == "mb1-a: paused: walltime"
    assert quoted(lines) == []


def test_a_killed_attempt_is_not_said_to_have_been_asked_to_stop(study):
    assert lines_of(study, RunFolder(study, "mb1-a").ended("killed"))[0] == "mb1-a: paused: killed"
    assert lines_of(study, RunFolder(study, "mb2-b").ended("paused"))[0] == "mb2-b: paused: asked to stop"


def test_a_lost_run_comes_with_the_question_to_ask(study):
    run = RunFolder(study, "mb1-a").submitted("7").going(job_id="7").beating(ago_sec=1000)
    lines = lines_of(study, run)
    assert lines[0] == "mb1-a: lost?: no heartbeat for 17m"
    assert lines[1].strip() == "job 7 on node1 may be suspended, or its machine dead; `bjobs 7` tells"
    run.submitted("7", scheduler="slurm")
    assert "`squeue -j 7` tells" in lines_of(study, run)[1]


def test_advice_is_shown_but_not_what_was_tried_in_vain(study):
    advice = [
        {"what": "zero_stage: 1", "changes_result": False, "fits": False},
        {"what": "workers: 480", "changes_result": True, "fits": True},
        {"what": "more memory", "changes_result": False, "fits": None},
    ]
    lines = [line.strip() for line in lines_of(study, failed(study, advice=advice))]
    said = [line for line in lines if line.startswith("advice")]
    assert said == ["advice: workers: 480 (tried: it fits, changes the result)", "advice: more memory"]


def test_many_failures_are_told_briefly_behind_the_first_ones(study):
    runs = [failed(study, f"mb{number}-x", rank=0).log("rank0", "why") for number in range(6)]
    lines = lines_of(study, *runs, detailed=2, listed=4)
    assert quoted(lines) == ["why", "why"]
    assert sum("out_of_memory" in line for line in lines) == 4
    assert "... and 2 more: `warmscale status --failed` lists all" in lines
    assert sum("out_of_memory" in line for line in lines_of(study, *runs, detailed=2)) == 6
    assert len(quoted(lines_of(study, *runs, detailed=None))) == 6


def test_nothing_is_said_where_nothing_failed(study):
    assert lines_of(study, RunFolder(study, "mb1-a").outcome(), RunFolder(study, "mb2-b").outcome("diverged")) == []


@pytest.mark.parametrize(
    "command",
    [
        "snakemake --profile lsf --configfile config/digits.yaml",
        "/opt/venv/bin/snakemake --configfile 'my config.yaml'",
        "python -m snakemake --profile lsf",
    ],
)
def test_the_file_of_one_run_follows_the_programs_name(command):
    words, before = shlex.split(rerun_command(command, "results/digits", "mb1-a")), shlex.split(command)
    place = words.index("results/digits/runs/mb1-a/run.json")
    assert Path(words[place - 1]).name == "snakemake"
    assert [*words[:place], *words[place + 1 :]] == before


def test_a_failed_measurement_is_told_as_one(study):
    lines = lines_of(study, failed(study, "tp-n1x2-w2-b8-r1-a"))
    assert lines[0] == "tp-n1x2-w2-b8-r1-a: out_of_memory: no memory"
    assert lines[-4] == "1 measurement failed; the same command tries again, and measures nothing else:"
    record = f"{study}/throughput/tp-n1x2-w2-b8-r1-a/measurement.json"
    assert shlex.split(lines[-1]) == ["snakemake", record, "--profile", "lsf"]


def test_runs_and_measurements_are_counted_apart(study):
    lines = lines_of(study, failed(study), failed(study, "tp-n1x1-w1-b8-r1-a"), failed(study, "tp-n1x1-w1-b8-r2-b"))
    assert lines[-4] == "1 run and 2 measurements failed; the same command tries again, and trains nothing else:"
