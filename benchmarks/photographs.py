"""JPEGs as ImageNet has them: windows of two real photographs, in its sizes, with a camera's grain."""

from __future__ import annotations

import multiprocessing
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((500, 375), (375, 500), (500, 333), (400, 300), (500, 400), (500, 375), (500, 500), (333, 500))
"""Width and height; 428 x 428 pixels on average of areas, as 470 x 390."""
QUALITY = 95
GRAIN, COLOURED_GRAIN = 6.8, 2.0
"""Standard deviations in grey levels: with them the files have 4.5 bits a pixel, as those of ImageNet of 106 KB."""
CLASSES = 10


@cache
def _photographs() -> list[Image.Image]:
    from sklearn.datasets import load_sample_images

    return [Image.fromarray(pixels) for pixels in load_sample_images().images]


def photograph(number: int) -> Image.Image:
    """One of any number of pictures, each its own."""
    random = np.random.default_rng(number)
    width, height = SIZES[number % len(SIZES)]
    whole = _photographs()[number % 2]
    zoom = random.uniform(0.35, 1.0) * min(whole.width / width, whole.height / height)
    w, h = int(width * zoom), int(height * zoom)
    left, top = random.integers(0, whole.width - w + 1), random.integers(0, whole.height - h + 1)
    image = whole.resize((width, height), Image.Resampling.BICUBIC, box=(left, top, left + w, top + h))
    grain = random.normal(0, GRAIN, (height, width, 1)) + random.normal(0, COLOURED_GRAIN, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def _write(root: Path, split: str, number: int) -> int:
    file = root / split / f"class{number % CLASSES}" / f"{number:05d}.JPEG"
    photograph(number).save(file, quality=QUALITY, subsampling="4:2:0")
    return file.stat().st_size


def write_tree(root: Path, *, train: int, val: int = CLASSES) -> float:
    """Write an ImageFolder tree and return the mean size of its training images in KB."""
    for split, count in (("train", train), ("val", val)):
        for label in range(min(count, CLASSES)):
            (root / split / f"class{label}").mkdir(parents=True)
    with multiprocessing.get_context("spawn").Pool() as pool:
        pool.map(partial(_write, root, "val"), range(val))
        sizes = pool.map(partial(_write, root, "train"), range(train), chunksize=16)
    return sum(sizes) / len(sizes) / 1000
