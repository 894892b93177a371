"""From a file to uint8 pixels: one decoder, one resize (Pillow, bilinear with antialiasing)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .order import random_crop
from .tree import DataError, Split

CACHE_MIB = 256
"""Decoded images are kept when all of a split fit into this: decoding a small data set can cost more than training."""


def open_image(path: Path) -> Image.Image:
    """Decode an image to RGB as ImageFolder does: no EXIF rotation; raises DataError with the path."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def random_crop_flip(image: Image.Image, size: int, data_seed: int, epoch: int, position: int) -> np.ndarray:
    """RandomResizedCrop and flip of the image at a position.  # (size, size, 3) uint8"""
    box, flip = random_crop(data_seed, epoch, position, image.width, image.height)
    image = image.crop(box).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image)


def resize_center_crop(image: Image.Image, resize: int, size: int) -> np.ndarray:
    """Shorter side to `resize`, then the central square, rounded as torchvision does.  # (size, size, 3) uint8"""
    width, height = image.size
    short = min(width, height)
    if short != resize:
        scaled = (int(resize * width / short), int(resize * height / short))
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


class Images:
    """Batches of one split as uint8 pixels."""

    def __init__(self, split: Split, *, image_size: int, val_resize: int, augment: bool, data_seed: int = 0):
        self.split = split
        self._size, self._resize = image_size, val_resize
        self._augment, self._data_seed = augment, data_seed
        shape = (len(split), image_size, image_size, 3)
        fits = not augment and np.prod(shape, dtype=np.int64) <= CACHE_MIB * 2**20
        self._cache = np.zeros(shape, dtype=np.uint8) if fits else None
        self._cached = np.zeros(len(split), dtype=bool)

    def batch(self, ids: np.ndarray, epochs: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and labels of some images, at their places in the stream.  # (n, H, W, 3) uint8, (n,) int64

        Raises DataError with the path of an image that cannot be read, and how many others of the batch cannot.
        """
        if self._cache is None:
            places = list(zip(ids, epochs, positions, strict=True))
            return np.stack(self._all_pixels(places)), self.split.labels[ids]
        missing = ids[~self._cached[ids]]
        if len(missing):
            self._cache[missing] = self._all_pixels([(index, 0, 0) for index in missing])
            self._cached[missing] = True
        return self._cache[ids], self.split.labels[ids]

    def _all_pixels(self, places: list[tuple[int, int, int]]) -> list[np.ndarray]:
        pixels, errors = [], []
        for place in places:
            try:
                pixels.append(self._pixels(*place))
            except DataError as error:
                errors.append(error)
        if errors:
            raise DataError(f"{errors[0]} ({len(errors) - 1} others in this batch)") from errors[0]
        return pixels

    def _pixels(self, index: int, epoch: int, position: int) -> np.ndarray:
        image = open_image(self.split.root / self.split.paths[index])
        if self._augment:
            return random_crop_flip(image, self._size, self._data_seed, int(epoch), int(position))
        return resize_center_crop(image, self._resize, self._size)
