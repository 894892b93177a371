"""Snakemake's own conventions, and what a user is told who gets the config wrong."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from .conftest import TINY

ALLOWED_LINT = "Specify a conda environment or container for each rule"


def test_lint_finds_only_that_rules_name_no_container(checkout):
    done = checkout.snakemake("--lint", profile=False)
    findings = set(re.findall(r"^    \* (.+?):?$", done.stdout, flags=re.MULTILINE))
    assert {finding.rstrip(".:") for finding in findings} == {ALLOWED_LINT}


def test_dag_and_rulegraph_are_graphs(checkout):
    for option in ("--dag", "--rulegraph"):
        done = checkout.snakemake(option, profile=False)
        assert done.returncode == 0, done.stdout
        assert "digraph snakemake_dag" in done.stdout


def test_until_stops_at_a_rule(checkout):
    assert set(checkout.jobs("--until", "index", "--configfile", "config/digits.yaml")) == {"digits", "index", "total"}


def test_touch_marks_a_finished_study_as_fresh(finished):
    with (finished.folder / "workflow/scripts/warmscale/analysis/style.py").open("a") as code:
        code.write("# a comment\n")
    assert finished.jobs().keys() >= {"tables", "figures", "report"}
    assert finished.snakemake("--touch").returncode == 0
    assert finished.jobs() == {}


def test_snakemakes_report_has_figures_with_captions(finished):
    done = finished.snakemake("--report", "snakemake-report.zip")
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(finished.folder / "snakemake-report.zip") as report:
        names = {Path(name).name for name in report.namelist()}
        page = report.read("snakemake-report/report.html").decode()
    assert names >= {"warmup-curves.svg", "warmup-final.svg", "learning-rates.svg", "realised-rates.svg"}
    assert "Symbols: single seeds; bars: their mean" in page
    assert "What the runs trained with against what the config asks for" in page


def test_errors_of_a_config_are_a_line_each_and_nothing_is_run(checkout, tiny):
    wrong = tiny(recipe={"mini_batch_size": 321, "optimizer": {"wieght_decay": 0.1}}, sedes=3)
    wrong["experiments"] = [{**TINY["experiments"][0], "grid": {"warmup_epochs": [0, 7]}}]
    checkout.write(wrong)
    done = checkout.snakemake()
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    place = "config/config.yaml: "
    assert [line.removeprefix(place) for line in done.stdout.splitlines() if line.startswith(place)] == [
        "sedes: is not a known key: did you mean seeds?",
        "recipe.optimizer.wieght_decay: is not a known key: did you mean weight_decay?",
        "recipe.mini_batch_size: 321 is not divisible by 4 workers; the nearest that is: 320",
        "experiments.warmup.grid.warmup_epochs: 7 epochs of warmup are longer than training, 2 epochs",
    ]
    assert not (checkout.folder / "results").exists()
