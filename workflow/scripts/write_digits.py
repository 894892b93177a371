"""Write scikit-learn's real scans of handwritten digits as an ImageFolder tree of PNGs."""

import argparse
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--done", required=True, type=Path, help="file in the tree's folder, written last")
    done = parser.parse_args().done
    write_digits(done.parent)
    done.touch()
