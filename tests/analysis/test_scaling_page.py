"""The table of scaling, and its section of the page."""

from __future__ import annotations

import html
import re
import zipfile

import pandas as pd
import pytest

from warmscale.analysis.catalogue import figures_of
from warmscale.analysis.figures import figure_frame, partial_mark
from warmscale.analysis.scaling_page import that_show
from warmscale.analysis.scaling_table import SCALING_COLUMNS
from warmscale.analysis.tables import make_tables, read_tables
from warmscale.study import load_study

from .conftest import EPOCHS, accuracy, analysed, raw_study
from .published_measurements import publish_measurement
from .published_runs import publish
from .test_report import Tags, page_in, section

SPEED = {"name": "speed", "title": "Speed <here>", "kind": "throughput", "nodes": [1, 2], "worker_batch_size": [32, 64]}
MOVED = [
    {"number": number, "started": 0.0, "ended": 9.0, "state": "finished", "host": "a", "nodes": number,
     "world_size": 2, "steps_before": 40 * (number - 1), "steps_done": 40 * number}
    for number in (1, 2)
]  # fmt: skip


def raw(*trainings: dict, **changes: object) -> dict:
    return raw_study() | {"experiments": [*trainings, {**SPEED, **changes}]}


def publish_all(study, folder, states: dict[str, str] | None = None) -> None:
    """Every run and measurement finished but these; `pending` ones are not published."""
    for run in study.runs.values():
        publish(folder, run, top1=[accuracy(run, epoch) for epoch in range(1, EPOCHS + 1)])
    for measurement in study.measurements.values():
        state = (states or {}).get(measurement.measurement_id, "finished")
        sec = measurement.worker_batch_size / 300 * (1 + 0.01 * measurement.repeat)
        if state != "pending":
            publish_measurement(folder, measurement, state, computation_sec=sec)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A study of runs and measurements, of which one failed and one is pending; its results."""
    study = load_study(raw(*raw_study()["experiments"]))
    folder = tmp_path_factory.mktemp("mixed") / "small"
    last = list(study.measurements)[-2:]
    publish_all(study, folder, {last[0]: "failed", last[1]: "pending"})
    return study, analysed(study, folder), last


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A study of measurements alone; its results."""
    study = load_study(raw())
    folder = tmp_path_factory.mktemp("alone") / "small"
    publish_all(study, folder)
    return study, analysed(study, folder)


def test_the_table_has_a_row_a_placement_and_batch_of_each_source(mixed):
    table = pd.read_csv(mixed[1] / "tables/scaling.csv")
    assert tuple(table.columns) == SCALING_COLUMNS
    measured, trained = (table[table["source"] == source] for source in ("measurements", "trainings"))
    assert measured[["nodes", "worker_batch_size", "n", "failed", "pending"]].values.tolist() == [
        [1, 32, 3, 0, 0], [1, 64, 3, 0, 0], [2, 32, 3, 0, 0], [2, 64, 1, 1, 1],
    ]  # fmt: skip
    assert set(measured["experiment"]) == {"speed"} and trained["experiment"].isna().all()
    assert trained[["ranks", "workers", "mini_batch_size"]].values.tolist() == [[1, 2, 64], [1, 4, 128]]


def test_the_table_says_what_an_epoch_takes(mixed):
    table = pd.read_csv(mixed[1] / "tables/scaling.csv")
    row = table.query("source == 'measurements' and nodes == 2 and worker_batch_size == 32").iloc[0]
    assert row["updates_per_epoch"] == 1280 // 64
    assert row["bytes_per_epoch"] == 1280 // 64 * 4000  # two ranks send all of their gradients once
    assert row["epoch_sec"] == pytest.approx(1280 // 64 * row["step_sec"])


def test_measurements_tell_what_an_epoch_takes_until_a_training_has_finished(tmp_path):
    study = load_study(raw(*raw_study()["experiments"]))
    entry = next(entry for entry in figures_of(study) if entry.kind == "communication")
    found = []
    for published in (study.measurements.values(), study.runs.values()):
        for one in published:
            if one in study.runs.values():
                publish(tmp_path, one, top1=[50.0] * 8)
            else:
                publish_measurement(tmp_path, one)
        make_tables(study, tmp_path)
        tables = read_tables(tmp_path / "tables")
        found.append((set(figure_frame(entry, study, tables)["source"]), partial_mark(entry, study, tables)))
    assert found == [({"measurements"}, ""), ({"trainings"}, "")]


def test_captions_end_before_their_table_is_named(mixed):
    page = page_in(mixed[1])
    ends = re.findall(r'(.) <span class="muted">Drawn from', page)
    assert set(ends) == {"."} and len(ends) > 4
    assert 'missing: 1 failed, 1 pending. <span class="muted">' in page


def test_a_run_that_moved_between_placements_has_none(tmp_path):
    study = load_study(raw(raw_study()["experiments"][0]))
    first, *others = study.runs.values()
    publish(tmp_path, first, top1=[50.0] * 8, attempts=MOVED)
    for run in others:
        publish(tmp_path, run, top1=[50.0] * 8, attempts=[MOVED[1]])
    analysed(study, tmp_path)
    runs = pd.read_parquet(tmp_path / "tables/runs.parquet").set_index("run_id")
    assert runs.loc[first.run_id, ["nodes", "ranks"]].isna().all()
    assert set(runs.drop(first.run_id)["nodes"]) == {2} and set(runs.drop(first.run_id)["ranks"]) == {2}


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """Results of a study of trainings alone, each worker on a rank of its own."""
    study, folder = load_study(raw_study()), tmp_path_factory.mktemp("placed") / "small"
    for run in study.runs.values():
        attempt = {**MOVED[0], "world_size": run.recipe.workers}
        publish(folder, run, top1=[50.0] * 8, attempts=[attempt])
    return analysed(study, folder)


OF_TRAININGS = ("trainings-throughput", "trainings-efficiency", "trainings-model")


def test_trainings_on_several_numbers_of_ranks_have_figures_on_the_page(placed):
    page, text = page_in(placed), section(page_in(placed), "scaling")
    assert all(page.count(f'<figure id="{name}">') == 1 for name in OF_TRAININGS)
    assert "weak efficiency (%)" in text and "on fewer ranks" in text and "no two placements" not in text
    assert Tags(page).misplaced == []


def test_weak_efficiency_and_prediction_of_trainings_are_in_the_table(placed):
    table = pd.read_csv(placed / "tables/scaling.csv").sort_values("ranks")
    assert set(table["source"]) == {"trainings"} and table["ranks"].tolist() == [2, 4]
    speeds = table["images_per_sec"].tolist()
    assert table["weak_efficiency"].tolist() == pytest.approx([1.0, speeds[1] / speeds[0] / 2])
    assert table["predicted_from"].tolist() == [0, table["n"].iloc[0]]


def test_trainings_on_one_rank_have_no_empty_figure_on_the_page_but_a_sentence(mixed):
    page, folder = page_in(mixed[1]), mixed[1] / "figures"
    assert all((folder / f"{name}.svg").exists() and f'id="{name}"' not in page for name in OF_TRAININGS)
    assert "All trainings stood on 1 rank: no two placements to compare." in section(page, "scaling")


def test_trainings_without_a_common_line_have_no_figure_of_efficiency_on_the_page():
    kinds = ("throughput", "efficiency", "model")
    figures = [{"name": f"trainings-{kind}"} for kind in kinds]
    row = {"source": "trainings", "weak_efficiency": None, "strong_efficiency": None, "predicted": None}
    rows = [row | {"ranks": ranks} for ranks in (1, 2)]
    assert [figure["name"] for figure in that_show(figures, rows)] == ["trainings-throughput"]
    assert that_show(figures, rows[:1]) == []
    assert that_show(figures, [one | {"weak_efficiency": 1.0, "predicted": 9.0} for one in rows]) == figures


def test_the_page_shows_placements_with_efficiency_ratio_and_prediction(mixed):
    text = section(page_in(mixed[1]), "scaling")
    for heading in ("weak efficiency (%)", "computation / communication", "predicted", "an epoch"):
        assert heading in text
    assert "strong efficiency" not in text
    assert "2 nodes, 2 ranks Speed <here>" in html.unescape(text)
    assert "1 failed, 1 pending" in text and "from the preset alone" in text
    assert "20 updates 80 kB a rank" in text


def test_every_figure_of_scaling_stands_in_its_section_only(mixed):
    page = page_in(mixed[1])
    own = re.search(r'<section aria-labelledby="scaling">.*?</section>', page, re.DOTALL).group(0)
    names = ["comparison", "speed-throughput", "speed-communication-ratio", "communication", "sizes-time-to-target"]
    for name in names:
        assert page.count(f'<figure id="{name}">') == own.count(f'<figure id="{name}">') == 1
    assert Tags(page).misplaced == []


def test_missing_measurements_are_named_at_the_top_and_failed_ones_in_the_section(mixed):
    _, folder, (failed, _) = mixed
    page = " ".join(re.sub(r"<[^>]+>", " ", page_in(folder)).split())
    assert "Partial: 10 of 12 measurements are there; missing: 1 failed, 1 pending." in page
    assert f"failed {failed} : node" in section(page_in(folder), "scaling")


def test_the_bundle_has_the_records_of_measurements(mixed):
    study, folder, (_, pending) = mixed
    with zipfile.ZipFile(folder / "report.zip") as bundle:
        names = set(bundle.namelist())
    expected = {f"throughput/{one}/measurement.json" for one in study.measurements if one != pending}
    assert {name for name in names if name.startswith("throughput/")} == expected
    assert {"tables/scaling.csv", "tables/throughput.csv", "figures/speed-throughput.svg"} <= names


def test_a_study_of_measurements_alone_has_a_page_without_runs(alone):
    page = page_in(alone[1])
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "Study small : 12 measurements in 1 experiment" in text and "Partial" not in text
    assert re.findall(r'<section aria-labelledby="([^"]+)"', page) == ["verdicts", "scaling", "provenance", "config"]
    assert "A processor, 2 cores" in section(page, "provenance")
    assert Tags(page).misplaced == []
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets <= set(re.findall(r'id="([^"]+)"', page))


def test_a_study_without_figures_of_scaling_has_no_such_section(tmp_path):
    study = load_study(raw_study() | {"experiments": raw_study()["experiments"][1:2]})
    publish_all(study, tmp_path)
    page = page_in(analysed(study, tmp_path))
    assert 'id="scaling"' not in page and "#scaling" not in page
