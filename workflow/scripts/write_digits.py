"""Write scikit-learn's real scans of handwritten digits as an ImageFolder tree of PNGs."""

import argparse
import os
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN_IMAGES = 1280
PIXELS = 16
SPLIT_SEED = 0


def write_digits(root: Path) -> None:
    """Write train/<digit>/<number>.png (1,280) and val/<digit>/<number>.png (517), 16 x 16 pixels, RGB."""
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)  # (1797, 64) from 0 to 16
    # the scans are ordered by writer: mixed, so that both splits have all of them
    order = np.argsort(np.random.Philox(key=SPLIT_SEED).random_raw(len(scans)), kind="stable")
    for place, number in enumerate(order):
        folder = root / ("train" if place < TRAIN_IMAGES else "val") / str(labels[number])
        folder.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((scans[number].reshape(8, 8) * 255 / 16).astype(np.uint8))
        grey.resize((PIXELS, PIXELS), Image.Resampling.BILINEAR).convert("RGB").save(folder / f"{number:04d}.png")


def publish_digits(root: Path) -> None:
    """Put the whole tree, with `.complete`, where nothing is yet; raises OSError where root has something in it."""
    root = root.resolve()
    unfinished = root.with_name(f".{root.name}.{os.getpid()}")
    try:
        write_digits(unfinished)
        (unfinished / ".complete").touch()
        try:
            unfinished.rename(root)  # over an empty folder only
        except OSError:
            if not _same_files(unfinished, root):
                raise
            (root / ".complete").touch()  # another study was faster, and Snakemake may have taken its mark away
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _same_files(made: Path, there: Path) -> bool:
    """Whether all files that were made are there already."""
    files = [path.relative_to(made) for path in made.rglob("*.png")]
    return all((there / file).is_file() and (there / file).read_bytes() == (made / file).read_bytes() for file in files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path, help="folder of the tree; must be empty or not there")
    given = parser.parse_args().root
    try:
        publish_digits(given)
    except OSError as error:
        sys.exit(f"dataset.root: {given}: {error.strerror}; a data set of your own needs a name other than digits")
