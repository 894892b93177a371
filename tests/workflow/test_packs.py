"""A study with `dataset.pack`: the workflow makes the pack, trains from it, and trains nothing twice."""

from __future__ import annotations

import shutil

import pytest

from warmscale import lease
from warmscale.records import TIMING_COLUMNS, read_json, read_rows

from .conftest import TINY
from .test_studies import PHOTOS, jpegs  # noqa: F401


def with_pack(**more):
    dataset = {**PHOTOS["dataset"], "pack": "data/packed"} | more
    recipe = {**PHOTOS["recipe"], "model": "resnet8"}
    return {**PHOTOS, "dataset": dataset, "recipe": recipe}


def rows(checkout, study="photos"):
    found = {}
    for path in (checkout.folder / f"results/{study}/runs").glob("*/epochs.csv"):
        epochs = [{k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in read_rows(path)]
        found[path.parent.name] = (epochs, read_rows(path.with_name("steps.csv")))
    return found


def test_a_study_is_packed_first_and_trains_what_it_trains_from_the_tree(jpegs):  # noqa: F811
    jpegs.write(with_pack(pack=None))
    done = jpegs.snakemake()
    assert done.returncode == 0, done.stdout
    from_tree = rows(jpegs)
    shutil.rmtree(jpegs.folder / "results")
    jpegs.write(with_pack())
    done = jpegs.snakemake()
    assert done.returncode == 0, done.stdout
    assert read_json(jpegs.folder / "data/packed/pack.json")["images"] == {"train": 26, "val": 9}
    assert rows(jpegs) == from_tree
    assert len(from_tree) == 1

    # the tree is not needed any more
    (jpegs.folder / "data/photos").rename(jpegs.folder / "data/elsewhere")
    jpegs.write(with_pack() | {"seeds": 2})
    done = jpegs.snakemake()
    assert done.returncode == 0, done.stdout
    assert len(rows(jpegs)) == 2


def test_a_pack_asked_for_later_trains_nothing_again_and_is_made_before_the_next_run(finished, tiny):
    packed = tiny(dataset={**TINY["dataset"], "pack": "data/packed"})
    finished.write(packed)
    assert "train" not in finished.jobs()
    assert not (finished.folder / "data/packed").exists()
    finished.write({**packed, "experiments": [{"name": "warmup", "grid": {"warmup_epochs": [0, 1, 2]}}]})
    assert finished.jobs()["train"] == 1
    done = finished.snakemake()
    assert done.returncode == 0, done.stdout
    assert read_json(finished.folder / "data/packed/pack.json")["images"] == {"train": 1280, "val": 517}
    states = [read_json(path)["state"] for path in (finished.folder / "results/tiny/runs").glob("*/run.json")]
    assert states == ["finished"] * 4
    assert finished.jobs() == {}


def test_a_pack_that_cannot_be_made_ends_the_study_and_leaves_it_to_the_next_call(finished, tiny):
    grid = [{"name": "warmup", "grid": {"warmup_epochs": [0, 1, 2]}}]
    finished.write(tiny(dataset={**TINY["dataset"], "pack": "config"}, experiments=grid))
    done = finished.snakemake()
    assert done.returncode != 0
    assert "dataset.pack: config was not made" in done.stdout
    assert lease.holder_of(finished.folder / "results/tiny/master") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reencode": {}, "pack": None}, "dataset.reencode: data/photos is a tree, only a pack has images coded anew"),
        ({"num_val_images": 8}, "dataset.num_val_images: 8 declared, 9 found"),
        ({"pack": "config"}, "config has files, but is no pack: give a folder that is empty or not there"),
    ],
)
def test_mistakes_with_packs_stop_the_study_before_training_in_one_line(jpegs, change, message):  # noqa: F811
    jpegs.write(with_pack(**change))
    done = jpegs.snakemake()
    assert done.returncode != 0
    assert message in done.stdout
    assert not (jpegs.folder / "results/photos/state").exists()
    assert not (jpegs.folder / "data/packed/pack.json").exists()
