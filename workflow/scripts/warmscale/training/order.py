"""Which image stands where, and how it is cropped: pure functions of (data seed, epoch, position).

Philox (Salmon et al. 2011) is counter-based: the numbers of any position are had without those before it, so every
mini-batch size, number of ranks and resumed training sees the same images. numpy keeps the raw stream of a bit
generator stable for ever, unlike what Generator makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

ORDER_STREAM, CROP_STREAM, MODEL_STREAM = 0, 1, 2

CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10
DRAWS_PER_CROP = 4 * CROP_TRIES + 1


def uniform(seed: int, stream: int, counter: Sequence[int], size: int) -> np.ndarray:
    """`size` doubles in [0, 1) that belong to (seed, stream, counter); counter has three whole numbers."""
    return (_raw(seed, stream, counter, size) >> np.uint64(11)) * 2.0**-53


def _raw(seed: int, stream: int, counter: Sequence[int], size: int) -> np.ndarray:
    counter = np.array([0, *counter], dtype=np.uint64)
    return np.random.Philox(key=_key(seed % 2**64, stream), counter=counter).random_raw(size)


@lru_cache(maxsize=64)
def _key(seed: int, stream: int) -> np.ndarray:
    return np.array([seed, stream], dtype=np.uint64)


@lru_cache(maxsize=3)
def permutation(data_seed: int, epoch: int, num_images: int) -> np.ndarray:
    """Order of the whole training set in an epoch (from 0).  # (num_images,) int64"""
    keys = _raw(data_seed, ORDER_STREAM, (epoch, 0, 0), num_images)
    return np.argsort(keys, kind="stable")


def stream_positions(start: int, count: int, images_per_epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and positions within them of a range of the stream of training images.  # (count,), (count,)"""
    return np.divmod(np.arange(start, start + count), images_per_epoch)


def sample_ids(data_seed: int, epochs: np.ndarray, positions: np.ndarray, num_images: int) -> np.ndarray:
    """Index into the training set of each (epoch, position).  # (n,) int64"""
    ids = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        ids[here] = permutation(data_seed, int(epoch), num_images)[positions[here]]
    return ids


def model_seed(init_seed: int, step: int, micro_batch: int) -> int:
    """Seed of whatever a model draws (dropout) in a micro-batch, the same on any number of ranks."""
    return int(_raw(init_seed, MODEL_STREAM, (step, micro_batch, 0), 1)[0] >> np.uint64(1))


def random_crop(data_seed: int, epoch: int, position: int, width: int, height: int) -> tuple[tuple[int, ...], bool]:
    """Box (left, top, right, bottom) of RandomResizedCrop and whether to flip; the law is torchvision's."""
    raw = _raw(data_seed, CROP_STREAM, (position, epoch, 0), DRAWS_PER_CROP).tolist()
    flip = (raw[-1] >> 11) * 2.0**-53 < 0.5
    for first in range(0, 4 * CROP_TRIES, 4):
        # as `uniform`, but of the first try alone, which is nearly always the last
        area, ratio, left, top = [(draw >> 11) * 2.0**-53 for draw in raw[first : first + 4]]
        pixels = width * height * (CROP_AREA[0] + area * (CROP_AREA[1] - CROP_AREA[0]))
        aspect = math.exp(math.log(CROP_RATIO[0]) + ratio * math.log(CROP_RATIO[1] / CROP_RATIO[0]))
        w, h = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < w <= width and 0 < h <= height:
            x, y = int(left * (width - w + 1)), int(top * (height - h + 1))
            return (x, y, x + w, y + h), flip
    return _central_crop(width, height), flip


def _central_crop(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest central box with an allowed ratio: what torchvision falls back on."""
    w, h = width, height
    if width / height < CROP_RATIO[0]:
        h = round(width / CROP_RATIO[0])
    elif width / height > CROP_RATIO[1]:
        w = round(height * CROP_RATIO[1])
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h
