"""Whole studies, run for real."""

from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from warmscale.records import read_json, read_lines

from .conftest import TINY


def records(checkout, study="tiny"):
    return {
        path.parent.name: read_json(path) for path in (checkout.folder / f"results/{study}/runs").glob("*/run.json")
    }


def attempts(checkout):
    return {
        path.parent.name: len(read_lines(path))
        for path in (checkout.folder / "results/tiny/state").glob("*/attempts.jsonl")
    }


def test_a_study_ends_with_tables_figures_and_report(finished):
    results = finished.folder / "results/tiny"
    assert [record["state"] for record in records(finished).values()] == ["finished"] * 3
    names = {"warmup-curves", "warmup-final", "scaling-curves", "gradients", "learning-rates", "realised-rates"}
    for suffix in ("svg", "png", "pdf", "csv"):
        assert {path.stem for path in results.glob(f"figures/*.{suffix}")} == names
    assert {path.name for path in results.glob("tables/*.parquet")} >= {"runs.parquet", "epochs.parquet"}
    assert (results / "report/index.html").stat().st_size > 10_000
    assert (results / "report.zip").exists()
    assert not list(results.glob("state/*/checkpoint/*"))


def test_a_published_file_that_was_deleted_is_published_again_without_training(finished):
    before = attempts(finished)
    path = next((finished.folder / "results/tiny/runs").glob("*/epochs.csv"))
    rows = path.read_bytes()
    path.unlink()
    assert finished.jobs()["train"] == 1
    assert finished.snakemake().returncode == 0
    assert path.read_bytes() == rows
    assert attempts(finished) == before


def test_forcerun_publishes_again_and_forget_trains_again(finished):
    before = attempts(finished)
    run = sorted(before)[0]
    assert finished.snakemake("--forcerun", "train").returncode == 0
    assert attempts(finished) == before
    assert finished.run("warmscale", "forget", run).returncode == 0
    assert finished.jobs()["train"] == 1
    rows = {path.parent.name: path.read_text() for path in (finished.folder / "results/tiny/runs").glob("*/steps.csv")}
    assert finished.snakemake().returncode == 0
    assert attempts(finished) == before  # one attempt, again
    again = {path.parent.name: path.read_text() for path in (finished.folder / "results/tiny/runs").glob("*/steps.csv")}
    assert {name: again[name] for name in rows} == rows


def test_one_failed_run_stops_no_other_and_only_it_is_tried_again(checkout, tiny):
    warmup = TINY["experiments"][0]
    broken = {"name": "broken", "grid": {"model": ["resnet8", "nowhere:model"]}}
    checkout.write(tiny(experiments=[warmup, broken]))
    done = checkout.snakemake()
    assert done.returncode != 0
    states = {record["content"]["model"]: record for record in records(checkout).values()}
    assert states["nowhere:model"]["failure_class"] == "config"
    assert [record["state"] for record in records(checkout).values()].count("finished") == 2
    assert (checkout.folder / "results/tiny/report/index.html").exists()
    assert "config: recipe.model: nowhere:model cannot be imported" in done.stdout
    assert "1 run failed; the same command tries again" in done.stdout
    assert checkout.jobs()["train"] == 1
    checkout.write(tiny(experiments=[warmup]))
    assert checkout.snakemake().returncode == 0


def test_a_diverged_run_is_a_result(checkout, tiny):
    checkout.write(tiny(recipe={"base_lr": 1.0e30}, experiments=[{"name": "wild", "grid": {"epochs": [2]}}]))
    done = checkout.snakemake()
    assert done.returncode == 0, done.stdout
    header, row = (checkout.folder / "results/tiny/tables/runs.csv").read_text().splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    assert values["state"] == "diverged"
    assert float(values["top1"]) == 10.0  # chance, of ten classes
    assert checkout.jobs() == {}


@pytest.fixture
def jpegs(checkout):
    """A small ImageFolder of JPEGs of several sizes, as ImageNet has them, in `data/photos`."""
    noise = np.random.default_rng(0)
    for split, count in (("train", 26), ("val", 9)):
        for number in range(count):
            folder = checkout.folder / f"data/photos/{split}/n0{number % 3}"
            folder.mkdir(parents=True, exist_ok=True)
            coarse = noise.integers(0, 255, (6, 8, 3), dtype=np.uint8)
            size = (80 + 7 * number, 64 + 3 * (number % 5))
            Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / f"{number}.JPEG", quality=90)
    return checkout


PHOTOS = {
    "study": "photos",
    "dataset": {
        "name": "photos",
        "root": "data/photos",
        "num_train_images": 26,
        "num_val_images": 9,
        "num_classes": 3,
        "image_size": 64,
        "val_resize": 72,
    },
    "recipe": {
        "model": "resnet50",
        "epochs": 2,
        "workers": 2,
        "mini_batch_size": 8,
        "base_lr": 0.0125,
        "warmup_epochs": 1,
        "decay": {"epochs": [1.5]},
        "optimizer": {"weight_decay": 5.0e-5},
    },
    "placement": {"ranks_per_node": 2, "loader_threads": 1},
    "experiments": [{"name": "only", "grid": {"mini_batch_size": [8]}}],
}


def test_resnet50_trains_on_a_jpeg_image_folder_through_the_whole_workflow(jpegs):
    jpegs.write(PHOTOS)
    done = jpegs.snakemake()
    assert done.returncode == 0, done.stdout
    (record,) = records(jpegs, "photos").values()
    assert (record["state"], record["world_size"], record["steps_done"]) == ("finished", 2, 6)
    assert (jpegs.folder / "results/photos/figures/only-curves.png").exists()


def test_a_truncated_image_stops_the_study_before_training(jpegs):
    jpegs.write(PHOTOS)
    for name in ("n00/3.JPEG", "n01/4.JPEG"):
        image = jpegs.folder / "data/photos/train" / name
        image.write_bytes(image.read_bytes()[:100])
    png = jpegs.folder / "data/photos/train/n02/2.JPEG"
    Image.open(png).save(png.with_suffix(".png"))
    png.with_suffix(".png").replace(png)  # ImageNet has such a one: no mistake

    done = jpegs.snakemake()
    assert done.returncode != 0
    assert "data/photos/train/n00/3.JPEG cannot be read, and 1 other image of data/photos" in done.stdout
    assert not (jpegs.folder / "results/photos/state").exists()


def test_a_tree_of_other_sizes_than_declared_stops_the_study_before_training(jpegs):
    shutil.rmtree(jpegs.folder / "data/photos/train/n01")
    jpegs.write(PHOTOS)
    done = jpegs.snakemake()
    assert done.returncode != 0
    assert "dataset.num_train_images: 26 declared, 17 found; dataset.num_classes: 3 declared, 2 found" in done.stdout
    assert not (jpegs.folder / "results/photos/state").exists()


def test_the_bundle_holds_what_the_page_was_made_from(finished):
    results = finished.folder / "results/tiny"
    with zipfile.ZipFile(results / "report.zip") as bundle:
        bundled = {name: bundle.read(name) for name in bundle.namelist()}
    published = {str(path.relative_to(results)): path.read_bytes() for path in results.glob("runs/*/run.json")}
    assert len(published) == 3
    assert {name: data for name, data in bundled.items() if name.endswith("run.json")} == published
    for name in ("tables/runs.csv", "figures/warmup-final.svg"):
        assert bundled[name] == (results / name).read_bytes()
