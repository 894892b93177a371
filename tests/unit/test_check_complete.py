"""The last job of a study: it names what failed."""

import pytest

import check_complete
from warmscale.records import write_json
from warmscale.study.planned import FACTS, PLAN, digest

from .run_folders import RunFolder

PLAN_HEADER = "run_id,decision,nodes,ranks_per_node,walltime_min,priority"


def record(folder):
    return folder.study / "runs" / folder.run_id / "run.json"


def test_the_published_record_decides_and_the_private_log_tells_why(tmp_path):
    study = tmp_path / "results/digits"
    good = RunFolder(study, "mb1-a").outcome().published(state="finished")
    bad = (
        RunFolder(study, "mb2-b")
        .log("rank1", "the reason")
        .published(state="failed", failure_class="bug", failure="oops", attempts=[{"rank": 1, "job_id": 7}])
    )
    lines = check_complete.failed_runs([record(good), record(bad)])
    assert lines[0] == "mb2-b: bug: oops"
    assert "    | the reason" in lines
    assert lines[-4].startswith("1 run failed; the same command tries again")
    assert not any("mb1-a" in line for line in lines)


def test_every_failed_run_is_named_however_many_there_are(tmp_path):
    study = tmp_path / "results/digits"
    runs = [
        RunFolder(study, f"mb{number}-x").published(state="failed", failure_class="bug", failure="oops")
        for number in range(60)
    ]
    lines = check_complete.failed_runs([record(run) for run in runs])
    assert sum(line.endswith(": bug: oops") for line in lines) == 60


def test_failed_runs_are_those_of_the_table_that_were_published_here(tmp_path):
    study = tmp_path / "results/digits"
    bad = RunFolder(study, "mb2-b").published(state="failed", failure_class="bug", failure="oops")
    table = study / "tables/runs.csv"
    table.parent.mkdir(parents=True)
    table.write_text("run_id,state\nmb1-a,finished\nmb2-b,failed\nimported-1,failed\n")
    assert check_complete.failed_records(table) == [record(bad)]


@pytest.mark.parametrize("row", ["mb2-b,left_out,,,,0", "mb3-c,planned,1,1,,1"])
def test_a_failed_run_that_a_plan_does_not_carry_out_is_not_asked_for(tmp_path, row):
    """Left out, or not even in a plan that was made before it was added to the study."""
    study = tmp_path / "results/digits"
    RunFolder(study, "mb2-b").published(state="failed", failure_class="bug", failure="oops")
    for name, text in (("tables/runs.csv", "run_id,state\nmb2-b,failed\n"), (PLAN, f"{PLAN_HEADER}\n{row}\n")):
        (study / name).parent.mkdir(parents=True)
        (study / name).write_text(text)
    write_json(study / FACTS, {"digest": digest((study / PLAN).read_bytes())})
    assert check_complete.failed_records(study / "tables/runs.csv") == []


def test_where_nothing_failed_nothing_is_said(tmp_path):
    run = RunFolder(tmp_path / "results/digits", "mb1-a").published(state="diverged")
    assert check_complete.failed_runs([record(run)]) == []


def test_failed_measurements_are_those_of_their_table(tmp_path):
    table = tmp_path / "results/digits/tables/throughput.csv"
    table.parent.mkdir(parents=True)
    table.write_text("measurement_id,state\ntp-a,finished\ntp-b,failed\n")
    record = tmp_path / "results/digits/throughput/tp-b/measurement.json"
    assert check_complete.failed_measurements(table) == [record]
    record.parent.mkdir(parents=True)
    record.write_text('{"state": "failed", "failure_class": "out_of_memory", "failure": "too much"}')
    lines = check_complete.failed_runs([record])
    assert lines[0] == "tp-b: out_of_memory: too much"
    assert lines[-4].startswith("1 measurement failed; the same command tries again")
