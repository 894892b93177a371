"""A call that could not finish because a run left nothing: what it reports, and what the next call makes of that."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from warmscale.study import load_study

from .conftest import REPOSITORY, TINY, Checkout, make_checkout

CLAIM = {"id": "warmup-helps", "statement": "An epoch of warmup is better than none.", "kind": "better"}
CLAIM |= {"experiment": "warmup", "factor": "warmup_epochs", "levels": [1, 0]}
CLAIMING = {**TINY, "claims": [CLAIM]}
REFUSED = list(load_study(CLAIMING).runs)[1]
BEHIND_THE_RUNS = {"tables": 1, "claims": 1, "figures": 1, "report": 1, "complete": 1, "all": 1}
PROGRAM = f'''
"""Stands in for the program that carries out a run: trains nothing, and leaves nothing where it is refused."""

import sys
from pathlib import Path

import yaml

sys.path[:0] = [str(Path(__file__).parent), {str(REPOSITORY)!r}]

from tests.analysis.published_runs import publish
from warmscale.study import load_study

given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if given["--run"] == Path("refused").read_text():
    sys.exit("the queue is closed")
run = load_study(yaml.safe_load(Path("config/config.yaml").read_text())).runs[given["--run"]]
publish(Path("results/tiny"), run, "finished", [40.0, 60.0])
'''


@pytest.fixture(scope="module")
def partial_once(tmp_path_factory) -> tuple[Path, str]:
    """A checkout after a call in which one of three runs left nothing, and what was said; copy it, do not change it."""
    made = make_checkout(tmp_path_factory.mktemp("partial") / "checkout")
    made.write(CLAIMING)
    (made.folder / "workflow/scripts/train_run.py").write_text(PROGRAM)
    (made.folder / "refused").write_text(REFUSED)
    return made.folder, call_in_vain(made)


@pytest.fixture(scope="module")
def whole_once(partial_once, tmp_path_factory) -> tuple[Path, dict[str, int]]:
    """The same checkout after the next call, in which the run was not refused, and the jobs of that call."""
    made = Checkout(tmp_path_factory.mktemp("whole") / "checkout")
    shutil.copytree(partial_once[0], made.folder)
    (made.folder / "refused").write_text("")
    jobs = made.jobs()
    done = made.snakemake()
    assert done.returncode == 0, done.stdout
    return made.folder, jobs


def call_in_vain(checkout: Checkout) -> str:
    """Run Snakemake, which fails, and return what was said."""
    done = checkout.snakemake()
    assert done.returncode != 0
    rules = "".join(path.read_text() for path in (checkout.folder / "workflow/rules").glob("*.smk"))
    # an `onerror:` that calls the program has done so
    return done.stdout if "partial_report" in rules else partial_report(checkout)


def partial_report(checkout: Checkout) -> str:
    """Call the program as `onerror:` does."""
    words = [sys.executable, "workflow/scripts/partial_report.py", "--results", "results/tiny"]
    study = json.dumps(yaml.safe_load((checkout.folder / "config/config.yaml").read_text()))
    pipes = {"input": study, "stderr": subprocess.PIPE, "text": True}
    return subprocess.run(words, cwd=checkout.folder, timeout=120, check=True, **pipes).stderr


def page(folder: Path) -> str:
    return (folder / "results/tiny/report/index.html").read_text()


def test_a_run_that_left_nothing_blocks_no_table_figure_or_report(partial_once):
    folder, said = partial_once
    text = "Partial: 2 of 3 runs are there; missing: 1 pending"
    assert f"results/tiny/report/index.html: {text}" in said
    assert text in page(folder)
    assert re.search(rf"<code>{REFUSED}</code>: never started", page(folder))
    results = folder / "results/tiny"
    rows = (results / "tables/runs.csv").read_text().splitlines()
    assert [",pending," in row for row in rows if row.startswith(REFUSED)] == [True]
    assert (results / "figures/warmup-curves.png").exists()


def test_the_next_call_runs_what_was_missing_and_makes_everything_behind_it_again(partial_once, whole_once):
    folder, jobs = whole_once
    assert jobs == {"train": 1, **BEHIND_THE_RUNS, "total": 7}
    assert "Partial" not in page(folder)
    assert (folder / "results/tiny/report.zip").exists()
    tables = [(place / "results/tiny/tables/epochs.csv").read_text() for place in (partial_once[0], folder)]
    assert [table.count("\n") for table in tables] == [1 + 2 * 2, 1 + 3 * 2]
    assert Checkout(folder).jobs() == {}


def test_the_next_call_judges_the_claims_again(partial_once, whole_once):
    rows = [(place / "results/tiny/tables/claims.csv").read_text() for place in (partial_once[0], whole_once[0])]
    assert "warmup-helps" in rows[0]
    assert [",not_run," in rows[0], ",inconclusive," in rows[1]] == [True, True]  # one seed decides nothing
    assert "1 not run" in page(partial_once[0])
    assert "1 inconclusive" in page(whole_once[0])


def test_a_run_that_comes_back_as_it_was_makes_everything_again(whole_once, tmp_path):
    shutil.copytree(whole_once[0], tmp_path / "checkout")
    checkout, lost = Checkout(tmp_path / "checkout"), tmp_path / "lost"
    published = checkout.folder / "results/tiny/runs" / REFUSED
    published.rename(lost)
    (checkout.folder / "refused").write_text(REFUSED)
    assert "2 of 3 runs are there" in call_in_vain(checkout)
    assert not (checkout.folder / "results/tiny/report.zip").exists()

    shutil.rmtree(published, ignore_errors=True)
    lost.rename(published)  # time stamps and all: only what the partial report took away says that there is work
    assert checkout.jobs() == {**BEHIND_THE_RUNS, "total": 6}


def test_where_all_runs_are_in_the_report_nothing_is_touched(whole_once):
    checkout = Checkout(whole_once[0])
    assert partial_report(checkout) == "results/tiny/report/index.html has all 3 runs\n"
    assert checkout.jobs() == {}


def test_before_any_run_is_published_there_is_no_report_and_all_are_missing(checkout):
    checkout.write(TINY)
    said = partial_report(checkout)
    first, *missing = said.splitlines()
    assert first == "results/tiny: no run of 3 is published yet, so there is nothing to report"
    assert missing[0].startswith("never started: mb320-")
    assert missing[-1].strip().startswith("snakemake results/tiny/runs/mb320-")
    assert not (checkout.folder / "results").exists()
