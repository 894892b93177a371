"""Pixels equal those of torchvision's reference transforms on what ImageFolder opens."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import CenterCrop, Compose, Resize
from torchvision.transforms import functional as F

from warmscale.training import images as images_module
from warmscale.training.images import Images, open_image, random_crop_flip, resize_center_crop
from warmscale.training.order import random_crop
from warmscale.training.tree import DataError, Split

SIDES = st.integers(8, 90)


def picture(width, height, mode="RGB", seed=0):
    """Noise over a gradient."""
    channels = {"L": (), "RGB": (3,), "CMYK": (4,), "RGBA": (4,)}[mode]
    noise = np.random.default_rng(seed).integers(0, 128, (height, width, *channels))
    slope = np.linspace(0, 127, width).reshape((1, width, *(1 for _ in channels)))
    return Image.fromarray((noise + slope).astype(np.uint8), mode=mode)


def write_split(folder, sizes, **options):
    """A split of PNGs of these sizes."""
    for number, (width, height) in enumerate(sizes):
        picture(width, height, seed=number).save(folder / f"{number}.png")
    split = Split(folder, tuple(f"{number}.png" for number in range(len(sizes))), np.arange(len(sizes)) % 3)
    return Images(split, **{"image_size": 16, "val_resize": 20, "augment": False} | options)


@settings(max_examples=60)
@given(SIDES, SIDES, st.integers(4, 40), st.integers(0, 20))
def test_validation_pixels_are_those_of_resize_and_center_crop(width, height, size, margin):
    image = picture(width, height)
    reference = Compose([Resize(size + margin), CenterCrop(size)])(image)
    assert np.array_equal(resize_center_crop(image, size + margin, size), np.asarray(reference))


@settings(max_examples=60)
@given(SIDES, SIDES, st.integers(4, 40), st.integers(0, 1000))
def test_training_pixels_are_those_of_resized_crop_and_flip(width, height, size, position):
    image = picture(width, height)
    (left, top, right, bottom), flip = random_crop(7, 2, position, width, height)
    reference = F.resized_crop(image, top, left, bottom - top, right - left, [size, size])
    reference = F.hflip(reference) if flip else reference
    assert np.array_equal(random_crop_flip(image, size, 7, 2, position), np.asarray(reference))


def test_both_flipped_and_unflipped_crops_were_compared():
    assert {random_crop(7, 2, position, 50, 40)[1] for position in range(20)} == {True, False}


FILES = {
    "grey.JPEG": lambda file: picture(30, 20, "L").save(file, "JPEG"),
    "cmyk.JPEG": lambda file: picture(30, 20, "CMYK").save(file, "JPEG"),
    "png inside.JPEG": lambda file: picture(30, 20).save(file, "PNG"),
    "transparent.png": lambda file: picture(30, 20, "RGBA").save(file, "PNG"),
    "palette.png": lambda file: picture(30, 20).quantize(16).save(file, "PNG", transparency=3),
    "grey transparent.png": lambda file: picture(30, 20, "RGBA").convert("LA").save(file, "PNG"),
    "sixteen bit.png": lambda file: Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(file, "PNG"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_every_kind_of_file_is_decoded_to_rgb_as_image_folder_does(tmp_path, name):
    path = tmp_path / name
    FILES[name](path)
    image = open_image(path)
    assert (image.mode, image.size) == ("RGB", (30, 20))
    assert np.array_equal(np.asarray(image), np.asarray(pil_loader(str(path))))


def test_exif_orientation_is_ignored_as_image_folder_does(tmp_path):
    path = tmp_path / "turned.JPEG"
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    picture(30, 20).save(path, "JPEG", exif=exif)
    assert Image.open(path).getexif()[0x0112] == 6
    assert open_image(path).size == (30, 20)
    assert np.array_equal(np.asarray(open_image(path)), np.asarray(pil_loader(str(path))))


def spoiled_file(kind):
    whole = io.BytesIO()
    picture(60, 60).save(whole, "PNG" if kind == "png" else "JPEG")
    text = whole.getvalue()
    return {"empty": b"", "text": b"no image at all", "png": text[:-500], "jpeg": text[: len(text) // 2]}[kind]


@pytest.mark.parametrize("kind", ["empty", "text", "png", "jpeg"])
def test_an_unreadable_image_is_a_data_error_with_its_path(tmp_path, kind):
    path = tmp_path / "bad.JPEG"
    path.write_bytes(spoiled_file(kind))
    with pytest.raises(DataError, match=rf"^{path} cannot be read: "):
        open_image(path)


def test_a_missing_image_is_a_data_error_with_its_path():
    with pytest.raises(DataError, match=r"^/nowhere/1\.png cannot be read: "):
        open_image(Path("/nowhere/1.png"))


def test_a_decompression_bomb_is_a_data_error(tmp_path, monkeypatch):
    picture(60, 60).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"huge\.png cannot be read: "):
        open_image(tmp_path / "huge.png")


def test_a_batch_has_pixels_and_labels_in_the_order_asked_for(tmp_path):
    images = write_split(tmp_path, [(30, 20), (20, 30), (25, 25), (40, 21)])
    pixels, labels = images.batch(np.array([3, 1, 1]), np.zeros(3, int), np.arange(3))
    assert (pixels.shape, pixels.dtype) == ((3, 16, 16, 3), np.uint8)
    assert labels.tolist() == [0, 1, 1]
    for row, number in zip(pixels, [3, 1, 1], strict=True):
        assert np.array_equal(row, resize_center_crop(open_image(tmp_path / f"{number}.png"), 20, 16))


def test_an_augmented_batch_crops_each_image_by_its_epoch_and_position(tmp_path):
    images = write_split(tmp_path, [(30, 20), (20, 30)], augment=True, data_seed=9)
    pixels, _ = images.batch(np.array([1, 0, 1]), np.array([0, 4, 4]), np.array([7, 7, 8]))
    where = [(1, 0, 7), (0, 4, 7), (1, 4, 8)]
    for row, (number, epoch, position) in zip(pixels, where, strict=True):
        assert np.array_equal(row, random_crop_flip(open_image(tmp_path / f"{number}.png"), 16, 9, epoch, position))


def test_cached_pixels_are_those_read_anew_and_are_decoded_once(tmp_path, monkeypatch):
    cached = write_split(tmp_path, [(30, 20), (20, 30), (25, 25)])
    monkeypatch.setattr(images_module, "CACHE_MIB", 0)
    uncached = write_split(tmp_path, [(30, 20), (20, 30), (25, 25)])
    ids = np.array([2, 0, 2, 1])
    first = [images.batch(ids, ids, ids)[0].copy() for images in (cached, uncached)]
    assert np.array_equal(*first)
    for path in tmp_path.iterdir():
        path.unlink()
    assert np.array_equal(cached.batch(ids, ids, ids)[0], first[0])
    with pytest.raises(DataError):
        uncached.batch(ids, ids, ids)


def test_augmented_images_are_never_cached(tmp_path):
    images = write_split(tmp_path, [(30, 20)], augment=True)
    one = np.array([0])
    first, second = (images.batch(one, one, np.array([position]))[0] for position in (0, 1))
    assert not np.array_equal(first, second)
