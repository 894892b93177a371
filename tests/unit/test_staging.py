"""A copy of a pack on the node's disk: one for all ranks, verified, and training goes on where it cannot be had."""

import multiprocessing
import os
import shutil
import threading
from pathlib import Path

import pytest

from warmscale.training import staging
from warmscale.training.pack import check_pack
from warmscale.training.packing import make_pack
from warmscale.training.staging import NODE_LOCAL, node_copy

from .pictures import encoded, picture


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A small pack."""
    folder = tmp_path_factory.mktemp("pack")
    for split in ("train", "val"):
        (folder / "tree" / split / "a").mkdir(parents=True)
        for number in range(4):
            (folder / "tree" / split / f"a/{number}.JPEG").write_bytes(encoded(picture(50, 40, seed=number)))
    make_pack(folder / "tree", folder / "pack", jobs=1)
    return folder / "pack"


@pytest.fixture
def pack(source, tmp_path):
    """A copy that may be spoiled."""
    return Path(shutil.copytree(source, tmp_path / "pack"))


@pytest.fixture
def local(tmp_path):
    """Environment with a node's disk."""
    (tmp_path / "local").mkdir()
    return {NODE_LOCAL: str(tmp_path / "local")}


def test_a_pack_is_copied_whole_and_used_again(pack, local):
    copy = node_copy(pack, local)
    check_pack(copy)
    assert Path(local[NODE_LOCAL]) in copy.parents
    before = {path: path.stat().st_mtime_ns for path in copy.iterdir()}
    assert node_copy(pack, local) == copy
    assert {path: path.stat().st_mtime_ns for path in copy.iterdir()} == before


def test_without_a_disk_or_without_a_pack_data_stay_where_they_are(pack, local, tmp_path):
    assert node_copy(pack, {}) == pack
    (tmp_path / "tree").mkdir()
    assert node_copy(tmp_path / "tree", local) == tmp_path / "tree"
    assert list(Path(local[NODE_LOCAL]).iterdir()) == []


def _stage(pack, local, results):
    results.put(str(node_copy(pack, local)))


def test_of_many_ranks_one_copies_and_all_use_it(pack, local, capfd):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    ranks = [context.Process(target=_stage, args=(pack, local, results)) for _ in range(6)]
    for rank in ranks:
        rank.start()
    copies = {results.get(timeout=60) for _ in ranks}
    for rank in ranks:
        rank.join()
    (copy,) = copies
    check_pack(Path(copy))
    assert capfd.readouterr().out.count("GiB copied to") == 1


def test_another_pack_has_another_copy(pack, local):
    first = node_copy(pack, local)
    facts = (pack / "pack.json").read_text()
    (pack / "pack.json").write_text(facts + "\n")
    assert node_copy(pack, local) != first


def test_leftovers_of_a_killed_copy_are_finished(pack, local):
    copy = node_copy(pack, local)
    (copy / "pack.json").unlink()
    (copy / "train-0000.bin").rename(copy / "train-0000.bin.unfinished")
    (copy / "val.npy").write_bytes(b"\0" * (copy / "val.npy").stat().st_size)
    kept = (copy / "val-0000.bin").stat().st_mtime_ns
    assert node_copy(pack, local) == copy
    check_pack(copy)
    assert (copy / "val-0000.bin").stat().st_mtime_ns == kept
    assert not list(copy.glob("*.unfinished"))


def test_a_full_disk_is_a_warning_and_the_pack_itself_is_used(pack, local, monkeypatch, capfd):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert node_copy(pack, local) == pack
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert f"images are read from {pack}: 0.0 GiB are needed, 0.0 GiB are free" in said


def test_what_could_not_be_copied_is_not_tried_by_every_rank(pack, local, monkeypatch):
    monkeypatch.setattr(staging, "_copy_file", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    assert node_copy(pack, local) == pack
    monkeypatch.undo()
    assert node_copy(pack, local) == pack
    monkeypatch.setattr(staging, "TRY_AGAIN_SEC", 0)
    assert node_copy(pack, local) != pack


def test_a_file_that_is_copied_wrongly_is_not_used(pack, local, capfd):
    whole = (pack / "train-0000.bin").read_bytes()
    (pack / "train-0000.bin").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert node_copy(pack, local) == pack
    assert "train-0000.bin has another checksum" in capfd.readouterr().err
    assert not list(Path(local[NODE_LOCAL]).glob("*/*/train-0000.bin*"))


def test_a_rank_that_is_asked_to_stop_does_not_wait_for_the_copy(pack, local):
    stopping = threading.Event()
    stopping.set()
    assert node_copy(pack, local, stopping.is_set) == pack
    assert node_copy(pack, local) != pack


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_disk_that_cannot_be_written_is_a_warning(pack, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert node_copy(pack, {NODE_LOCAL: str(tmp_path / "closed")}) == pack


def test_a_folder_that_cannot_be_made_is_a_warning(pack, tmp_path):
    (tmp_path / "file").touch()
    assert node_copy(pack, {NODE_LOCAL: str(tmp_path / "file/below")}) == pack
