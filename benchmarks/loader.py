"""Images a second that data loaders hand over, on one core and on two. Writes loader.csv.

    python benchmarks/loader.py [--quick] [--images 2000]

The task is that of training on ImageNet: a random crop, resized to 224, flipped half of the time, in batches of 128.
JPEGs are generated (photographs.py), read from the page cache. Competitors take turns, each in a process of its own
that is bound to its cores; starting it is not counted.

- imagefolder: torchvision's ImageFolder with Pillow, RandomResizedCrop, flip, ToTensor and Normalize in a DataLoader
  as users write it, with the number of workers that is fastest; imagefolder_uint8: without ToTensor and Normalize.
- tree, pack: ours, from an ImageFolder tree and from `warmscale pack`; uint8, normalised on the device by the trainer.
  pack_normalised: with that on the same core.
  Without jpegtran (Debian: libjpeg-turbo-progs) packing has less to gain, and the column of that name says so.
- decode_only: libjpeg-turbo decodes each whole file (simplejpeg), nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from common import PYTHON, environment, write_results
from photographs import write_tree

SIZE, BATCH = 224, 128
WARMUP = 4
"""Batches before the clock starts."""
COUNTED = 10
"""Batches that are counted."""
MOST = 10
"""Passes over the images at most: nobody gets to the end."""
ROUNDS = 5
WORKERS = {1: (0, 1, 2), 2: (2, 3)}
"""Of the DataLoader, on so many cores: all are tried first."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RIVALS = ("imagefolder", "imagefolder_uint8")
OURS = ("tree", "pack", "pack_normalised")


def rate(counts: Iterable[int]) -> float:
    """Images a second of a loader that yields numbers of images without end.

    From the middle of its work to the middle: what it had done ahead when the clock started, it has again at the end.
    """
    counts = iter(counts)
    counted = -WARMUP * BATCH
    while counted < 0:
        counted += next(counts)
    counted, started = 0, time.perf_counter()
    while counted < COUNTED * BATCH:
        counted += next(counts)
    return counted / (time.perf_counter() - started)


def imagefolder(folder: Path, workers: int, *, as_uint8: bool = False) -> Iterable[int]:
    """Numbers of images in batches of torchvision's ImageFolder."""
    import torch
    from torch.utils.data import DataLoader, RandomSampler
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    torch.set_num_threads(1)
    last = [transforms.PILToTensor()] if as_uint8 else [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    change = transforms.Compose([transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), *last])
    data = ImageFolder(str(folder / "tree/train"), change)
    sampler = RandomSampler(data, num_samples=MOST * len(data))
    for images, _ in DataLoader(data, BATCH, sampler=sampler, num_workers=workers):
        yield len(images)


def ours(folder: Path, source: str, threads: int, *, normalised: bool = False) -> Iterable[int]:
    """Numbers of images in our batches."""
    import torch

    from warmscale.training.evaluate import Normalise
    from warmscale.training.images import Images
    from warmscale.training.loader import train_batches
    from warmscale.training.pack import open_splits

    torch.set_num_threads(1)
    split = open_splits(folder / "index.tsv", folder / source)["train"]
    images = Images(split, image_size=SIZE, val_resize=256, augment=True, data_seed=1)
    normalise = Normalise.from_values(MEAN, STD, torch.device("cpu"), torch.float32) if normalised else len
    starts = range(0, MOST * len(split), BATCH)
    for batch in train_batches(images, starts, BATCH, images_per_epoch=len(split), data_seed=1, threads=threads):
        normalise(batch.images)
        yield len(batch.images)


def decode_only(folder: Path) -> Iterable[int]:
    """One at a time, each read and decoded whole."""
    import simplejpeg

    for path in MOST * sorted((folder / "tree/train").glob("*/*")):
        simplejpeg.decode_jpeg(path.read_bytes())
        yield 1


def measured(name: str, folder: Path, threads: int) -> Iterable[int]:
    """What a competitor yields."""
    if name.startswith("imagefolder"):
        return imagefolder(folder, threads, as_uint8=name.endswith("uint8"))
    if name == "decode_only":
        return decode_only(folder)
    return ours(folder, name.partition("_")[0], threads, normalised=name.endswith("normalised"))


def in_process(name: str, folder: Path, threads: int, cores: int) -> float:
    """Images a second of a competitor in a process of its own on so many cores."""
    words = [PYTHON, __file__, "--measure", name, "--folder", str(folder), "--threads", str(threads)]
    words += ["--cores", str(cores)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def prepare(folder: Path, images: int) -> float:
    """Tree, index and pack; returns the mean size of an image in KB."""
    from warmscale.training.packing import make_pack
    from warmscale.training.tree import index_text, list_tree

    size_kb = write_tree(folder / "tree", train=images)
    (folder / "index.tsv").write_text(index_text(list_tree(folder / "tree")))
    make_pack(folder / "tree", folder / "pack", quiet=True)
    return size_kb


def main(images: int, rounds: int, folder: Path) -> list[dict]:
    """Rows of loader.csv."""
    size_kb = prepare(folder, images)
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    threads: dict[tuple[str, int], int] = {}
    usable = [cores for cores in (1, 2) if cores <= len(os.sched_getaffinity(0))]
    for cores in usable:
        for name in RIVALS if cores == 1 else ("imagefolder",):
            tried = {workers: in_process(name, folder, workers, cores) for workers in WORKERS[cores]}
            threads[name, cores] = max(tried, key=tried.get)
        threads |= {(name, cores): cores for name in OURS}
    for _ in range(rounds):
        for cores in usable:
            names = (*RIVALS, *OURS) if cores == 1 else ("imagefolder", "tree", "pack")
            for name in names:
                rates[name, cores].append(in_process(name, folder, threads[name, cores], cores))
        rates["decode_only", 1].append(in_process("decode_only", folder, 0, 1))
    return [row(name, cores, rates, threads, size_kb) for name, cores in rates]


def row(name: str, cores: int, rates: dict, threads: dict, size_kb: float) -> dict:
    """A row of the table: a competitor on so many cores."""
    own = rates[name, cores]
    against, decoding = rates["imagefolder", cores], rates["decode_only", 1]
    ratios = [mine / theirs for mine, theirs in zip(own, against, strict=True)]
    return {
        "loader": name,
        "cores": cores,
        "threads_or_workers": threads.get((name, cores), 0),
        "images_per_sec": round(statistics.median(own)),
        "images_per_sec_min": round(min(own)),
        "images_per_sec_max": round(max(own)),
        "times_imagefolder": f"{statistics.median(ratios):.2f}",
        "times_imagefolder_min": f"{min(ratios):.2f}",
        "times_imagefolder_max": f"{max(ratios):.2f}",
        "times_decode_only": f"{statistics.median(own) / statistics.median(decoding) / cores:.2f}",
        "rounds": len(own),
        "mean_jpeg_kb": round(size_kb, 1),
        "jpegtran": "yes" if shutil.which("jpegtran") else "no",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images, once, nothing written")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])
        print(json.dumps(rate(measured(given.measure, given.folder, given.threads))))
    else:
        with tempfile.TemporaryDirectory(prefix="warmscale-loader-") as temporary:
            if given.quick:
                for each in main(600, 1, Path(temporary)):
                    print(each)
            else:
                write_results("loader", main(given.images, ROUNDS, Path(temporary)))
