"""Training from a pack, or from its copy on the node, is training from the tree, bit for bit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from warmscale.cluster.launchers import LaunchPlan
from warmscale.training.packing import make_pack
from warmscale.training.tree import index_text, list_tree

from .conftest import CLASSES, TRAIN_IMAGES, VAL_IMAGES, small_run
from .launching import Started


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder with a tree of noisy JPEGs whose brightness tells the class, its index and its pack."""
    folder, noise = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for split, count in (("train", TRAIN_IMAGES), ("val", VAL_IMAGES)):
        for number in range(count):
            label = number % CLASSES
            pixels = np.clip(noise.normal(40 + 40 * label, 30, (40, 52, 3)), 0, 255).astype(np.uint8)
            file = folder / "tree" / split / f"class{label}/{number:04d}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    (folder / "index.tsv").write_text(index_text(list_tree(folder / "tree")))
    make_pack(folder / "tree", folder / "pack", jobs=1)
    return folder


def started(folder: Path, photographs: Path, *, ranks: int = 2, threads: int | None = 0) -> Started:
    return Started(folder, photographs, small_run(), ranks=ranks, loader_threads=threads)


def plan(ranks: int, node_local: Path | None = None, cores: int = 1) -> str:
    local = node_local and str(node_local)
    place = {"ranks_per_node": ranks, "cores_per_node": cores, "node_local": local}
    return json.dumps(LaunchPlan(python=sys.executable, **place).to_json())


def test_a_pack_and_threads_train_bit_for_bit_what_the_tree_does(tmp_path, photographs):
    tree = started(tmp_path / "tree", photographs)
    assert tree.finish().returncode == 0, tree.log()
    pack = started(tmp_path / "pack", photographs, threads=3)
    assert pack.finish(root=photographs / "pack").returncode == 0, pack.log()
    chosen = started(tmp_path / "chosen", photographs, threads=None)
    assert chosen.finish(root=photographs / "pack", plan=plan(2, cores=4)).returncode == 0, chosen.log()
    assert pack.rows() == tree.rows() == chosen.rows()
    assert len(tree.rows()[0]) == 2


def test_a_copy_on_the_node_is_made_once_and_trains_the_same(tmp_path, photographs):
    here = started(tmp_path / "here", photographs)
    assert here.finish(root=photographs / "pack").returncode == 0, here.log()
    there = started(tmp_path / "there", photographs)
    local = tmp_path / "disk of the node"
    local.mkdir()
    done = there.finish(root=photographs / "pack", plan=plan(2, local))
    assert done.returncode == 0, done.stderr + there.log()
    assert there.rows() == here.rows()
    logs = "".join(there.state.log(rank).read_text() for rank in range(2))
    assert logs.count("GiB copied to") == 1
    assert str(local) in logs


def test_a_pack_of_another_data_set_fails_the_run_in_one_line(tmp_path, photographs, lab):
    wrong = Started(tmp_path, lab, small_run())
    assert wrong.finish(root=photographs / "pack").returncode == 0
    record = wrong.record()
    assert (record["state"], record["failure_class"]) == ("failed", "data")
    assert "is a pack of another data set than" in record["failure"]


def test_waiting_for_images_is_part_of_the_time_of_training(tmp_path, photographs):
    from warmscale.records import read_rows

    run = started(tmp_path, photographs, ranks=1)
    assert run.finish().returncode == 0, run.log()
    for row in read_rows(run.published / "epochs.csv"):
        assert 0 < float(row["data_wait_sec"]) < float(row["train_sec"])
