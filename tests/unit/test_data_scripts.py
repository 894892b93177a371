"""The entry points that make data: scikit-learn's scans as a tree, and the index of a tree."""

import importlib.util

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from warmscale.training.tree import DataError, compare_with_declared, list_tree, read_index

from .study_builders import ROOT, read_config


def script(name):
    """A script of the workflow as a module, without what it does for Snakemake."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"workflow/scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    root = tmp_path_factory.mktemp("digits")
    script("write_digits").write_digits(root)
    return root


def declared():
    sizes = ("num_train_images", "num_val_images", "num_classes")
    return {name: read_config("digits")["dataset"][name] for name in sizes}


def test_digits_are_as_their_config_declares(digits):
    compare_with_declared(list_tree(digits), declared())


def test_every_scan_is_written_once_under_its_digit(digits):
    _, labels = load_digits(return_X_y=True)
    paths = [path.split("/") for split in list_tree(digits).values() for path in split]
    assert sorted((int(number[:4]), int(digit)) for _, digit, number in paths) == list(enumerate(labels))


def test_a_digit_is_the_scan_at_twice_its_size(digits):
    scans, _ = load_digits(return_X_y=True)
    for path in list_tree(digits)["val"][::50]:
        with Image.open(digits / path) as image:
            assert (image.mode, image.size, image.format) == ("RGB", (16, 16), "PNG")
            pixels = np.asarray(image).astype(float)
        assert (pixels[..., 0] == pixels[..., 2]).all()
        scan = scans[int(path[-8:-4])].reshape(8, 8) * 255 / 16
        halved = pixels[..., 0].reshape(8, 2, 8, 2).mean((1, 3))
        assert np.corrcoef(halved.ravel(), scan.ravel())[0, 1] > 0.97
        assert abs(halved.mean() - scan.mean()) < 3


def test_both_splits_have_every_digit_about_equally_often(digits):
    for paths in list_tree(digits).values():
        counts = np.bincount([int(path.split("/")[1]) for path in paths])
        assert counts.min() > 0.07 * counts.sum()


def test_written_again_the_digits_are_the_same(digits, tmp_path):
    script("write_digits").write_digits(tmp_path)
    assert list_tree(tmp_path) == list_tree(digits)
    some = list_tree(digits)["train"][::100]
    assert all((tmp_path / path).read_bytes() == (digits / path).read_bytes() for path in some)


def test_index_of_a_tree_is_written_when_all_is_well(digits, tmp_path):
    index = tmp_path / "data/index.tsv"
    script("index_data").index_data(root=digits, declared=declared(), check="decode", index=index)
    assert {name: len(split) for name, split in read_index(index, digits).items()} == {"train": 1280, "val": 517}


@pytest.mark.parametrize("change", [{"num_classes": 11}, {"num_val_images": 516}])
def test_no_index_is_written_of_a_tree_that_is_not_as_declared(digits, tmp_path, change):
    with pytest.raises(DataError, match="declared"):
        script("index_data").index_data(
            root=digits, declared=declared() | change, check="none", index=tmp_path / "index.tsv"
        )
    assert not (tmp_path / "index.tsv").exists()


def test_digits_are_never_mixed_with_images_of_ones_own(tmp_path):
    own = tmp_path / "own/train/0/mine.png"
    own.parent.mkdir(parents=True)
    own.touch()
    with pytest.raises(OSError, match="not empty"):
        script("write_digits").publish_digits(tmp_path / "own")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.png"]


def test_digits_are_published_whole(tmp_path):
    (tmp_path / "digits").mkdir()
    script("write_digits").publish_digits(tmp_path / "digits")
    assert {path.name for path in (tmp_path / "digits").iterdir()} == {"train", "val", ".complete"}
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_of_two_studies_that_write_the_digits_at_once_both_find_them(tmp_path):
    write = script("write_digits")
    write.publish_digits(tmp_path / "digits")
    (tmp_path / "digits/.complete").unlink()  # as Snakemake does where the slower one fails
    write.publish_digits(tmp_path / "digits")
    assert (tmp_path / "digits/.complete").exists()


def test_a_pack_has_the_index_of_its_tree(digits, tmp_path):
    sizes, index = declared(), script("index_data").index_data
    index(root=digits, declared=sizes, check="none", index=tmp_path / "tree.tsv")
    index(root=digits, declared=sizes, check="none", index=tmp_path / "packed.tsv", pack=tmp_path / "pack")
    index(root=tmp_path / "pack", declared=sizes, check="decode", index=tmp_path / "pack.tsv")
    assert (tmp_path / "tree.tsv").read_text() == (tmp_path / "packed.tsv").read_text()
    assert (tmp_path / "tree.tsv").read_text() == (tmp_path / "pack.tsv").read_text()


def test_a_whole_pack_of_images_coded_anew_does_without_its_tree(digits, tmp_path):
    index, anew = script("index_data").index_data, {"longest_side": 12, "quality": 90}
    shared = {"declared": declared(), "check": "none", "pack": tmp_path / "pack", "reencode": anew}
    index(root=digits, index=tmp_path / "with.tsv", **shared)
    index(root=tmp_path / "gone", index=tmp_path / "without.tsv", **shared)
    assert (tmp_path / "with.tsv").read_text() == (tmp_path / "without.tsv").read_text()
    with pytest.raises(DataError, match=r"dataset\.reencode: .* is a tree"):
        index(root=digits, index=tmp_path / "i", **{**shared, "pack": None})


def test_no_index_is_written_of_a_pack_that_is_not_as_declared_or_spoiled(digits, tmp_path):
    sizes, index = declared(), script("index_data").index_data
    with pytest.raises(DataError, match="num_classes: 11 declared, 10 found"):
        index(
            root=digits,
            declared=sizes | {"num_classes": 11},
            check="none",
            index=tmp_path / "i",
            pack=tmp_path / "pack",
        )
    assert not (tmp_path / "pack").exists()
    index(root=digits, declared=sizes, check="none", index=tmp_path / "index.tsv", pack=tmp_path / "pack")
    with pytest.raises(DataError, match="num_val_images: 5 declared, 517 found"):
        index(root=tmp_path / "pack", declared=sizes | {"num_val_images": 5}, check="none", index=tmp_path / "i")
    with pytest.raises(DataError, match=r"pack is a pack already; leave dataset\.pack out"):
        index(root=tmp_path / "pack", declared=sizes, check="none", index=tmp_path / "i", pack=tmp_path / "again")
    spoiled = tmp_path / "pack/train-0000.bin"
    whole = spoiled.read_bytes()
    spoiled.write_bytes(whole[:-1] + b"x")
    with pytest.raises(DataError, match=r"train-0000\.bin of a pack is corrupted"):
        index(root=tmp_path / "pack", declared=sizes, check="decode", index=tmp_path / "i")
    spoiled.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"bytes instead of"):
        index(root=tmp_path / "pack", declared=sizes, check="ends", index=tmp_path / "i")
    assert not (tmp_path / "i").exists()
