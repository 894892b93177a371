"""Trainings by placement: which studies have figures of them, and what these are drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from warmscale.analysis.catalogue import FigureEntry, figures_of
from warmscale.analysis.figures import figure_frame
from warmscale.analysis.scaling_table import scaling_table
from warmscale.analysis.tables import Tables, make_tables, read_tables
from warmscale.study import Study, load_study

from ..unit.study_builders import read_config
from .conftest import raw_study
from .published_measurements import publish_measurement
from .published_runs import publish

RATE, AVERAGING_SEC = 300.0, 0.05
"""Images a second of a rank computing alone, and what averaging over several ranks adds to a step."""
NAMES = ["trainings-throughput", "trainings-efficiency", "trainings-model"]
SPEED = {"name": "speed", "kind": "throughput", "nodes": [1, 2], "worker_batch_size": [32], "repeats": 2}


def speed(images: int, ranks: int) -> float:
    """Images a second of a mini-batch of so many."""
    return images / (images / ranks / RATE + (AVERAGING_SEC if ranks > 1 else 0))


def trained(study: Study, folder, place: Callable[[dict[str, Any]], tuple[int, int]], **changes: Any) -> Tables:
    """Tables of a study whose runs all finished, on a machine with these places: row -> nodes, ranks a node."""
    for run in study.runs.values():
        publish(folder, run, top1=[50.0, 60.0], audit_every=10**6)
    make_tables(study, folder)
    tables = read_tables(folder / "tables")
    places = [place(row) for row in tables.runs.to_dict("records")]
    ranks = [nodes * a_node for nodes, a_node in places]
    speeds = [speed(*pair) for pair in zip(tables.runs["mini_batch_size"], ranks, strict=True)]
    runs = tables.runs.assign(nodes=[nodes for nodes, _ in places], ranks=ranks, images_per_sec=speeds, **changes)
    return replace(tables, runs=runs)


def names_of(raw: dict) -> list[str]:
    return [entry.name for entry in figures_of(load_study(raw)) if entry.name.startswith("trainings-")]


def entry_of(study: Study, kind: str) -> FigureEntry:
    return next(entry for entry in figures_of(study) if entry.name == f"trainings-{kind}")


@pytest.fixture(scope="module")
def poster(tmp_path_factory):
    """The poster's study, and its tables after trainings on 10 and 40 nodes of 6."""
    study = load_study(read_config("config"))
    place = {60: (10, 6), 240: (40, 6)}
    return study, trained(
        study, tmp_path_factory.mktemp("poster"), lambda row: place[row["workers"]], device_name="V100"
    )


@pytest.mark.parametrize("name", ["config", "poster-by-workers", "digits"])
def test_trainings_of_several_numbers_of_workers_have_figures_by_placement(name):
    assert names_of(read_config(name)) == NAMES


def test_trainings_of_as_many_workers_have_none():
    raw = raw_study()
    assert names_of(raw) == NAMES
    assert names_of(raw | {"experiments": raw["experiments"][1:]}) == []  # two workers all of them
    assert names_of(raw | {"experiments": [SPEED]}) == []


def test_a_model_of_unknown_size_has_no_predictions():
    raw = raw_study()
    own = raw | {"recipe": raw["recipe"] | {"model": "mine:model"}}
    assert names_of(own) == NAMES[:2]
    assert names_of(own | {"planning": {"model": {"parameters": 1000, "gflops_per_image": 0.1}}}) == NAMES


def test_figures_do_not_depend_on_the_placement():
    raw = raw_study()
    for placement in ({}, {"ranks_per_node": 2}, {"nodes": [1, 2], "ranks_per_node": 2, "max_nodes": 4}):
        assert figures_of(load_study(raw | {"placement": placement})) == figures_of(load_study(raw))


def test_the_posters_trainings_scale_from_ten_nodes_to_forty(poster):
    study, tables = poster
    frame = figure_frame(entry_of(study, "throughput"), study, tables)
    weak = frame[frame["scaling"] == "weak"]
    assert weak[["nodes", "ranks", "worker_batch_size", "n"]].values.tolist() == [[10, 60, 128, 12], [40, 240, 128, 15]]
    assert weak["images_per_sec"].tolist() == pytest.approx([speed(7680, 60), speed(30720, 240)])
    assert weak["ideal"].tolist() == pytest.approx([speed(7680, 60), 4 * speed(7680, 60)])
    assert sorted(frame.loc[frame["scaling"] == "alone", "worker_batch_size"]) == [16, 32, 64, 96]


def test_efficiencies_of_trainings_have_the_closed_form_of_their_machine(tmp_path):
    raw = raw_study() | {"experiments": raw_study()["experiments"][:1], "seeds": 2}
    raw["experiments"][0]["extra"].append({"point": {"mini_batch_size": 32, "workers": 1}})
    study = load_study(raw)
    # one seed of the largest on two ranks, the other on all four: strong scaling
    tables = trained(study, tmp_path, lambda row: (1, 2 if (row["workers"], row["seed"]) == (4, 1) else row["workers"]))
    frame = figure_frame(entry_of(study, "efficiency"), study, tables)
    computation = 32 / RATE
    weak = frame[(frame["scaling"] == "weak") & (frame["workers_per_rank"] == 1)]
    assert weak["ranks"].tolist() == [1, 2, 4]
    assert weak["efficiency"].tolist() == pytest.approx([1.0] + 2 * [computation / (computation + AVERAGING_SEC)])
    strong = frame[frame["scaling"] == "strong"]
    assert strong["ranks"].tolist() == [2, 4] and set(strong["mini_batch_size"]) == {128}
    expected = (2 * computation + AVERAGING_SEC) / (computation + AVERAGING_SEC) / 2
    assert strong["efficiency"].tolist() == pytest.approx([1.0, expected])


def test_predictions_of_trainings_rest_on_fewer_ranks_alone(poster):
    study, tables = poster
    frame = figure_frame(entry_of(study, "model"), study, tables)
    assert set(frame.loc[frame["ranks"] == 60, "predicted_from"]) == {0}
    assert set(frame.loc[frame["ranks"] == 240, "predicted_from"]) == {12}  # all runs on 60 ranks
    slow = tables.runs["images_per_sec"].where(tables.runs["ranks"] < 240, 99.0)
    other = figure_frame(entry_of(study, "model"), study, replace(tables, runs=tables.runs.assign(images_per_sec=slow)))
    pd.testing.assert_series_equal(other["predicted"], frame["predicted"])
    assert other["images_per_sec"].min() == pytest.approx(99.0)


def test_measurements_on_fewer_ranks_count_in_what_is_predicted_of_trainings(tmp_path):
    raw = raw_study()
    study = load_study(raw | {"experiments": [raw["experiments"][0], SPEED]})
    for measurement in study.measurements.values():
        publish_measurement(tmp_path, measurement)
    tables = trained(study, tmp_path, lambda row: (1, row["workers"]))
    frame = figure_frame(entry_of(study, "model"), study, tables)
    from_ranks = frame.drop_duplicates("ranks").set_index("ranks")["predicted_from"].to_dict()
    assert from_ranks == {2: 2, 4: 4 + 3}  # both repeats on one rank; those on two, and three trainings there


def test_several_models_are_predicted_each_by_its_own_size(tmp_path):
    raw = raw_study()
    models = {
        "name": "models",
        "grid": {"model": ["resnet8", "resnet18"]},
        "recipe": {"mini_batch_size": 64, "workers": 2},
    }
    study = load_study(raw | {"experiments": [raw["experiments"][0], models]})
    tables = trained(study, tmp_path, lambda row: (1, row["workers"]))
    table = scaling_table(study, tables)
    found = table.set_index(["model", "ranks"])["predicted"].to_dict()
    assert found["resnet8", 2.0] > 5 * found["resnet18", 2.0]


def test_a_study_on_one_number_of_ranks_has_no_predictions_of_the_preset_alone(tmp_path):
    study = load_study(raw_study())
    table = scaling_table(study, trained(study, tmp_path, lambda row: (1, 1)))
    assert len(table) and table["predicted"].isna().all()


def test_rows_of_trainings_have_what_steps_waited_for_images(tmp_path):
    study = load_study(raw_study())
    table = scaling_table(study, trained(study, tmp_path, lambda row: (1, row["workers"])))
    assert table.set_index("mini_batch_size")["data_wait_sec"].to_dict() == pytest.approx({64: 0.1 / 20, 128: 0.1 / 10})


def test_a_device_without_a_name_is_predicted_as_any(tmp_path):
    study = load_study(raw_study())
    table = scaling_table(study, trained(study, tmp_path, lambda row: (1, row["workers"]), device_name=None))
    assert table["predicted"].notna().all() and not math.isnan(table["weak_efficiency"].iloc[-1])
