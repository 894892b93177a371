"""Page and bundle of a study of replayed results."""

from __future__ import annotations

import zipfile

import pytest

from warmscale.analysis.catalogue import VERDICTS, figures_of, tables_of
from warmscale.study import load_study

from .conftest import analysed, script
from .test_report import Tags, page_in, section

RUNS = """mini_batch_size,warmup,seed,state,top1
256,5,1,finished,75.9
256,5,2,finished,76.1
256,5,3,finished,76.0
8192,5,1,finished,75.1
8192,5,2,finished,75.4
8192,5,3,finished,75.2
8192,0,1,finished,70.0
8192,0,2,diverged,
8192,0,3,finished,71.0
"""
CELLS = "mini_batch_size,warmup,n,mean,sd\n32768,5,5,72.5,0.3\n65536,5,5,66.0,0.8\n"
CLAIM = {"id": "larger-is-worse", "statement": "Accuracy falls.", "kind": "decreasing", "experiment": "sizes"}


def replayed(folder, **sources: str):
    """Results of a study of these files."""
    paths = {}
    for name, text in sources.items():
        paths[name] = str(folder / f"{name}.csv")
        (folder / f"{name}.csv").write_text(text)
    claim = CLAIM | {"factor": "mini_batch_size"}
    sizes = {"name": "sizes", "where": {"warmup": 5}, "figures": ["curves", "final"]}
    warmup = [{"name": "warmup", "where": {"mini_batch_size": 8192}}] if "runs" in sources else []
    raw = {"study": "others", "replay": paths, "experiments": [sizes, *warmup], "claims": [claim]}
    study = load_study(raw)
    return study, analysed(study, folder / "results")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A study of runs and summaries that somebody else produced."""
    return replayed(tmp_path_factory.mktemp("others"), runs=RUNS, cells=CELLS)


def test_the_page_has_verdicts_and_figures_and_no_part_that_only_training_has(others):
    study, folder = others
    page = page_in(folder)
    ids = [attributes.get("id") for _, attributes in Tags(page).tags]
    assert not {"rates", "failures", "missing", "provenance"} & set(ids)
    assert {"verdicts", "experiment-sizes", "runs", "sources", "config"} <= set(ids)
    assert "1 claim: 1 supported" in section(page, "verdicts")
    assert page.count("<figure") == len(figures_of(study)) == 2
    assert Tags(page).misplaced == Tags(page).open == []


def test_links_of_the_page_lead_somewhere(others):
    tags = Tags(page_in(others[1])).tags
    ids = {attributes["id"] for _, attributes in tags if "id" in attributes}
    assert {attributes["href"][1:] for tag, attributes in tags if tag == "a"} <= ids


def test_nothing_is_partial_where_nothing_will_be_run(others):
    page = page_in(others[1])
    assert "Partial" not in page
    assert "The same command" not in page
    assert "replayed results, 9 runs and 2 summarised cells in 2 experiments" in " ".join(page.split())


def test_sources_name_their_files_and_what_was_taken_as_what(others):
    text = section(page_in(others[1]), "sources")
    assert "summaries of cells" in text
    assert "runs.csv" in text
    assert "factors: mini_batch_size, warmup" in text


def test_curves_that_cannot_be_had_are_named(others):
    text = section(page_in(others[1]), "sources")
    assert (
        "No curves over epochs: the sources have final numbers or summaries only, so those of sizes are left out"
        in text
    )


def test_runs_have_the_columns_of_their_sources(others):
    text = section(page_in(others[1]), "runs")
    assert "run state top-1 validation accuracy (%) mini-batch size (images) warmup seed source experiments" in text
    for word in ("8,192", "70.00", "diverged"):
        assert word in text
    assert "None" not in text
    assert "nan" not in text


def test_diverged_runs_without_a_chance_level_are_counted_and_left_out_of_means(others):
    text = section(page_in(others[1]), "experiment-warmup")
    assert "0 3 2 70.50" in text
    assert "70.50 1 of 3 0.8 to 90.6 %" in text
    assert "left out of mean and interval: their chance level is not known" in text
    assert "nan" not in text


def test_cells_of_summaries_stand_beside_those_of_runs(others):
    text = section(page_in(others[1]), "experiment-sizes")
    assert "6 runs and 2 cells known as summaries" in text
    assert "32,768 5 5 72.50 0.30" in text


def test_the_bundle_has_all_tables_and_no_runs(others):
    study, folder = others
    with zipfile.ZipFile(folder / "report.zip") as bundle:
        names = set(bundle.namelist())
    assert {f"tables/{table}.parquet" for table in tables_of(study)} <= names
    assert {"looks.csv", "index.html", "config.yaml", *(f"tables/{table}.csv" for table in VERDICTS)} <= names
    assert not [name for name in names if name.startswith("runs/")]


def test_a_study_of_summaries_has_no_table_of_runs(tmp_path):
    _, folder = replayed(tmp_path, cells=CELLS)
    page = page_in(folder)
    assert 'id="runs"' not in page
    assert "replayed results, 2 summarised cells in 1 experiment<" in " ".join(page.split())
    assert "single seeds are not known" in section(page, "experiment-sizes")
    assert "nan" not in section(page, "experiment-sizes")
    assert Tags(page).misplaced == Tags(page).open == []


def test_a_partial_report_of_replayed_results_makes_nothing(others):
    study, folder = others
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert "no runs that could be missing" in script("partial_report").partial_report(study, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
