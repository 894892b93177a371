"""A training step of ours against DeepSpeed's own and plain PyTorch's. Writes step.csv.

On two ranks (CPU, gloo, one thread each): a plain DistributedDataParallel loop, ours with either engine, and
DeepSpeed's stage 0 as its documentation has it. On one rank, where nothing is communicated: a plain loop and ours. All
train the same model on the same synthetic uint8 batches with SGD, in processes of their own that take turns: a block of
steps each, in another order every round, while the others wait. Ours is what a run does, with loss and accuracy over
all ranks, audit and requests to stop; the plain loops keep nothing, not even the loss. All normalise pixels in the same
way. A part of what ours gains a plain loop can have as well, so there is one with all of that: glibc told to keep freed
memory, fused SGD, gradients as views of DDP's buckets, buffers that are not sent around. `ratio_to_tuned`, to that one,
is the ratio that the project's target is about; `ratio_to_plain` is to the loop of tutorials. DeepSpeed's own has fused
SGD too.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from common import PYTHON, environment, write_results

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SGD = {"momentum": 0.9, "weight_decay": 5e-5}
LEARNING_RATE = 0.01
WARMUP_STEPS = 3


@dataclass(frozen=True)
class Case:
    """What is measured together."""

    model: str
    ranks: int
    image_size: int
    images: int
    """A rank and step."""
    steps: int
    """Of a block: one turn of one competitor."""
    rounds: int


CASES = (
    Case("resnet18", 2, 64, 16, steps=1, rounds=45),
    Case("resnet50", 2, 64, 16, steps=1, rounds=24),
    Case("resnet8", 2, 16, 32, steps=20, rounds=20),
    Case("resnet8", 1, 16, 32, steps=20, rounds=20),
    Case("resnet18", 1, 64, 16, steps=2, rounds=24),
)
COMPETITORS = {
    1: ("plain", "plain tuned", "ours deepspeed", "ours ddp"),
    2: ("plain", "plain tuned", "ours deepspeed", "ours ddp", "deepspeed"),
}
KEEPING_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
"""What training/allocator.py asks of glibc, for a loop that does not ask for it itself."""
SHOWN = {
    "plain": {1: "plain PyTorch loop", 2: "plain DDP loop"},
    "plain tuned": {
        1: "plain PyTorch loop, tuned",
        2: "plain DDP loop, tuned",
    },
    "ours deepspeed": "ours, engine: deepspeed",
    "ours ddp": "ours, engine: ddp",
    "deepspeed": "DeepSpeed's own stage 0",
}


def main() -> None:
    """Measure all cases and write step.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of one case, which writes nothing")
    parser.add_argument("--case", type=int, choices=range(len(CASES)), help="only this one; writes nothing")
    parser.add_argument("--rank", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.rank:
        return serve(chosen.rank["name"], Case(**chosen.rank["case"]), Path(chosen.rank["folder"]))
    cases = [CASES[chosen.case]] if chosen.case is not None else CASES
    if chosen.quick:
        cases = [Case(**{**vars(case), "steps": 1, "rounds": 1}) for case in cases[:1]]
    rows = [row for case in cases for row in rows_of(case, timed(case))]
    if chosen.quick or chosen.case is not None:
        print(*(json.dumps(row) for row in rows), sep="\n")
    else:
        write_results("step", rows)
    return None


def rows_of(case: Case, seconds: dict[str, list[tuple[float, float]]]) -> Iterator[dict]:
    """A row a competitor: milliseconds of a step, and its ratio to the plain loop's block of the same round."""
    for name, measured in seconds.items():
        blocks, processor = zip(*measured, strict=True)
        ratios, to_tuned = (
            sorted(ours / theirs for ours, (theirs, _) in zip(blocks, seconds[other], strict=True))
            for other in ("plain", "plain tuned")
        )
        shown = SHOWN[name]
        yield {
            "model": case.model,
            "ranks": case.ranks,
            "image_size": case.image_size,
            "images_a_rank": case.images,
            "loop": shown if isinstance(shown, str) else shown[case.ranks],
            "step_ms": round(1000 * statistics.median(blocks), 2),
            "cpu_ms": round(1000 * statistics.median(processor), 2),
            "step_ms_min": round(1000 * min(blocks), 2),
            "step_ms_max": round(1000 * max(blocks), 2),
            "ratio_to_plain": round(statistics.median(ratios), 3),
            "ratio_quartile_1": round(ratios[len(ratios) // 4], 3),
            "ratio_quartile_3": round(ratios[-1 - len(ratios) // 4], 3),
            "ratio_to_tuned": round(statistics.median(to_tuned), 3),
            "blocks": len(blocks),
            "steps_a_block": case.steps,
        }


class Competitor:
    """The processes of one loop, which do steps when told to."""

    def __init__(self, name: str, case: Case, folder: Path):
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        self._ranks = [
            subprocess.Popen(
                [PYTHON, __file__, "--rank", json.dumps({"name": name, "case": vars(case), "folder": str(folder)})],
                env=environment(
                    MASTER_ADDR="localhost",
                    MASTER_PORT=str(port),
                    RANK=str(rank),
                    LOCAL_RANK=str(rank),
                    WORLD_SIZE=str(case.ranks),
                    **(KEEPING_MEMORY if name == "plain tuned" else {}),
                ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=(folder / f"rank{rank}.log").open("w"),
                text=True,
            )
            for rank in range(case.ranks)
        ]
        self._log = folder / "rank0.log"

    def seconds_a_step(self, steps: int) -> tuple[float, float]:
        """Elapsed, and of the first rank's processor, over so many steps that all ranks begin together."""
        for rank in self._ranks:
            rank.stdin.write(f"{steps}\n")
            rank.stdin.flush()
        answers = [rank.stdout.readline() for rank in self._ranks]
        if not all(answers):
            sys.exit(self._log.read_text())
        elapsed, processor = json.loads(answers[0])
        return elapsed / steps, processor / steps

    def end(self) -> None:
        """No more steps."""
        for rank in self._ranks:
            rank.stdin.close()
        for rank in self._ranks:
            rank.wait()


def timed(case: Case) -> dict[str, list[tuple[float, float]]]:
    """{competitor: seconds of a step, elapsed and of a processor, block by block}."""
    names = COMPETITORS[case.ranks]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="warmscale-step-") as temporary:
        loops = {name: Competitor(name, case, Path(temporary) / name.replace(" ", "-")) for name in names}
        for loop in loops.values():
            loop.seconds_a_step(WARMUP_STEPS)
        for number in range(case.rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                seconds[name].append(loops[name].seconds_a_step(case.steps))
        for loop in loops.values():
            loop.end()
    return seconds


def serve(name: str, case: Case, folder: Path) -> None:
    """Be one rank of a competitor: read numbers of steps, answer with seconds."""
    import torch

    answers, rank, images, labels = join(case)
    if name.startswith("ours"):
        step = ours(case, rank, images, labels, folder, name.removeprefix("ours "))
    else:
        make = {"plain": plain, "plain tuned": partial(plain, tuned=True), "deepspeed": deepspeeds_own}[name]
        step = make(case, images, labels)
    for line in sys.stdin:
        torch.distributed.barrier()
        started, used = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            step()
        torch.distributed.barrier()
        print(json.dumps([time.perf_counter() - started, time.process_time() - used]), file=answers, flush=True)


def join(case: Case) -> tuple[TextIO, int, Any, Any]:
    """Be one rank of several: where it answers, its number, and the images and labels of its step."""
    import torch

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # DeepSpeed talks
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    shape = (case.images, case.image_size, case.image_size, 3)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(rank))
    # (N, 3, H, W), channels_last as the loader's
    return answers, rank, pixels.permute(0, 3, 1, 2), torch.arange(case.images) % 10


def new_model(case: Case):
    """The same initial weights for all."""
    from warmscale.training.model import build_model

    return build_model(case.model, num_classes=1000, zero_init_residual=False, init_seed=1)


def normaliser():
    """uint8 pixels to what the model sees: ours, for all."""
    import torch

    from warmscale.training.evaluate import Normalise

    return Normalise.from_values(list(MEAN), list(STD), torch.device("cpu"), torch.float32)


def plain(case: Case, images, labels, *, tuned: bool = False) -> Callable[[], None]:
    """As PyTorch's tutorials have it; tuned: as those who have read on have it."""
    import torch
    from torch.nn import functional

    model = new_model(case)
    if case.ranks > 1:
        wrap = torch.nn.parallel.DistributedDataParallel
        model = wrap(model, gradient_as_bucket_view=tuned, broadcast_buffers=not tuned)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, fused=tuned or None, **SGD)
    normalise = normaliser()

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(normalise(images)), labels).backward()
        optimizer.step()

    return step


def deepspeeds_own(case: Case, images, labels) -> Callable[[], None]:
    """As DeepSpeed's tutorials have it, with fused SGD, and without clipping, which the others do not do either."""
    import deepspeed
    import deepspeed.ops
    import torch

    # else it compiles a kernel for a minute, which fails without a compiler
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    from torch.nn import functional

    model = new_model(case)
    config = {
        "train_micro_batch_size_per_gpu": case.images,
        "gradient_clipping": 0.0,
        "zero_allow_untested_optimizer": True,
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, fused=True, **SGD)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    normalise = normaliser()

    def step() -> None:
        engine.backward(functional.cross_entropy(engine(normalise(images)), labels))
        engine.step()

    return step


def ours(case: Case, rank: int, images, labels, folder: Path, engine: str, **placement) -> Callable[[], None]:
    """A run's own step, audit included; only the images come from nowhere. placement: what differs from the default."""
    import numpy as np

    from warmscale.training.loader import MicroBatch
    from warmscale.training.loop import Loop
    from warmscale.training.step import take_step

    training = training_of(case, rank, folder / engine, engine, **placement)
    loop, numbers, size = Loop(training), iter(range(10**9)), case.ranks * case.images
    keys = rank * case.images + np.arange(case.images)
    batches = iter(lambda: MicroBatch(keys, images, labels), None)

    def step() -> None:
        number = next(numbers)
        expected = loop._expected(number, measure=number == 0)
        vitals = take_step(training, expected, batches, stop=False)
        loop.end_step(number, vitals)

    assert training.mini_batch_size == size
    return step


def training_of(case: Case, rank: int, folder: Path, engine: str, **placement):
    """What a rank sets up for such a run; its data set has names but no files."""
    import torch

    from warmscale.cluster.discovery import Rank
    from warmscale.records import StateFolder
    from warmscale.study import load_study
    from warmscale.training.setup import set_up

    folder.mkdir(exist_ok=True)
    count = 1000 * case.ranks * case.images
    dataset = {"name": "synthetic", "root": "unused", "num_train_images": count, "num_val_images": 1}
    dataset |= {"num_classes": 1000, "image_size": case.image_size}
    recipe = {"model": case.model, "epochs": 100, "workers": case.ranks, "mini_batch_size": case.ranks * case.images}
    recipe |= {"base_lr": LEARNING_RATE, "lr_scaling": {"rule": "none"}, "optimizer": SGD}
    experiment = {"name": "step", "extra": [{"point": {}}]}
    study = load_study({"study": "step", "dataset": dataset, "recipe": recipe, "experiments": [experiment]})
    run = next(iter(study.runs.values()))
    index = folder / f"index{rank}.tsv"
    index.write_text("split\tlabel\tpath\n" + "train\t0\tnone\n" * count + "val\t0\tnone\n")
    return set_up(
        run.run_id,
        json.loads(run.content_json()),
        study.config.placement.model_dump() | {"engine": engine, "device": "cpu", **placement},
        state=StateFolder(folder),
        index=index,
        root=folder,
        rank=Rank(rank, case.ranks, local_rank=rank),
        device=torch.device("cpu"),
    )


if __name__ == "__main__":
    main()
