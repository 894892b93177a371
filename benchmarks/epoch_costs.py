"""What an epoch costs beside its training steps: validation and a checkpoint. Writes epoch_costs.csv.

Validation: our `evaluate` on images that are decoded already, in turns with bare forward passes of the same model over
the same batches, each normalised. A checkpoint: how long training stands still, and how long it takes until everything
is written and synced, of a model with SGD's momenta, on the disk of --folder.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from common import PYTHON, environment, write_results

EPOCH_SEC = 60.0
MODELS = (("resnet18", 64, 1024), ("resnet50", 64, 512), ("resnet8", 16, 4096))
"""Model, image size, images."""
ROUNDS = 9


def main() -> None:
    """Measure in a process with one thread, and write epoch_costs.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one model, two rounds; writes nothing")
    parser.add_argument("--folder", type=Path, help="where checkpoints are written (default: the system's temporary)")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if not chosen.measure:  # anew: the number of threads is read when torch is imported
        done = subprocess.run([PYTHON, __file__, "--measure", *sys.argv[1:]], env=environment(), check=False)
        sys.exit(done.returncode)
    models, rounds = (MODELS[2:], 2) if chosen.quick else (MODELS, ROUNDS)
    rows = []
    with tempfile.TemporaryDirectory(prefix="warmscale-epoch-", dir=chosen.folder) as folder:
        join(Path(folder))
        for model, image_size, images in models:
            rows += rows_of_validation(model, image_size, images, rounds)
            rows += rows_of_checkpoint(model, Path(folder) / model, rounds)
    if chosen.quick:
        print(*rows, sep="\n")
    else:
        write_results("epoch_costs", rows)


def join(folder: Path) -> None:
    """Be the only rank."""
    import torch

    from warmscale.training.allocator import keep_freed_memory

    keep_freed_memory()  # as a run does
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)


def engine_of(model: str):
    """An engine with SGD's momenta, one update done."""
    import torch

    from warmscale.training.engine import Plan, make_engine
    from warmscale.training.model import build_model

    built = build_model(model, num_classes=1000, zero_init_residual=False, init_seed=1)
    optimizer = torch.optim.SGD(built.parameters(), lr=0.01, momentum=0.9)
    engine = make_engine("deepspeed", built, optimizer, Plan(4, 4, 1, 0.0, "fp32", 0, torch.device("cpu")))
    engine.backward(engine.forward(torch.rand(4, 3, 32, 32)).sum())
    engine.end_micro_batch()
    return engine


def rows_of_validation(model: str, image_size: int, images: int, rounds: int) -> Iterator[dict]:
    """`evaluate` against bare forward passes."""
    import numpy as np
    import torch

    from warmscale.cluster.discovery import Rank
    from warmscale.training import evaluate as validation
    from warmscale.training.loader import MicroBatch

    engine = engine_of(model)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    normalise = validation.Normalise.from_values(mean, std, engine.device, torch.float32)
    size = validation.VAL_BATCH_SIZE
    starts = range(0, images, size)
    batches = [
        MicroBatch(np.arange(start, start + size), pixels(size, image_size), torch.arange(size) % 10)
        for start in starts
    ]
    validation.val_batches = lambda *_, **__: iter(batches)  # decoded already

    class Decoded:
        """Has the number of images only."""

        split = range(images)

    def bare() -> None:
        engine.model.eval()
        with torch.inference_mode():
            for batch in batches:
                engine.model(normalise(batch.images))
        engine.model.train()

    def ours() -> None:
        validation.evaluate(engine, Decoded(), normalise, Rank(0, 1, 0), threads=0)

    bares, evaluations = in_turns(bare, ours, rounds)
    yield {
        "what": "validation",
        "model": model,
        "of": f"{images} images of {image_size} x {image_size}",
        "ms": round(1000 * statistics.median(evaluations), 1),
        "compared_with": "bare forward passes",
        "compared_ms": round(1000 * statistics.median(bares), 1),
        "ratio": ratio(evaluations, bares),
        "ratio_quartiles": quartiles(evaluations, bares),
        "rounds": rounds,
    }


def pixels(count: int, size: int):
    """Noise.  # -> (count, 3, size, size) uint8, channels_last"""
    import torch

    return torch.randint(256, (count, size, size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)


def rows_of_checkpoint(model: str, folder: Path, rounds: int) -> Iterator[dict]:
    """How long training stands still for a checkpoint, and how long that is under way, as parts of a short epoch."""
    from warmscale.cluster.discovery import Rank
    from warmscale.training.batchnorm import RunningStatistics
    from warmscale.training.checkpoint import Checkpoints

    engine, checkpoints, stands, takes = engine_of(model), Checkpoints(folder), [], []
    statistics_of_layers = RunningStatistics(engine.model)
    for step in range(rounds + 1):
        os.sync()
        started = time.perf_counter()
        checkpoints.save(engine, statistics_of_layers, Rank(0, 1, 0), step=step, zero_stage=0, notes={})
        stands.append(time.perf_counter() - started)
        checkpoints.wait()
        takes.append(time.perf_counter() - started)
    megabytes = sum(file.stat().st_size for file in folder.rglob("*.pt")) / 2e6  # two are kept
    for what, seconds in (("checkpoint, training stands still", stands), ("checkpoint, written and synced", takes)):
        parts = sorted(each / EPOCH_SEC for each in seconds[1:])  # the first one also takes its memory
        yield {
            "what": what,
            "model": model,
            "of": f"{megabytes:.0f} MB",
            "ms": round(1000 * EPOCH_SEC * statistics.median(parts), 1),
            "compared_with": f"an epoch of {EPOCH_SEC:.0f} s",
            "compared_ms": round(1000 * EPOCH_SEC),
            "ratio": round(statistics.median(parts), 5),
            "ratio_quartiles": f"{parts[len(parts) // 4]:.5f} to {parts[-1 - len(parts) // 4]:.5f}",
            "rounds": rounds,
        }


def in_turns(one: Callable[[], None], other: Callable[[], None], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each, the order changing from round to round; the first round of each is for warming up."""
    seconds: dict[Callable, list[float]] = {one: [], other: []}
    for number in range(rounds + 1):
        for action in (one, other) if number % 2 else (other, one):
            started = time.perf_counter()
            action()
            seconds[action].append(time.perf_counter() - started)
    return seconds[one][1:], seconds[other][1:]


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Median over rounds."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


def quartiles(ours: list[float], theirs: list[float]) -> str:
    """Of the ratios of rounds."""
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return f"{ratios[len(ratios) // 4]:.3f} to {ratios[-1 - len(ratios) // 4]:.3f}"


if __name__ == "__main__":
    main()
