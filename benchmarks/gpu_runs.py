"""Whole runs for gpu.py, through the real loop with its loader, audit, checkpoints and validation.

Started as `python gpu_runs.py jpegs|recipe '{...}'`; the last line that it prints is JSON.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import gpu_loops
import numpy as np

POOL = 512
"""Different synthetic images; an image of the data set is one of them."""


def device_of(name: str) -> Any:
    """The device by name."""
    import torch

    return torch.device("cuda", 0) if name == "cuda" else torch.device("cpu")


class Synthetic:
    """Images from memory where a data set would be read and decoded; the rest of the loader is the real one."""

    def __init__(self, images: Any):
        self.split, self.size = images.split, images.size
        self._pool = np.random.default_rng(0).integers(0, 256, (POOL, self.size, self.size, 3), dtype=np.uint8)

    def expect(self, ids: np.ndarray) -> None:
        """Nothing to read ahead."""

    def fill(self, out: np.ndarray, ids: np.ndarray, epochs: np.ndarray, positions: np.ndarray) -> list:
        """Write pixels."""
        np.take(self._pool, ids % POOL, axis=0, out=out)
        return []


class After:
    """Asks to stop after so many steps or seconds, and knows when each step began."""

    def __init__(self, steps: int, seconds: float = float("inf")):
        self.left, self.end, self.times = steps, time.monotonic() + seconds, []

    def is_due(self) -> bool:
        """To be asked once a step, at its start; the step that hears of it is the last one."""
        self.times.append(time.monotonic())
        return len(self.times) >= self.left or self.times[-1] >= self.end

    @property
    def step_sec(self) -> float:
        """Median, without the first steps."""
        steps = np.diff(self.times)[min(3, len(self.times) // 2) :]
        return float(np.median(steps)) if len(steps) else float("nan")


def recipe(options: dict[str, Any]) -> dict[str, Any]:
    """Steps of the poster's largest run with synthetic images, on one device; goes on from its checkpoint."""
    import torch
    import yaml

    from warmscale.training.loop import Loop, Totals

    folder = Path(options["folder"])
    raw = yaml.safe_load((gpu_loops.common.REPOSITORY / "config/config.yaml").read_text())
    dataset = {key: raw["dataset"][key] for key in ("num_train_images", "num_val_images", "num_classes")}
    own = {**raw["recipe"], "mini_batch_size": 30720, **options["recipe"]}
    dataset |= options["dataset"]
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.tsv"
    if not index.exists():
        rows = [
            f"{split}\t{number % dataset['num_classes']}\t{split}/{number}\n"
            for split, count in (("train", dataset["num_train_images"]), ("val", dataset["num_val_images"]))
            for number in range(count)
        ]
        index.write_text("split\tlabel\tpath\n" + "".join(rows))
    device = device_of(options["device"])
    os.environ.setdefault("WARMSCALE_CORES", str(os.cpu_count()))
    training = gpu_loops.training_for(folder, dataset, own, options["placement"], device, index=index, root=folder)
    training.train_images, training.val_images = Synthetic(training.train_images), Synthetic(training.val_images)
    totals = Totals(**(training.restore() or {}))
    before, stop = totals.step, After(options["steps"] - totals.step, options["seconds"])
    if stop.left > 0:
        Loop(training, totals, stop).run()  # a step that is not what the content says ends it: AuditError
        training.checkpoints.wait()
    with training.state.steps.open() as file:
        rows = list(csv.DictReader(file))
    return {
        "steps_done": totals.step,
        "steps_now": totals.step - before,
        "workers": training.content["workers"],
        "mini_batch_size": training.mini_batch_size,
        "workers_per_pass": training.speed.workers_per_pass,
        "images_per_sec": training.mini_batch_size / stop.step_sec if len(stop.times) > 1 else None,
        "audited_steps": len(rows),
        "distinct_images_wrong": sum(int(row["distinct_images"] or -1) != training.mini_batch_size for row in rows),
        "rates_wrong": sum(
            abs(float(row["learning_rate"]) / float(row["expected_learning_rate"]) - 1) > 1e-9 for row in rows
        ),
        "update_error_max": max((float(row["update_error"]) for row in rows if row.get("update_error")), default=None),
        "peak_gib": torch.cuda.max_memory_reserved() / 2**30 if device.type == "cuda" else 0.0,
    }


def jpegs(options: dict[str, Any]) -> dict[str, Any]:
    """Images a second from packed JPEGs, of the loader alone, and of the same run from memory, epoch by epoch."""
    from photographs import write_tree

    from warmscale.training.packing import make_pack
    from warmscale.training.tree import index_text, list_tree

    folder, count = Path(options["folder"]), options["images"]
    if not (folder / "index.tsv").exists():
        write_tree(folder / "tree", train=count)
        make_pack(folder / "tree", folder / "pack", quiet=True)
        (folder / "index.tsv").write_text(index_text(list_tree(folder / "tree")))
    os.environ.setdefault("WARMSCALE_CORES", str(len(os.sched_getaffinity(0))))
    rates: dict[str, list[float]] = {"synthetic": [], "loader": [], "jpegs": []}
    waited = []
    training = _training_on_jpegs(folder, options)
    for _ in range(options["rounds"]):
        rates["synthetic"].append(_synthetic_rate(training))
        rates["loader"].append(_loader_rate(training))
        rate, wait = _run_rate(training)
        rates["jpegs"].append(rate)
        waited.append(wait)
    return {"rates": rates, "waiting_share": statistics.median(waited), "cores": len(os.sched_getaffinity(0))}


def _training_on_jpegs(folder: Path, options: dict[str, Any]) -> Any:
    from photographs import CLASSES

    size, images = options["image_size"], options["mini_batch_size"]
    dataset = {"num_train_images": options["images"], "num_val_images": CLASSES, "num_classes": CLASSES}
    dataset |= {"image_size": size, "val_resize": size * 8 // 7}
    recipe = {"model": options["model"], "epochs": 1, "workers": 1, "mini_batch_size": images, "precision": "bf16"}
    recipe |= {"base_lr": 0.01, "lr_scaling": {"rule": "none"}, "optimizer": gpu_loops.SGD}
    recipe |= {"augmentation": "crop_flip", "decay": {"epochs": [0.9]}}
    shutil.rmtree(folder / "state", ignore_errors=True)
    return gpu_loops.training_for(
        folder,
        dataset,
        recipe,
        options["placement"],
        device_of(options["device"]),
        index=folder / "index.tsv",
        root=folder / "pack",
    )


def _epoch(training: Any, batches: Any = None) -> tuple[float, float]:
    """Images a second of an epoch's training by the run's own records, and the share of its time spent waiting."""
    from warmscale.training.loop import Loop

    run = Loop(training)
    if batches is not None:
        run._batches = lambda: batches
    run.run()
    with training.state.epochs.open() as file:
        row = list(csv.DictReader(file))[-1]
    return float(row["images_per_sec"]), float(row["data_wait_sec"]) / float(row["train_sec"])


def _run_rate(training: Any) -> tuple[float, float]:
    return _epoch(training)


def _synthetic_rate(training: Any) -> float:
    """The same run with images that are on the device already."""
    import torch

    from warmscale.training.loader import MicroBatch

    count, size = training.images_per_pass, training.train_images.size
    pixels = torch.randint(256, (count, size, size, 3), dtype=torch.uint8).to(training.device).permute(0, 3, 1, 2)
    labels = torch.zeros(count, dtype=torch.int64, device=training.device)
    batches = (MicroBatch(np.arange(first, first + count), pixels, labels) for first in range(0, 10**12, count))
    return _epoch(training, batches)[0]


def _loader_rate(training: Any) -> float:
    """The loader alone: an epoch of batches on the device, none of them used."""
    import torch

    from warmscale.training.step import batches_of

    synchronize = torch.cuda.synchronize if training.device.type == "cuda" else (lambda: None)
    batches, count = batches_of(training, range(training.schedule.total_steps)), 0
    next(batches)
    started = time.perf_counter()
    for batch in batches:
        count += len(batch.images)
    synchronize()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    print(json.dumps({"jpegs": jpegs, "recipe": recipe}[sys.argv[1]](json.loads(sys.argv[2]))))
