"""An ImageFolder tree: listed, compared with the declared sizes, looked at before any training."""

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from warmscale.training.tree import DataError, check_images, compare_with_declared, index_text, list_tree, read_index

DECLARED = {"num_train_images": 6, "num_val_images": 2, "num_classes": 2}


@pytest.fixture
def tree(tmp_path):
    """train/{cat,dog} with 3 images each, val with 1 each; JPEGs of cats, PNGs of dogs."""
    for split, count in (("train", 3), ("val", 1)):
        for name, ending in (("cat", "JPEG"), ("dog", "png")):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng(number).integers(0, 256, (40, 30, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.{ending}")
    return tmp_path


def findings(root, how="ends"):
    listed = list_tree(root)
    try:
        check_images(root, listed["train"] + listed["val"], how)
    except DataError as error:
        return str(error)
    return None


def cut(path, share):
    text = path.read_bytes()
    path.write_bytes(text[: int(len(text) * share)])


def test_a_tree_is_listed_in_order_relative_to_its_root(tree):
    listed = list_tree(tree)
    assert listed["val"] == ["val/cat/0.JPEG", "val/dog/0.png"]
    assert listed["train"] == [f"train/cat/{n}.JPEG" for n in range(3)] + [f"train/dog/{n}.png" for n in range(3)]


def test_files_that_are_no_images_are_ignored(tree):
    (tree / "train/cat/notes.txt").write_text("x")
    (tree / "train/cat/.DS_Store").write_text("x")
    (tree / "train/readme.png").write_text("in no class")
    assert len(list_tree(tree)["train"]) == 6


def test_endings_in_any_case_are_images(tree):
    (tree / "train/cat/0.JPEG").rename(tree / "train/cat/0.JpG")
    assert len(list_tree(tree)["train"]) == 6


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_missing_split_is_named_with_the_expected_layout(tree, split):
    (tree / split).rename(tree / "elsewhere")
    with pytest.raises(DataError) as error:
        list_tree(tree)
    place = f"{tree}/{split}"
    assert str(error.value) == f"dataset.root: {place} is no folder; expected {place}/<class>/<image>"


def test_a_tree_as_declared_is_accepted(tree):
    compare_with_declared(list_tree(tree), DECLARED)


def test_all_sizes_that_are_not_as_declared_are_named_at_once(tree):
    with pytest.raises(DataError) as error:
        compare_with_declared(list_tree(tree), {"num_train_images": 7, "num_val_images": 3, "num_classes": 5})
    assert str(error.value) == (
        "dataset.num_train_images: 7 declared, 6 found; dataset.num_val_images: 3 declared, 2 found; "
        "dataset.num_classes: 5 declared, 2 found"
    )


def test_classes_of_val_that_train_lacks_are_counted_and_the_first_is_named(tree):
    (tree / "val/cat").rename(tree / "val/bird")
    (tree / "val/dog").rename(tree / "val/wolf")
    with pytest.raises(DataError) as error:
        compare_with_declared(list_tree(tree), DECLARED)
    assert str(error.value) == "dataset.root: 2 classes are in val but not in train, the first is bird"


@pytest.mark.parametrize("how", ["ends", "decode"])
def test_whole_images_are_accepted(tree, how):
    assert findings(tree, how) is None


def test_a_png_named_jpeg_and_bytes_behind_a_jpegs_end_are_accepted(tree):
    (tree / "train/cat/0.JPEG").write_bytes((tree / "train/dog/0.png").read_bytes())
    with (tree / "train/cat/1.JPEG").open("ab") as file:
        file.write(b"appended by a camera")
    assert findings(tree, "ends") is None
    assert findings(tree, "decode") is None


SPOILED = {
    "empty JPEG": lambda root: (root / "train/cat/1.JPEG").write_bytes(b""),
    "empty PNG": lambda root: (root / "train/dog/1.png").write_bytes(b""),
    "text": lambda root: (root / "train/cat/1.JPEG").write_text("<html>not found</html>"),
    "JPEG cut off": lambda root: cut(root / "train/cat/1.JPEG", 0.6),
    "JPEG cut off at its end": lambda root: cut(root / "train/cat/1.JPEG", 0.98),
    "PNG cut off": lambda root: cut(root / "train/dog/1.png", 0.9),
    "PNG named JPEG cut off": lambda root: (root / "train/cat/1.JPEG").write_bytes(
        (root / "train/dog/1.png").read_bytes()[:-100]
    ),
    "dangling link": lambda root: (
        (root / "train/dog/1.png").unlink() or (root / "train/dog/1.png").symlink_to("nowhere")
    ),
}


@pytest.mark.parametrize("how", ["ends", "decode"])
@pytest.mark.parametrize("kind", SPOILED)
def test_an_unreadable_image_is_found_before_training(tree, kind, how):
    SPOILED[kind](tree)
    place = "train/dog/1.png" if kind in {"empty PNG", "PNG cut off", "dangling link"} else "train/cat/1.JPEG"
    assert findings(tree, how) == f"{tree / place} cannot be read, and no other images of {tree}"


def test_a_png_without_its_very_end_decodes_and_is_accepted(tree):
    (tree / "train/dog/1.png").write_bytes((tree / "train/dog/1.png").read_bytes()[:-9])
    assert findings(tree, "ends") is findings(tree, "decode") is None


@pytest.mark.parametrize("others, words", [(1, "1 other image"), (3, "3 other images")])
def test_the_first_unreadable_image_is_named_and_the_others_are_counted(tree, others, words):
    for path in list_tree(tree)["train"][: others + 1]:
        (tree / path).write_bytes(b"")
    assert findings(tree) == f"{tree}/train/cat/0.JPEG cannot be read, and {words} of {tree}"


def test_no_image_is_looked_at_where_none_is_asked_for(tree):
    (tree / "train/cat/0.JPEG").write_bytes(b"")
    assert findings(tree, "none") is None


def test_an_index_read_back_is_the_tree_with_the_labels_of_image_folder(tree):
    (tree / "train/dog/0.png").rename(tree / "train/dog/new.png")
    listed = list_tree(tree)
    (tree / "index.tsv").write_text(index_text(listed))
    splits = read_index(tree / "index.tsv", tree)
    for name, split in splits.items():
        assert list(split.paths) == listed[name]
        assert len(split) == len(listed[name])
        assert split.labels.dtype == np.int64
        reference = dict(ImageFolder(tree / name).samples)
        assert {str(tree / p): label for p, label in zip(split.paths, split.labels, strict=True)} == reference


def test_an_index_is_tab_separated_with_a_header(tree):
    lines = index_text(list_tree(tree)).splitlines()
    assert lines[:2] == ["split\tlabel\tpath", "train\t0\ttrain/cat/0.JPEG"]
    assert len(lines) == 9


def test_classes_that_val_lacks_keep_their_numbers(tree):
    (tree / "val/cat/0.JPEG").unlink()
    assert index_text(list_tree(tree)).splitlines()[-1] == "val\t1\tval/dog/0.png"
