"""Tables, figures and report of a study of which some runs are not there, or none, or all."""

from __future__ import annotations

import html
import os
import re
import shutil
import zipfile
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmscale.analysis import catalogue
from warmscale.analysis.catalogue import FORMATS, TABLES, factors_of, figures_of
from warmscale.analysis.figures import figure_frame, partial_mark
from warmscale.analysis.levels import level_points
from warmscale.analysis.missing import missing_text
from warmscale.analysis.schemas import METRIC_COLUMNS
from warmscale.analysis.statistics import cells
from warmscale.analysis.tables import make_tables, read_tables
from warmscale.records import StateFolder, append_line, write_json
from warmscale.study import load_study

from .conftest import EPOCHS, accuracy, analysed, raw_study, raw_with_claims, script
from .published_runs import publish, run_at
from .test_figures import drawn
from .test_report import Tags, page_in, section

STUDY = load_study(raw_with_claims())
RUNS = list(STUDY.runs)
FEW = load_study(raw_study() | {"seeds": 1, "experiments": raw_study()["experiments"][1:2]})


def text_of(part: str) -> str:
    """A part of a page, tags taken out."""
    return html.unescape(re.sub(r"<[^>]+>", " ", part))


def publish_finished(folder, runs=tuple(RUNS)):
    for run in map(STUDY.runs.get, runs):
        publish(folder, run, "finished", [accuracy(run, epoch) for epoch in range(1, EPOCHS + 1)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """results/small with all runs finished, as the rules leave it."""
    folder = tmp_path_factory.mktemp("results") / "small"
    publish_finished(folder)
    return analysed(STUDY, folder)


@pytest.fixture(scope="module")
def missing() -> dict[str, str]:
    """{what became of it: run_id} of the runs that left nothing."""
    names = {"pending": (4, 2), "paused": (4, 3), "failed": (4, 1), "lost": (2, 1)}
    return {
        name: run_at(STUDY, "warmup", seed=seed, warmup_epochs=level).run_id for name, (level, seed) in names.items()
    }


@pytest.fixture(scope="module")
def partial(whole, missing, tmp_path_factory):
    """The same results after four runs were lost and a call could not make them again; and what was said."""
    folder = tmp_path_factory.mktemp("results") / "small"
    shutil.copytree(whole, folder)
    (folder / "complete").touch()
    for run_id in missing.values():
        shutil.rmtree(folder / "runs" / run_id)
    attempt = {"number": 1, "started": 1.0, "ended": 2.0, "host": "node7", "job_id": "4711", "steps_done": 20}
    for name, failure_class, failure in (("paused", "walltime", None), ("failed", "data", "<b>.JPEG is torn")):
        told = {"state": name, "failure_class": failure_class, "failure": failure, "rank": 1}
        append_line(StateFolder(folder / "state" / missing[name]).attempts, {**attempt, **told})
    job = {"scheduler": "lsf", "job_id": "5", "submitted": 3.0, "log": "/logs/5.out"}
    write_json(StateFolder(folder / "state" / missing["pending"]).job, job)
    said = script("partial_report").partial_report(STUDY, folder)
    return folder, said


@settings(max_examples=8)
@given(there=st.sets(st.sampled_from(RUNS)))
def test_means_and_n_are_of_the_runs_that_are_there(there, tmp_path_factory, whole):
    folder = tmp_path_factory.mktemp("results")
    publish_finished(folder, there)
    make_tables(STUDY, folder)
    tables, full = read_tables(folder / "tables"), read_tables(whole / "tables")
    assert tables.runs["run_id"].tolist() == RUNS
    pd.testing.assert_frame_equal(tables.points, full.points)
    is_there = tables.runs["run_id"].isin(there)
    pd.testing.assert_frame_equal(tables.runs[is_there], full.runs[is_there], check_dtype=False)
    assert (tables.runs.loc[~is_there, "state"] == "pending").all()
    assert tables.runs.loc[~is_there, ["top1", "top5", *METRIC_COLUMNS]].isna().all(axis=None)
    assert set(tables.epochs["run_id"]) == set(tables.steps["run_id"]) == there
    for experiment in ("sizes", "warmup", "scaling"):
        own, names = level_points(tables.points, experiment, factors_of(STUDY, experiment))
        counts = cells(own.merge(tables.runs[["run_id", "state", "top1"]], on="run_id"), ["level", *names], "top1")
        expected = own.assign(there=own["run_id"].isin(there)).groupby("level", sort=False)["there"].sum()
        assert counts.set_index("level")["n"].to_dict() == expected.to_dict()


@pytest.mark.parametrize(("name", "count"), [("nothing_yet", 0), ("partial", 11), ("whole", 15)])
def test_every_figure_and_page_is_made_of_any_number_of_runs(name, count, request):
    made = request.getfixturevalue(name)
    folder = made[0] if name == "partial" else made
    for file in [f"figures/{entry.name}.{suffix}" for entry in figures_of(STUDY) for suffix in (*FORMATS, "csv")]:
        assert (folder / file).stat().st_size > 60, file
    page = page_in(folder)
    assert Tags(page).misplaced == Tags(page).open == []
    assert (f"Partial: {count} of 15 runs are there; missing: " in page) == ("Partial" in page) == (count < 15)


@pytest.mark.parametrize("entry", figures_of(STUDY), ids=lambda entry: entry.name)
def test_a_figure_says_what_it_lacks(entry, partial, missing, whole):
    folder, _ = partial
    mark = partial_mark(entry, STUDY, scratch_tables(folder))
    expected = {
        "sizes-curves": "",
        "warmup-curves": "Partial: 5 of 9 runs are there; missing: 1 failed, 1 paused, 2 pending",
        "warmup-final": "Partial: 5 of 9 runs are there; missing: 1 failed, 1 paused, 2 pending",
        "scaling-final": "Partial: 8 of 9 runs are there; missing: 1 pending",
        **dict.fromkeys(("sizes-time-to-target", "learning-rates"), ""),
        **dict.fromkeys(
            (
                "comparison",
                *("trainings-throughput", "trainings-efficiency", "trainings-model"),
                *("communication", "gradients", "realised-rates"),
            ),
            "Partial: 11 of 15 runs are there; missing: 1 failed, 1 paused, 2 pending",
        ),
    }
    assert mark == expected[entry.name]
    assert (
        (folder / f"figures/{entry.name}.svg").read_bytes() != (whole / f"figures/{entry.name}.svg").read_bytes()
    ) == bool(mark)


def scratch_tables(folder):
    """The tables of a partial result: it keeps no Parquet."""
    records = folder.parent / "scratch"
    make_tables(STUDY, folder, folder=records)
    return read_tables(records)


def test_cells_of_which_nothing_is_there_keep_their_place_in_the_realised_rates(partial):
    entry = next(entry for entry in figures_of(STUDY) if entry.name == "realised-rates")
    tables = scratch_tables(partial[0])
    frame = figure_frame(entry, STUDY, tables)
    own = frame[frame["experiment"] == "warmup"]
    assert own.loc[own["level"] == "4", "n"].tolist() == [0]
    figure, _ = drawn(STUDY, tables, "realised-rates")
    texts = [text.get_text() for axis in figure.axes if axis.get_legend() for text in axis.get_legend().get_texts()]
    assert "4 (no step yet)" in texts


def test_a_partial_result_has_all_tables_and_figures_and_nothing_that_only_a_whole_one_has(partial):
    folder, said = partial
    assert said == (
        f"{folder}/report/index.html: Partial: 11 of 15 runs are there; missing: 1 failed, 1 paused, 2 pending"
    )
    made = (*TABLES, *catalogue.verdicts_of(STUDY))
    assert {path.name for path in (folder / "tables").iterdir()} == {f"{table}.csv" for table in made}
    assert len(list((folder / "figures").iterdir())) == 4 * len(figures_of(STUDY))
    assert {path.name for path in folder.iterdir()} == {"runs", "state", "tables", "figures", "report", "looks.csv"}


def test_claims_of_which_runs_are_missing_are_not_run_and_the_others_are_judged(partial, whole):
    text = section(page_in(partial[0]), "verdicts")
    assert "4 claims: 1 supported , 1 refuted , 2 not run ." in re.sub(r"(?=,|\.)", " ", text).replace("  ", " ")
    assert "1 of 3 runs have not ended" in text
    verdicts = [verdicts_of(folder) for folder in (whole, partial[0])]
    assert set(verdicts[0].values()) <= {"supported", "refuted", "inconclusive"}
    assert [name for name in verdicts[1] if verdicts[1][name] != verdicts[0][name]] == ["two-beats-none", "four-as-two"]


def verdicts_of(folder):
    """{claim: verdict} of a study."""
    return pd.read_csv(folder / "tables/claims.csv").set_index("claim")["verdict"].to_dict()


def test_the_top_of_the_page_names_what_is_missing_and_why(partial, missing):
    page = page_in(partial[0])
    top = " ".join(text_of(page[page.index('class="partial"') : page.index("<nav")]).split())
    assert "Partial: 11 of 15 runs are there; missing: 1 failed, 1 paused, 2 pending." in top
    assert f"failed {missing['failed']} : data : <b>.JPEG is torn" in top
    assert f"paused {missing['paused']} : walltime : stopped, at step 20" in top
    assert f"pending {missing['pending']} : submitted as job 5, never started" in top
    assert f"pending {missing['lost']} : never started" in top


def test_missing_runs_have_their_attempts_and_their_log_in_the_page(partial, missing):
    page = page_in(partial[0])
    text, failed = section(page, "missing"), section(page, "failures")
    assert missing["failed"] not in text
    assert f"log: state/{missing['paused']}/logs/rank1.log" in text
    assert "1: paused (walltime), 20 steps, node7, job 4711, 1970-01-01 00:00:02 UTC" in text
    assert "log: /logs/5.out" in text
    assert f"{missing['failed']} failed data : <b>.JPEG is torn log: state/{missing['failed']}" in failed
    assert Tags(page).misplaced == Tags(page).open == []


def test_a_page_of_many_missing_runs_names_ten_at_its_top(nothing_yet):
    page = page_in(nothing_yet)
    top = page[page.index('class="partial"') : page.index('class="states"')]
    assert top.count("<li>") == 10
    assert "And 5 more" in top
    assert all(run_id in section(page, "missing") for run_id in RUNS)


def test_captions_of_a_partial_study_have_the_real_n(partial):
    text = section(page_in(partial[0]), "experiment-warmup")
    assert "n: 3 seeds at 0; 2 of 3 seeds at 2; 0 of 3 seeds at 4." in text
    assert "Missing: 1 failed, 3 pending;" in text


def test_a_page_of_a_whole_study_has_nothing_of_a_partial_one(whole):
    page = page_in(whole)
    assert "Partial" not in page
    assert "Missing" not in page
    assert 'id="missing"' not in page


@pytest.fixture(scope="module")
def few_once(tmp_path_factory):
    """Results of a smaller study, whole; copy them, do not change them."""
    folder = tmp_path_factory.mktemp("results") / "few"
    publish_finished(folder, FEW.runs)
    return analysed(FEW, folder)


@pytest.fixture
def few(few_once, tmp_path):
    """Results of a smaller study, of one's own."""
    return shutil.copytree(few_once, tmp_path / "few")


def test_where_all_runs_are_in_the_report_nothing_is_made(few):
    before = {path: path.stat().st_mtime_ns for path in few.rglob("*")}
    assert script("partial_report").partial_report(FEW, few) == f"{few}/report/index.html has all 3 runs"
    assert {path: path.stat().st_mtime_ns for path in few.rglob("*")} == before


def test_where_a_run_was_published_after_the_report_the_page_is_made_anew(few):
    os.utime(few / "runs" / next(iter(FEW.runs)) / "run.json")
    said = script("partial_report").partial_report(FEW, few)
    assert said == f"{few}/report/index.html: all 3 runs; the same command makes it whole"
    assert not (few / "report.zip").exists()


def test_a_whole_report_does_not_outlive_its_runs(few):
    shutil.rmtree(few / "runs")
    script("partial_report").partial_report(FEW, few)
    assert "Partial: 0 of 3 runs are there; missing: 3 pending" in page_in(few)


def test_a_crash_while_files_are_replaced_leaves_nothing_that_passes_for_whole(few, monkeypatch):
    def replace(*_):
        raise OSError("the disk is full")

    program = script("partial_report")
    monkeypatch.setattr(program, "os", SimpleNamespace(replace=replace))
    shutil.rmtree(few / "runs" / next(iter(FEW.runs)))
    with pytest.raises(OSError, match="the disk is full"):
        program.partial_report(FEW, few)
    assert not list(few.glob("tables/*.parquet"))
    assert not (few / "report.zip").exists()
    assert not list(few.glob(".partial-*"))


def test_a_run_that_is_only_partly_published_is_not_there(whole, tmp_path):
    shutil.copytree(whole / "runs", tmp_path / "runs")
    (tmp_path / "runs" / RUNS[0] / "run.json").unlink()  # as one that is being deleted, or published
    (tmp_path / "runs" / RUNS[1] / "epochs.csv").unlink()
    make_tables(STUDY, tmp_path)
    tables = read_tables(tmp_path / "tables")
    assert tables.runs["state"].tolist()[:3] == ["pending", "pending", "finished"]
    assert not set(RUNS[:2]) & set(tables.epochs["run_id"]) | set(RUNS[:2]) & set(tables.steps["run_id"])


def test_the_bundle_of_a_study_with_a_failed_run_says_what_it_lacks(results):
    with zipfile.ZipFile(results / "report.zip") as bundle:
        assert b"Partial: 13 of 15 runs are there; missing: 1 failed, 1 pending" in bundle.read("index.html")


def test_nothing_is_said_where_nothing_is_missing():
    assert missing_text(["finished", "diverged"]) == ""
    assert missing_text(["pending"]) == "Partial: 0 of 1 run is there; missing: 1 pending"
