"""A pack: the same pixels and labels as the tree, made once, verified, resumed; and what is wrong with others."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from warmscale.cli import main
from warmscale.records import read_json, write_atomic
from warmscale.training import packing
from warmscale.training.images import Images
from warmscale.training.loader import train_batches, val_batches
from warmscale.training.pack import check_pack, is_pack, listed, open_pack, open_splits
from warmscale.training.packing import make_pack
from warmscale.training.shard import interval, packed
from warmscale.training.tree import DataError, index_text, list_tree, read_index

from .pictures import ALL, JPEGS, encoded, picture
from .test_jpeg import pixels_of

JPEGTRAN = shutil.which("jpegtran")
MAKERS = [None, pytest.param(JPEGTRAN, marks=pytest.mark.skipif(not JPEGTRAN, reason="jpegtran is not installed"))]
pytestmark = pytest.mark.filterwarnings("ignore:Palette images with Transparency")


def write_tree(root: Path, copies: int = 2) -> Path:
    """A tree of all kinds of files in 3 classes, all of them called .JPEG."""
    for split in ("train", "val"):
        for number, name in enumerate([*ALL] * copies):
            file = root / split / f"class{number % 3}" / f"{number:04d}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(ALL[name]())
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree and its index."""
    folder = tmp_path_factory.mktemp("data")
    write_tree(folder / "tree")
    (folder / "index.tsv").write_text(index_text(list_tree(folder / "tree")))
    return folder / "tree"


@pytest.fixture(scope="module")
def pack(tree):
    """A pack of it."""
    make_pack(tree, tree.parent / "pack", jobs=1)
    return tree.parent / "pack"


@pytest.fixture
def own_pack(pack, tmp_path):
    """A copy that may be spoiled."""
    return Path(shutil.copytree(pack, tmp_path / "pack"))


def index_of(tree):
    return tree.parent / "index.tsv"


def batches(splits, *, threads=0, decoder="turbo", augment=True):
    options = {"image_size": 24, "val_resize": 28, "decoder": decoder}
    train = Images(splits["train"], **options, augment=augment, data_seed=4)
    val = Images(splits["val"], **options, augment=False)
    size = len(splits["train"])
    yield from train_batches(train, range(0, 3 * size, 7), 7, images_per_epoch=size, data_seed=4, threads=threads)
    yield from val_batches(val, 0, len(splits["val"]), 9, threads=threads)


@pytest.mark.parametrize("decoder", ["turbo", "pil"])
@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_are_the_same_byte_for_byte_from_tree_or_pack_and_any_number_of_threads(tree, pack, threads, decoder):
    from_tree = batches(read_index(index_of(tree), tree), decoder=decoder)
    from_pack = batches(open_splits(index_of(tree), pack), threads=threads, decoder=decoder)
    for one, other in zip(from_tree, from_pack, strict=True):
        assert one.images.numpy().tobytes() == other.images.numpy().tobytes()
        assert one.labels.tolist() == other.labels.tolist()
        assert one.sample_keys.tolist() == other.sample_keys.tolist()


def test_a_pack_is_listed_as_its_tree(tree, pack):
    assert is_pack(pack)
    assert not is_pack(tree)
    assert listed(pack) == list_tree(tree)


@pytest.mark.parametrize("jpegtran", MAKERS)
@pytest.mark.parametrize("name", ALL)
def test_a_packed_image_has_the_pixels_of_the_file(name, jpegtran):
    data, width, height = packed(ALL[name](), None, jpegtran)
    if name not in JPEGS:
        assert data == ALL[name]()
    else:
        assert np.array_equal(pixels_of(data), pixels_of(ALL[name]()))
        assert pixels_of(data).shape == (height, width, 3)
        assert b"Exif" not in data


@settings(max_examples=25)
@given(st.integers(1, 300), st.integers(1, 120), st.sampled_from([0, 1, 2]), st.booleans(), st.booleans())
def test_jpegs_of_any_size_are_packed_without_loss(width, height, subsampling, progressive, grey):
    jpeg = encoded(picture(width, height, "L" if grey else "RGB"), subsampling=subsampling, progressive=progressive)
    data, *size = packed(jpeg, None, JPEGTRAN)
    assert size == [width, height]
    assert np.array_equal(pixels_of(data), pixels_of(jpeg))


@given(st.integers(1, 5000))
def test_segments_end_where_rows_end(columns):
    assert columns % interval(columns) == 0
    assert columns // interval(columns) <= 16


def test_what_jpegtran_spoils_is_packed_as_it_was(tmp_path):
    other = encoded(picture(61, 43, seed=1))
    (tmp_path / "other.jpg").write_bytes(other)
    (tmp_path / "jpegtran").write_text(f"#!/bin/sh\ncat > /dev/null\ncat {tmp_path}/other.jpg\n")
    (tmp_path / "jpegtran").chmod(0o755)
    data, *_ = packed(ALL["turned"](), None, str(tmp_path / "jpegtran"))
    assert np.array_equal(pixels_of(data), pixels_of(ALL["turned"]()))


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(Image.DecompressionBombError):
        packed(encoded(picture(61, 43)), None, JPEGTRAN)


def test_rows_say_where_an_image_is_its_label_and_its_checksum(tree, pack):
    for split, images in open_pack(pack).items():
        assert images.labels.tolist() == read_index(index_of(tree), tree)[split].labels.tolist()
        for number, row in enumerate(images.rows):
            assert zlib.crc32(images.read(number)) == row["crc32"]
            assert images.name(number).endswith(list_tree(tree)[split][number])


def test_packed_again_nothing_is_done(tree, pack):
    before = {path: path.stat().st_mtime_ns for path in pack.iterdir()}
    assert make_pack(tree, pack) is False
    assert {path: path.stat().st_mtime_ns for path in pack.iterdir()} == before


PACK = """
import sys
from pathlib import Path
from warmscale.training import packing
packing.LEAST_SHARD_MIB = 0
packing.make_pack(Path(sys.argv[1]), Path(sys.argv[2]), jobs=2)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_pack_that_is_killed_in_the_middle_goes_on_and_is_the_same(tmp_path, monkeypatch, number):
    tree, pack = write_tree(tmp_path / "tree", copies=40), tmp_path / "pack"
    command = [sys.executable, "-c", PACK, str(tree), str(pack)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment)
    while len(made := list(pack.glob(".packing/*.bin.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    process.wait()
    assert not (pack / "pack.json").exists()
    with pytest.raises(DataError, match=r"half finished: `warmscale pack TREE"):
        open_pack(pack)
    kept = {file: file.stat().st_mtime_ns for file in (pack / path.stem for path in made)}
    subprocess.run(command, env=environment, check=True)
    check_pack(pack)
    monkeypatch.setattr(packing, "LEAST_SHARD_MIB", 0)
    make_pack(tree, tmp_path / "whole", jobs=1)
    assert {path.name: path.read_bytes() for path in pack.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()
    }
    assert len(kept) >= 3
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert len(list(pack.glob("train-*.bin"))) > 10


def raise_interrupt(*_):
    raise KeyboardInterrupt


def test_files_that_were_made_before_a_kill_are_not_made_again(tree, tmp_path, monkeypatch):
    pack = tmp_path / "pack"
    monkeypatch.setattr(packing, "LEAST_SHARD_MIB", 0)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing, "_finish", raise_interrupt)
        make_pack(tree, pack, jobs=1)
    before = {path: path.stat().st_mtime_ns for path in pack.glob("*.bin")}
    assert make_pack(tree, pack, jobs=1)
    assert {path: path.stat().st_mtime_ns for path in pack.glob("*.bin")} == before


def change_one(tree):
    file = tree / list_tree(tree)["train"][0]
    file.write_bytes(file.read_bytes() + b"\0")


@pytest.mark.parametrize(
    "change",
    [
        change_one,
        lambda tree: (tree / list_tree(tree)["val"][3]).unlink(),
        lambda tree: (tree / "train/class0/new.JPEG").write_bytes(b"x"),
    ],
)
def test_a_tree_that_has_changed_since_it_was_packed_is_told(tree, own_pack, tmp_path, change):
    changed = Path(shutil.copytree(tree, tmp_path / "tree"))
    change(changed)
    with pytest.raises(DataError, match=r"another tree, or the tree has changed since"):
        make_pack(changed, own_pack)


def test_another_tree_with_the_same_names_and_sizes_is_told_by_its_newer_files(tree, own_pack, tmp_path):
    changed = Path(shutil.copytree(tree, tmp_path / "tree"))
    assert make_pack(changed, own_pack) is False
    one = changed / list_tree(changed)["val"][3]
    one.write_bytes(one.read_bytes())
    with pytest.raises(DataError, match=rf"tree/{list_tree(tree)['val'][3]} is newer than .*; 0 other images are too"):
        make_pack(changed, own_pack)


def test_a_file_of_a_pack_is_made_again_where_an_image_was_replaced_after_a_kill(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "LEAST_SHARD_MIB", 0)
    changed, pack = Path(shutil.copytree(tree, tmp_path / "tree")), tmp_path / "pack"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing, "_finish", raise_interrupt)
        make_pack(changed, pack, jobs=1)
    paths = [path for path in list_tree(changed)["train"] if (changed / path).read_bytes() == ALL["one pixel"]()]
    old, new = encoded(picture(1, 1)), encoded(picture(1, 1, seed=1))
    assert len(old) == len(new) and old != new
    (changed / paths[0]).write_bytes(new)
    make_pack(changed, pack, jobs=1)
    make_pack(changed, tmp_path / "whole", jobs=1)
    for name in read_json(pack / "pack.json")["files"]:
        assert (pack / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_pack_that_another_call_has_finished_meanwhile_is_left_as_it_is(tree, pack, tmp_path, monkeypatch):
    target, alone = tmp_path / "pack", packing._alone

    def after_another(folder):
        shutil.copytree(pack, target)
        return alone(folder)

    monkeypatch.setattr(packing, "_alone", after_another)
    assert make_pack(tree, target, jobs=1) is False
    assert not (target / ".packing").exists()
    check_pack(target)


def test_names_may_have_what_python_takes_for_ends_of_lines(tmp_path):
    for split in ("train", "val"):
        (tmp_path / "tree" / split / "a").mkdir(parents=True)
        for name in ("1\u2028.png", "2\x0b.png", "3\x85.png", "4\r.png"):
            (tmp_path / "tree" / split / "a" / name).write_bytes(ALL["png"]())
    make_pack(tmp_path / "tree", tmp_path / "pack", jobs=1)
    assert listed(tmp_path / "pack") == list_tree(tmp_path / "tree")
    write_atomic(tmp_path / "index.tsv", index_text(list_tree(tmp_path / "tree")))
    assert len(open_splits(tmp_path / "index.tsv", tmp_path / "tree")["val"]) == 4


def test_a_folder_with_something_else_is_not_packed_into(tree, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="has files, but is no pack"):
        make_pack(tree, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_somebody_packs_into_is_left_alone(tree, tmp_path):
    with packing._alone(tmp_path / "pack"), pytest.raises(DataError, match=r"is being packed: held by process \d+ on"):
        make_pack(tree, tmp_path / "pack")


def test_all_images_that_cannot_be_read_are_told_and_no_pack_is_made(tree, tmp_path):
    bad = Path(shutil.copytree(tree, tmp_path / "tree"))
    for number in (5, 2):
        (bad / list_tree(bad)["train"][number]).write_bytes(b"spoiled")
    first = list_tree(bad)["train"][2]
    with pytest.raises(DataError, match=rf"tree/{first} cannot be read: .* \(1 others"):
        make_pack(bad, tmp_path / "pack", jobs=1)
    assert not (tmp_path / "pack/pack.json").exists()
    assert not list((tmp_path / "pack").glob("**/train*"))


def test_a_tree_that_is_mended_while_a_pack_is_half_finished_is_packed_as_it_is_then(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "LEAST_SHARD_MIB", 0)
    mended = Path(shutil.copytree(tree, tmp_path / "tree"))
    last = mended / list_tree(mended)["train"][-1]
    whole = last.read_bytes()
    last.write_bytes(b"spoiled")
    (mended / "train/class0/9999.JPEG").write_bytes(whole)
    with pytest.raises(DataError, match="cannot be read"):
        make_pack(mended, tmp_path / "pack", jobs=1)
    first = tmp_path / "pack/train-0000.bin"
    made = first.stat().st_mtime_ns
    last.write_bytes(whole)
    (mended / "train/class0/9999.JPEG").unlink()
    make_pack(mended, tmp_path / "pack", jobs=1)
    assert first.stat().st_mtime_ns == made
    check_pack(tmp_path / "pack")
    assert len(open_splits(index_of(tree), tmp_path / "pack")["train"]) == len(list_tree(tree)["train"])


def test_a_full_disk_is_told_before_anything_is_written(tree, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"0\.0 GiB are free, 0\.0 GiB are needed; make room"):
        make_pack(tree, tmp_path / "pack")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_a_disk_that_becomes_full_is_told_in_one_line(tree, tmp_path, monkeypatch):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=False).returncode:
        pytest.skip("cannot mount")
    try:
        usage = shutil.disk_usage("/")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(DataError, match=r"No space left on device; make room, the same command goes on"):
            make_pack(tree, tmp_path / "pack", jobs=1)
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_pack_of_another_data_set_is_refused(tree, pack, tmp_path):
    (tmp_path / "other.tsv").write_text("split\tlabel\tpath\n")
    with pytest.raises(DataError, match=r"is a pack of another data set than .*other\.tsv lists"):
        open_splits(tmp_path / "other.tsv", pack)


def test_a_folder_that_is_no_pack_is_told(tmp_path):
    with pytest.raises(DataError, match=r"is no pack: `warmscale pack TREE .*` makes one"):
        open_pack(tmp_path)


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("name", ["train-0000.bin", "val.npy", "train.txt"])
def test_a_file_that_is_cut_or_missing_is_told_at_once(tree, own_pack, name):
    cut(own_pack / name)
    with pytest.raises(DataError, match=rf"{name} of a pack has \d+ bytes instead of \d+; remove the pack"):
        open_splits(index_of(tree), own_pack)
    (own_pack / name).unlink()
    with pytest.raises(DataError, match=rf"{name} of a pack cannot be read: No such file"):
        open_splits(index_of(tree), own_pack)


@given(st.integers(0, 10**9), st.integers(1, 255))
@settings(max_examples=20)
def test_a_changed_byte_anywhere_is_found(pack, place, change):
    files = sorted(path for path in pack.iterdir() if path.name != "pack.json")
    file = files[place % len(files)]
    whole = file.read_bytes()
    at = place % len(whole)
    try:
        file.write_bytes(whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :])
        with pytest.raises(DataError, match=rf"{file.name} of a pack is corrupted"):
            check_pack(pack)
    finally:
        file.write_bytes(whole)
    check_pack(pack)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 99}'])
def test_a_spoiled_pack_file_is_told(own_pack, text):
    (own_pack / "pack.json").write_text(text)
    with pytest.raises(DataError, match=r"pack\.json .*remove the pack and make it again"):
        open_pack(own_pack)


def test_large_images_are_coded_anew_only_where_that_is_asked_for(tmp_path):
    for split in ("train", "val"):
        (tmp_path / "tree" / split / "a").mkdir(parents=True)
        for number, (width, height) in enumerate([(300, 100), (60, 90), (64, 640)]):
            (tmp_path / "tree" / split / f"a/{number}.JPEG").write_bytes(encoded(picture(width, height)))
    reencode = {"longest_side": 150, "quality": 80}
    make_pack(tmp_path / "tree", tmp_path / "pack", reencode=reencode, jobs=1)
    rows = open_pack(tmp_path / "pack")["train"].rows
    assert [(row["width"], row["height"]) for row in rows] == [(150, 50), (60, 90), (15, 150)]
    index = tmp_path / "index.tsv"
    index.write_text(index_text(list_tree(tmp_path / "tree")))
    assert len(open_splits(index, tmp_path / "pack", reencode)["val"]) == 3
    with pytest.raises(DataError, match=r"dataset\.reencode is null, but .* was packed with {longest_side: 150"):
        open_splits(index, tmp_path / "pack")
    with pytest.raises(DataError, match=r"is a tree, only a pack has images coded anew: say dataset\.pack"):
        open_splits(index, tmp_path / "tree", reencode)
    with pytest.raises(DataError, match="was packed with reencode"):
        make_pack(tmp_path / "tree", tmp_path / "pack")


def test_the_command_packs_says_so_and_refuses_in_one_line(tree, tmp_path, capsys):
    pack = tmp_path / "pack"
    assert main(["pack", str(tree), str(pack), "--jobs", "1"]) == 0
    assert f"{pack}: packed and verified" in capsys.readouterr().out
    assert main(["pack", str(tree), str(pack), "--check"]) == 0
    assert "its checksums are right" in capsys.readouterr().out
    assert main(["pack", str(tmp_path / "nowhere"), str(pack), "--check"]) == 0
    assert f"{pack}: is a whole pack, and its checksums are right" in capsys.readouterr().out
    assert main(["pack", str(tree), str(pack), "--longest-side", "300"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"warmscale: {pack} was packed with reencode null")
    assert main(["pack", str(tree), str(pack), "--longest-side", "3"]) == 1
    assert "--longest-side: " in capsys.readouterr().err
    assert main(["pack", str(tmp_path / "nowhere"), str(pack)]) == 1
    assert "is no folder" in capsys.readouterr().err
    assert json.loads((pack / "pack.json").read_text())["images"] == {"train": 2 * len(ALL), "val": 2 * len(ALL)}
