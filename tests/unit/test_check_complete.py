"""The last job of a study: it names what failed."""

import check_complete

from .run_folders import RunFolder


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


def test_where_nothing_failed_nothing_is_said(tmp_path):
    run = RunFolder(tmp_path / "results/digits", "mb1-a").published(state="diverged")
    assert check_complete.failed_runs([record(run)]) == []
