"""Measurements through the whole workflow, on one and two ranks of this machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from warmscale.analysis.throughput_table import THROUGHPUT
from warmscale.records import read_json

from .conftest import TINY, Checkout, make_checkout

LOCAL = ("--configfile", "config/throughput-local.yaml")
SPEED = {
    "name": "speed",
    "kind": "throughput",
    "worker_batch_size": [8],
    "steps": 2,
    "warmup_steps": 1,
    "repeats": 1,
}


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory):
    """A checkout in which the local study is measured; not to be changed."""
    made = make_checkout(tmp_path_factory.mktemp("measured") / "checkout")
    done = made.snakemake(*LOCAL)
    assert done.returncode == 0, done.stdout
    return made


@pytest.fixture
def measured(measured_once, tmp_path):
    """One of one's own."""
    shutil.copytree(measured_once.folder, tmp_path / "checkout", symlinks=True)
    return Checkout(tmp_path / "checkout")


def table(checkout, study="throughput-local"):
    return pd.read_parquet(checkout.folder / f"results/{study}/tables/throughput.parquet")


def test_every_point_is_measured_once_and_has_a_row(measured_once):
    rows = table(measured_once)
    assert [*rows] == THROUGHPUT.names
    assert (rows["state"] == "finished").all()
    assert rows["measurement_id"].is_unique
    assert sorted(zip(rows["ranks"], rows["workers"], rows["worker_batch_size"], strict=True)) == sorted(
        3 * [(1, 1, 8), (1, 1, 32), (2, 2, 8), (2, 2, 32), (1, 2, 32)]
    )
    shared = rows[(rows["ranks"] == 2) & (rows["worker_batch_size"] == 32)]
    assert set(shared["experiments"]) == {"weak;strong"}


def test_times_are_positive_and_fit_together(measured_once):
    rows = table(measured_once)
    alone, together = rows[rows["ranks"] == 1], rows[rows["ranks"] == 2]
    assert (rows[["step_sec", "computation_sec", "images_per_sec", "parameters", "gradient_bytes"]] > 0).all(axis=None)
    assert (rows["step_sec_low"] <= rows["step_sec"]).all()
    assert (rows["step_sec"] <= rows["step_sec_high"]).all()
    assert rows["images_per_sec"].to_numpy() == pytest.approx((rows["mini_batch_size"] / rows["step_sec"]).to_numpy())
    assert alone[["communication_sec", "computation_to_communication", "overlap"]].isna().all(axis=None)
    assert (alone["exposed_sec"] == 0).all()
    assert (together[["communication_sec", "computation_to_communication"]] > 0).all(axis=None)
    assert (together["exposed_sec"] == together["step_sec"] - together["computation_sec"]).all()
    assert (together["all_reduces"] > 0).all()


def test_the_data_set_is_not_touched_and_no_run_is_made(measured_once):
    assert not (measured_once.folder / "data").exists()
    results = measured_once.folder / "results/throughput-local"
    assert not (results / "runs").exists()
    assert not (results / "data").exists()
    assert pd.read_parquet(results / "tables/runs.parquet").empty
    assert (results / "report/index.html").exists()


def test_figures_of_scaling_and_their_table_are_made(measured_once):
    results = measured_once.folder / "results/throughput-local"
    by_place = {"throughput", "efficiency", "model"}
    expected = {f"{name}-{kind}" for name in ("weak", "strong") for kind in by_place}
    expected |= {"weak-communication-ratio", "communication"}
    assert {path.stem for path in (results / "figures").glob("*.svg")} == expected
    scaling = pd.read_csv(results / "tables/scaling.csv")
    assert len(scaling) == 6 and (scaling["n"] == 3).all()
    together = scaling[scaling["ranks"] == 2]
    assert (together["weak_efficiency"] > 0).tolist() == (together["experiment"] == "weak").tolist()
    assert (together["strong_efficiency"] > 0).tolist() == (together["experiment"] == "strong").tolist()
    assert (scaling["predicted_low"] < scaling["predicted_high"]).all()
    assert together["predicted_from"].tolist() == [9, 9, 9]  # all that was measured on one rank


def test_a_second_call_has_nothing_to_do(measured_once):
    assert measured_once.jobs(*LOCAL) == {}


def test_status_knows_measurements(measured_once):
    done = measured_once.run("warmscale", "status", "--study", "throughput-local")
    assert done.returncode == 0, done.stdout
    assert "15 measurements: 15 finished" in done.stdout


def test_a_measurement_that_is_deleted_is_published_again_and_a_forgotten_one_measured_again(measured):
    folder = next((measured.folder / "results/throughput-local/throughput").iterdir())
    rows = (folder / "steps.csv").read_bytes()
    (folder / "measurement.json").unlink()
    assert measured.jobs(*LOCAL)["measure"] == 1
    assert measured.snakemake(*LOCAL).returncode == 0
    assert (folder / "steps.csv").read_bytes() == rows
    assert measured.run("warmscale", "forget", folder.name).returncode == 0
    assert measured.jobs(*LOCAL)["measure"] == 1


def test_another_placement_measures_anew(measured):
    assert measured.jobs(*LOCAL, "--config", "placement={device: cpu, engine: ddp}")["measure"] == 15


def test_a_failed_measurement_blocks_nothing_and_is_named_at_the_end(checkout, tiny):
    broken = {**SPEED, "name": "broken", "recipe": {"model": "nowhere:model"}}
    training = {"name": "one", "grid": {"warmup_epochs": [1]}}
    checkout.write(tiny(experiments=[broken, SPEED, training], recipe={"epochs": 2}))
    done = checkout.snakemake()
    assert done.returncode != 0
    rows = table(checkout, "tiny").set_index("experiments")
    assert rows["state"].to_dict() == {"broken": "failed", "speed": "finished"}
    assert rows.loc["broken", "failure_class"] == "config"
    assert pd.isna(rows.loc["broken", "step_sec"])
    assert "config: recipe.model: nowhere:model cannot be imported" in done.stdout
    assert "1 measurement failed; the same command tries again, and measures nothing else" in done.stdout
    (record,) = (checkout.folder / "results/tiny/runs").glob("*/run.json")
    assert read_json(record)["state"] == "finished"
    assert (checkout.folder / "results/tiny/report/index.html").exists()
    assert checkout.jobs().keys() & {"train", "measure"} == {"measure"}
    assert checkout.jobs()["measure"] == 1


def test_a_new_experiment_of_measurements_trains_nothing(finished):
    finished.write({**TINY, "experiments": [*TINY["experiments"], SPEED]})
    jobs = finished.jobs()
    assert (jobs["measure"], jobs.get("train")) == (1, None)


def test_trainings_on_one_rank_and_on_two_are_compared_and_another_placement_remakes_nothing(checkout, tiny):
    points = [{"point": {"workers": workers, "mini_batch_size": 160 * workers}} for workers in (1, 2)]
    two_ranks = ("--config", "placement={device: cpu, ranks_per_node: 2}")
    checkout.write(tiny(experiments=[{"name": "sizes", "extra": points}]))
    done = checkout.snakemake(*two_ranks)
    assert done.returncode == 0, done.stdout
    results = checkout.folder / "results/tiny"
    names = {"trainings-throughput", "trainings-efficiency", "trainings-model"}
    assert names < {path.stem for path in (results / "figures").glob("*.svg")}
    frame = pd.read_csv(results / "figures/trainings-efficiency.csv")
    assert frame[["scaling", "ranks", "workers"]].values.tolist() == [["weak", 1, 1], ["weak", 2, 2]]
    speeds = frame["images_per_sec"].tolist()
    assert frame["efficiency"].tolist() == pytest.approx([1.0, speeds[1] / speeds[0] / 2])
    scaling = pd.read_csv(results / "tables/scaling.csv")
    assert scaling["predicted_from"].tolist() == [0, 1]
    page = (results / "report/index.html").read_text()
    assert all(f'<figure id="{name}">' in page for name in names)
    assert checkout.jobs(*two_ranks) == checkout.jobs() == {}


def test_real_images_need_the_index(checkout, tiny):
    checkout.write(tiny(experiments=[{**SPEED, "data": "dataset"}]))
    assert checkout.jobs().keys() >= {"digits", "index", "measure"}
    checkout.write(tiny(experiments=[SPEED]))
    assert checkout.jobs().keys() & {"digits", "index"} == set()


def test_points_on_more_nodes_than_there_are_stop_nothing_else(checkout, tiny):
    training = {"name": "one", "grid": {"warmup_epochs": [1]}}
    checkout.write(tiny(experiments=[{**SPEED, "nodes": [1, 2, 40]}, training], recipe={"epochs": 2}))
    said = "experiments.speed: 2 of 3 measurements need more nodes than this site has (1); they are left out"
    dry = checkout.snakemake("-n")
    assert said in dry.stdout.splitlines(), dry.stdout
    assert checkout.jobs().keys() >= {"train", "measure"}
    done = checkout.snakemake()
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(said) == 1
    rows = table(checkout, "tiny").set_index("nodes")
    assert rows["state"].to_dict() == {1: "finished", 2: "pending", 40: "pending"}
    results = checkout.folder / "results/tiny"
    assert (results / "complete").exists()
    assert "Partial" not in (results / "report/index.html").read_text()
    assert checkout.jobs() == {}
    (record,) = (results / "throughput").glob("*/measurement.json")
    record.unlink()
    assert checkout.jobs()["measure"] == 1


def test_a_partial_report_awaits_no_point_that_the_site_lacks(checkout, tiny):
    broken = {"name": "broken", "recipe": {"model": "nowhere:model"}, "grid": {"warmup_epochs": [1]}}
    checkout.write(tiny(experiments=[{**SPEED, "nodes": [1, 2]}, broken]))
    assert checkout.snakemake("--until", "measure").returncode == 0
    study = checkout.folder / "results/tiny"
    config = checkout.folder / "config/config.yaml"
    text = json.dumps(yaml.safe_load(config.read_text()) | {"placement": {"ranks_per_node": 1}})
    words = [sys.executable, "workflow/scripts/partial_report.py", "--results", str(study)]
    done = subprocess.run(words, cwd=checkout.folder, input=text, capture_output=True, text=True, check=True)
    assert "Partial: 0 of 1 run is there" in done.stderr
    page = (study / "report/index.html").read_text()
    assert "measurements are there" not in page
    assert "1 measurement" not in done.stderr


def test_a_cluster_measures_the_points_that_it_has_nodes_for(checkout):
    path = checkout.folder / "profiles/slurm/site.yaml"
    site = yaml.safe_load(path.read_text()) | {"walltime": [{"up_to_nodes": 20, "minutes": 720}]}
    path.write_text(yaml.safe_dump(site | {"placement": {"max_nodes": 20}}))
    done = checkout.run(sys.executable, "-m", "snakemake", "-n", "--profile", "profiles/slurm")
    assert done.returncode == 0, done.stdout
    said = "experiments.communication: 15 of 60 measurements need more nodes than this site has (20); they are left out"
    assert done.stdout.count(said) == 1
    assert re.search(r"^measure +45$", done.stdout, flags=re.MULTILINE)
    assert re.search(r"^train +39$", done.stdout, flags=re.MULTILINE)
