"""Other people's results through Snakemake: nothing is trained, and mistakes in the files are lines."""

from __future__ import annotations

import csv
import sys
import zipfile

import pytest

from .conftest import TINY

GOYAL = ("--configfile", "config/replay/goyal2017.yaml")


@pytest.fixture
def replayed(checkout):
    """A study of two cells of two runs."""
    path = checkout.folder / "theirs.csv"
    path.write_text("rule,seed,top1\nlinear,1,76.1\nlinear,2,76.3\nnone,1,60.1\nnone,2,60.2\n")
    checkout.write({"study": "theirs", "replay": {"runs": "theirs.csv"}})
    return checkout


def test_published_results_become_a_report_without_a_training(checkout):
    done = checkout.snakemake(*GOYAL)
    assert done.returncode == 0, done.stdout
    assert "The report is results/goyal2017/report/index.html: of its claims 6 supported, 1 inconclusive" in done.stdout
    results = checkout.folder / "results/goyal2017"
    with (results / "tables/claims.csv").open(newline="") as file:
        verdicts = [row["verdict"] for row in csv.DictReader(file)]
    assert sorted(verdicts) == ["inconclusive"] + ["supported"] * 6
    page = (results / "report/index.html").read_text()
    assert "Goyal" in page and "supported" in page
    with zipfile.ZipFile(results / "report.zip") as bundle:
        assert {"index.html", "config.yaml", "tables/claims.csv", "tables/optimum.csv"} <= set(bundle.namelist())
    assert not (results / "runs").exists()
    assert checkout.jobs(*GOYAL) == {}


@pytest.mark.parametrize("profile", ["lsf", "profiles/slurm"])
def test_published_results_need_no_job_of_a_cluster(checkout, profile):
    done = checkout.run(sys.executable, "-m", "snakemake", "--profile", profile, "-n", *GOYAL)
    assert done.returncode == 0, done.stdout
    assert "report" in done.stdout


def test_a_row_more_makes_the_tables_again(replayed):
    assert replayed.snakemake().returncode == 0
    path = replayed.folder / "theirs.csv"
    path.write_text(path.read_text() + "none,3,60.3\n")
    assert replayed.jobs()["tables"] == 1


def test_a_mistake_in_a_file_is_a_line_and_no_traceback(replayed):
    path = replayed.folder / "theirs.csv"
    path.write_text(path.read_text() + "none,3,sixty\n")
    done = replayed.snakemake()
    assert done.returncode != 0
    assert "theirs.csv, row 6, column top1: is 'sixty', must be a number" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_file_that_is_not_there_is_a_line_and_no_traceback(replayed):
    (replayed.folder / "theirs.csv").unlink()
    done = replayed.snakemake("-n")
    assert done.returncode != 0
    assert "replay.runs: theirs.csv does not exist" in done.stdout
    assert "Traceback" not in done.stdout


def test_imported_runs_are_not_trained(checkout):
    planned = checkout_jobs(checkout, TINY)
    path = checkout.folder / "theirs.csv"
    path.write_text("warmup_epochs,lr_scaling.rule,seed,top1\n0,linear,1,51.5\n")
    assert checkout_jobs(checkout, {**TINY, "import": {"runs": "theirs.csv"}}) == planned - 1


def checkout_jobs(checkout, study: dict) -> int:
    checkout.write(study)
    return checkout.jobs()["train"]


def test_paths_with_placeholders_and_texts_with_braces_are_no_wildcards(checkout):
    for rule in ("linear", "none"):
        (checkout.folder / f"{rule}.csv").write_text("seed,top1\n1,76.1\n2,76.3\n")
    checkout.write({"study": "theirs", "note": "Either of {these}", "replay": {"runs": "{rule}.csv"}})
    done = checkout.snakemake()
    assert done.returncode == 0, done.stdout
    assert "Either of {these}" in (checkout.folder / "results/theirs/report/index.html").read_text()
    assert checkout.jobs() == {}


def test_other_code_makes_the_tables_again_and_another_time_stamp_does_not(replayed):
    assert replayed.snakemake().returncode == 0
    module = replayed.folder / "workflow/scripts/warmscale/analysis/inference/welch.py"
    module.touch()
    assert replayed.jobs() == {}
    module.write_text(module.read_text() + "\nOTHER = 1\n")
    assert replayed.jobs()["tables"] == 1
