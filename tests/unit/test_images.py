"""Pixels equal those of torchvision's reference transforms on what ImageFolder opens."""

import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import CenterCrop, Compose, Resize
from torchvision.transforms import functional as F

from warmscale.training import decode
from warmscale.training import images as images_module
from warmscale.training.crops import CENTER, CROP
from warmscale.training.decode import UNREADABLE, open_image, turbo_pixels
from warmscale.training.images import Images
from warmscale.training.order import random_crop
from warmscale.training.tree import DataError, Split

from .pictures import ALL, encoded, glued, picture, turned

SIDES = st.integers(8, 90)


def random_crop_flip(data, size, data_seed, epoch, position, decoder="turbo"):
    """The crop of an image at a position."""
    out = np.empty((size, size, 3), np.uint8)
    CROP[decoder](data, functools.partial(random_crop, data_seed, epoch, position), out)
    return out


def resize_center_crop(data, resize, size, decoder="turbo"):
    """The centre of an image."""
    out = np.empty((size, size, 3), np.uint8)
    CENTER[decoder](data, resize, out)
    return out


def write_split(folder, sizes, **options):
    """A split of PNGs of these sizes."""
    for number, (width, height) in enumerate(sizes):
        picture(width, height, seed=number).save(folder / f"{number}.png")
    split = Split(folder, tuple(f"{number}.png" for number in range(len(sizes))), np.arange(len(sizes)) % 3)
    return Images(split, **{"image_size": 16, "val_resize": 20, "augment": False} | options)


def differ_by(first, second):
    """Grey levels."""
    return np.abs(first.astype(int) - second).max()


@settings(max_examples=60)
@given(SIDES, SIDES, st.integers(4, 40), st.integers(0, 20))
def test_validation_pixels_are_those_of_resize_and_center_crop(width, height, size, margin):
    data = encoded(picture(width, height), "PNG")
    reference = np.asarray(Compose([Resize(size + margin), CenterCrop(size)])(picture(width, height)))
    assert np.array_equal(resize_center_crop(data, size + margin, size, "pil"), reference)
    assert differ_by(resize_center_crop(data, size + margin, size), reference) <= 1


@settings(max_examples=60)
@given(SIDES, SIDES, st.integers(4, 40), st.integers(0, 1000))
def test_training_pixels_are_those_of_resized_crop_and_flip(width, height, size, position):
    image = picture(width, height)
    (left, top, right, bottom), flip = random_crop(7, 2, position, width, height)
    reference = F.resized_crop(image, top, left, bottom - top, right - left, [size, size])
    reference = np.asarray(F.hflip(reference) if flip else reference)
    data = encoded(image, "PNG")
    assert np.array_equal(random_crop_flip(data, size, 7, 2, position, "pil"), reference)
    assert differ_by(random_crop_flip(data, size, 7, 2, position), reference) <= 1


def test_both_flipped_and_unflipped_crops_were_compared():
    assert {random_crop(7, 2, position, 50, 40)[1] for position in range(20)} == {True, False}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_every_kind_of_file_is_decoded_to_rgb_as_image_folder_does(tmp_path, name):
    path = tmp_path / "1.JPEG"
    path.write_bytes(ALL[name]())
    reference = pil_loader(str(path))
    assert np.array_equal(np.asarray(open_image(path.read_bytes())), np.asarray(reference))
    assert np.array_equal(turbo_pixels(path.read_bytes()), np.asarray(reference))


@settings(max_examples=300)
@given(st.sampled_from([*ALL]), st.integers(1, 40), st.integers(0, 1000))
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_crops_of_every_kind_of_file_are_within_a_grey_level_of_pillows(name, size, position):
    data = file_of(name)
    turbo, pil = (random_crop_flip(data, size, 3, 1, position, decoder) for decoder in ("turbo", "pil"))
    assert differ_by(turbo, pil) <= 1


@pytest.mark.parametrize("name", ALL)
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_centres_of_every_kind_of_file_are_within_a_grey_level_of_pillows(name):
    turbo, pil = (resize_center_crop(file_of(name), 33, 30, decoder) for decoder in ("turbo", "pil"))
    assert differ_by(turbo, pil) <= 1


def test_crops_of_224_are_within_a_grey_level_of_pillows_but_for_one_pixel_in_a_hundred_thousand():
    differences = []
    for number in range(6):
        data = encoded(picture(300 + 80 * number, 600 - 60 * number, seed=number))
        turbo, pil = (random_crop_flip(data, 224, 3, 1, number, decoder).astype(int) for decoder in ("turbo", "pil"))
        differences.append(np.abs(turbo - pil))
    assert np.max(differences) <= 2
    assert np.mean(np.array(differences) > 1) <= 1e-5


@functools.cache
def file_of(name):
    return ALL[name]()


def test_exif_orientation_is_ignored_as_image_folder_does(tmp_path):
    path = tmp_path / "turned.JPEG"
    path.write_bytes(turned(30, 20))
    assert Image.open(path).getexif()[0x0112] == 6
    assert turbo_pixels(path.read_bytes()).shape == (20, 30, 3)
    assert np.array_equal(turbo_pixels(path.read_bytes()), np.asarray(pil_loader(str(path))))


def spoiled_file(kind):
    whole = encoded(picture(60, 60), "PNG" if kind == "png" else "JPEG")
    cut = {"empty": 0, "start": 2, "header": 100, "png": len(whole) - 500, "jpeg": len(whole) // 2}
    return b"no image at all" if kind == "text" else whole[: cut[kind]]


@pytest.mark.parametrize("decoder", ["turbo", "pil"])
@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("kind", ["empty", "start", "header", "text", "png", "jpeg"])
def test_an_unreadable_image_is_a_data_error_with_its_path(tmp_path, kind, augment, decoder):
    images = write_split(tmp_path, [(20, 20)], augment=augment, decoder=decoder)
    (tmp_path / "0.png").write_bytes(spoiled_file(kind))
    with pytest.raises(DataError, match=rf"^{tmp_path}/0\.png cannot be read: .* \(0 others in this batch\)$"):
        images.batch(*np.zeros((3, 1), int))


@pytest.mark.parametrize("decoder", ["turbo", "pil"])
@pytest.mark.parametrize("position", range(10))
def test_a_file_glued_together_is_unreadable_whatever_part_of_it_a_crop_needs(position, decoder):
    with pytest.raises(UNREADABLE):
        random_crop_flip(glued(200, 200), 16, 3, 1, position, decoder)


def test_a_missing_image_is_a_data_error_with_its_path():
    images = Images(Split(Path("/nowhere"), ("1.png",), np.zeros(1, int)), image_size=8, val_resize=8, augment=True)
    with pytest.raises(DataError, match=r"^/nowhere/1\.png cannot be read: "):
        images.batch(*np.zeros((3, 1), int))


def test_all_that_cannot_be_read_of_a_batch_are_counted(tmp_path):
    images = write_split(tmp_path, [(20, 20)] * 6)
    for number in (1, 4, 5):
        (tmp_path / f"{number}.png").unlink()
    with pytest.raises(DataError, match=r"1\.png cannot be read: .* \(2 others in this batch\)"):
        images.batch(*np.tile(np.arange(6), (3, 1)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("progressive", [True, False])
@pytest.mark.parametrize("augment", [True, False])
def test_a_decompression_bomb_is_a_data_error(tmp_path, monkeypatch, kind, progressive, augment):
    images = write_split(tmp_path, [(60, 60)], augment=augment)
    (tmp_path / "0.png").write_bytes(encoded(picture(60, 60), kind, progressive=progressive))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"0\.png cannot be read: .*bomb"):
        images.batch(*np.zeros((3, 1), int))


def test_without_libjpeg_turbo_a_run_that_wants_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "simplejpeg", None)
    with pytest.raises(DataError, match=r"^dataset\.decoder: turbo needs the package simplejpeg.*decoder: pil"):
        write_split(tmp_path, [(20, 20)])
    assert write_split(tmp_path, [(20, 20)], decoder="pil").batch(*np.zeros((3, 1), int))[0].shape == (1, 16, 16, 3)


def test_a_batch_has_pixels_and_labels_in_the_order_asked_for(tmp_path):
    images = write_split(tmp_path, [(30, 20), (20, 30), (25, 25), (40, 21)])
    pixels, labels = images.batch(np.array([3, 1, 1]), np.zeros(3, int), np.arange(3))
    assert (pixels.shape, pixels.dtype) == ((3, 16, 16, 3), np.uint8)
    assert labels.tolist() == [0, 1, 1]
    for row, number in zip(pixels, [3, 1, 1], strict=True):
        assert np.array_equal(row, resize_center_crop((tmp_path / f"{number}.png").read_bytes(), 20, 16))


def test_an_augmented_batch_crops_each_image_by_its_epoch_and_position(tmp_path):
    images = write_split(tmp_path, [(30, 20), (20, 30)], augment=True, data_seed=9)
    pixels, _ = images.batch(np.array([1, 0, 1]), np.array([0, 4, 4]), np.array([7, 7, 8]))
    where = [(1, 0, 7), (0, 4, 7), (1, 4, 8)]
    for row, (number, epoch, position) in zip(pixels, where, strict=True):
        assert np.array_equal(row, random_crop_flip((tmp_path / f"{number}.png").read_bytes(), 16, 9, epoch, position))


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
