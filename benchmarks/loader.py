"""Images a second that data loaders hand over, on one core and on two. Writes loader.csv.

    python benchmarks/loader.py [--quick] [--images 2000]

The task is that of training on ImageNet: a random crop, resized to 224, flipped half of the time, in batches of 128.
JPEGs are generated (photographs.py), read from the page cache. Competitors take turns, each in a process of its own
that is bound to its cores; starting it is not counted. Rivals have the number of workers that is fastest.

- imagefolder: torchvision's ImageFolder with Pillow, RandomResizedCrop, flip, ToTensor and Normalize in a DataLoader
  as users write it; imagefolder_uint8: without ToTensor and Normalize.
- torchvision_v2: ImageFolder with torchvision's own JPEG decoder and transforms v2, all in uint8, in a DataLoader.
- tree, pack: ours, from an ImageFolder tree and from `warmscale pack`; uint8, normalised on the device by the trainer.
  pack_normalised: with that on the same core.
  Without jpegtran (Debian: libjpeg-turbo-progs) packing has less to gain, and the column of that name says so.
- decode_only: libjpeg-turbo decodes each whole file (simplejpeg), nothing else.

times_same_work compares with the imagefolder that hands over the same: pixels in uint8, or normalised ones.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from common import environment, write_results
from photographs import write_tree

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import torch
    from torchvision.datasets import ImageFolder

SIZE, BATCH = 224, 128
WARMUP = 2
"""Batches before the clock starts."""
COUNTED, TRIED = 8, 3
"""Batches that are counted, and to find the best number of workers."""
MOST = 10
"""Passes over the images at most: nobody gets to the end."""
ROUNDS = 5
WORKERS = {1: (0, 1, 2), 2: (2, 3)}
"""Of the DataLoader, on so many cores: all are tried first."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RIVALS = ("imagefolder", "imagefolder_uint8", "torchvision_v2")
OURS = ("tree", "pack", "pack_normalised")
NORMALISED = ("imagefolder", "pack_normalised")
"""All others hand over uint8."""
IMPORTED = ["numpy", "simplejpeg", "torch", "torchvision", "torchvision.transforms.v2"]
"""Once for all competitors, before any of them runs."""


def rate(counts: Iterable[int], batches: int) -> float:
    """Images a second of a loader that yields numbers of images without end.

    From the middle of its work to the middle: what it had done ahead when the clock started, it has again at the end.
    """
    counts = iter(counts)
    counted = -WARMUP * BATCH
    while counted < 0:
        counted += next(counts)
    counted, started = 0, time.perf_counter()
    while counted < batches * BATCH:
        counted += next(counts)
    return counted / (time.perf_counter() - started)


def imagefolder(folder: Path, workers: int, *, as_uint8: bool = False) -> Iterable[int]:
    """Numbers of images in batches of torchvision's ImageFolder."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    last = [transforms.PILToTensor()] if as_uint8 else [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    change = transforms.Compose([transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), *last])
    yield from loaded(ImageFolder(str(folder / "tree/train"), change), workers)


def torchvision_v2(folder: Path, workers: int) -> Iterable[int]:
    """Numbers of images in batches that torchvision decodes and changes without Pillow."""
    from torchvision.datasets import ImageFolder
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms import v2

    def read(path: str) -> torch.Tensor:
        return decode_jpeg(read_file(path), mode=ImageReadMode.RGB)

    change = v2.Compose([v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip()])
    yield from loaded(ImageFolder(str(folder / "tree/train"), change, loader=read), workers)


def loaded(data: ImageFolder, workers: int) -> Iterable[int]:
    """Numbers of images in batches of a DataLoader."""
    import torch
    from torch.utils.data import DataLoader, RandomSampler

    torch.set_num_threads(1)
    sampler = RandomSampler(data, num_samples=MOST * len(data))
    fork = "fork" if workers else None  # as on Linux by default, and they are bound to our cores
    for images, _ in DataLoader(data, BATCH, sampler=sampler, num_workers=workers, multiprocessing_context=fork):
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
    if name == "torchvision_v2":
        return torchvision_v2(folder, threads)
    if name == "decode_only":
        return decode_only(folder)
    return ours(folder, name.partition("_")[0], threads, normalised=name.endswith("normalised"))


def in_process(name: str, folder: Path, threads: int, cores: int, batches: int = COUNTED) -> float:
    """Images a second of a competitor in a process of its own on so many cores."""
    context = multiprocessing.get_context("forkserver")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=send_rate, args=(send, name, folder, threads, cores, batches))
    process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        sys.exit(f"{name} has failed, as said above")
    finally:
        process.join()


def send_rate(pipe: Connection, name: str, folder: Path, threads: int, cores: int, batches: int) -> None:
    """What a competitor's process does."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # more workers than cores are tried too
    pipe.send(rate(measured(name, folder, threads), batches))


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
        for name in RIVALS:
            tried = {workers: in_process(name, folder, workers, cores, TRIED) for workers in WORKERS[cores]}
            threads[name, cores] = max(tried, key=tried.get)
        threads |= {(name, cores): cores for name in OURS}
    for _ in range(rounds):
        for cores in usable:
            for name in (*RIVALS, *OURS):
                rates[name, cores].append(in_process(name, folder, threads[name, cores], cores))
        rates["decode_only", 1].append(in_process("decode_only", folder, 0, 1))
    return [row(name, cores, rates, threads, size_kb) for name, cores in rates]


def row(name: str, cores: int, rates: dict, threads: dict, size_kb: float) -> dict:
    """A row of the table: a competitor on so many cores."""
    own, decoding = rates[name, cores], rates["decode_only", 1]
    ratios = [mine / theirs for mine, theirs in zip(own, rates["imagefolder", cores], strict=True)]
    rival = "imagefolder" if name in NORMALISED else "imagefolder_uint8"
    same = [mine / theirs for mine, theirs in zip(own, rates[rival, cores], strict=True)]
    hands_over = name != "decode_only"
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
        "times_same_work": f"{statistics.median(same):.2f}" if hands_over else "",
        "times_same_work_min": f"{min(same):.2f}" if hands_over else "",
        "times_same_work_max": f"{max(same):.2f}" if hands_over else "",
        "times_decode_only": f"{statistics.median(own) / statistics.median(decoding) / cores:.2f}",
        "rounds": len(own),
        "mean_jpeg_kb": round(size_kb, 1),
        "jpegtran": "yes" if shutil.which("jpegtran") else "no",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images, once, nothing written")
    parser.add_argument("--images", type=int, default=2000)
    given = parser.parse_args()
    os.environ.update(environment())
    multiprocessing.set_forkserver_preload(IMPORTED)
    with tempfile.TemporaryDirectory(prefix="warmscale-loader-") as temporary:
        if given.quick:
            for each in main(600, 1, Path(temporary)):
                print(each)
        else:
            write_results("loader", main(given.images, ROUNDS, Path(temporary)))
