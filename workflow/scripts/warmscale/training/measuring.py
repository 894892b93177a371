"""Timing steps instead of training: whole ones, those without averaging gradients, and that averaging alone.

Whole steps are those of training. Averaging goes on while the backward pass computes, so what it adds to a step, the
difference to a step without it, is less than what it takes by itself: both are measured, in turns. The few numbers
that ranks exchange in every step (loss, requests to stop) are exchanged without averaging too: no rank runs away from
the others.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from ..records import MEASURED_COLUMNS, rows_to_csv, write_atomic, write_json
from ..study.throughput import blocks, reads_nothing, total_steps
from .audit import Expected
from .loader import MicroBatch
from .loop import Ending, Totals, peak_memory_mib
from .model import ConfigError
from .reduction import Bucket, sum_alone
from .signals import Stop
from .step import batches_of, take_step
from .training import Training


def measure(training: Training, stop: Stop) -> Ending:
    """Time steps and leave what came out, unless somebody asks to stop: nothing is kept then; a collective."""
    if training.progress:
        training.progress.start(0)
    dist.barrier()
    clock = Stopwatch(training, stop)
    state = "finished" if clock.run() else "paused"
    training.check_lease()
    if training.progress:
        training.progress.write(state, clock.taken, 0)
        training.say(f"{training.run_id}: {state} after {clock.taken} steps")
    if state == "finished" and training.rank.is_first:
        write_atomic(training.state.steps, rows_to_csv(clock.rows, MEASURED_COLUMNS))
        write_json(training.state.outcome, _outcome(training, clock))
    dist.barrier()  # launchers kill the other ranks once one has ended with the code of a pause
    return Ending(state, Totals(step=clock.taken))


@dataclass
class Stopwatch:
    """Takes the steps of a measurement on one rank, and their times by its clock."""

    training: Training
    stop: Stop
    taken: int = 0
    """Steps so far, timed or not."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """MEASURED_COLUMNS of what was timed so far."""
    timed: Counter[str] = field(default_factory=Counter)
    """{kind: rows of it}."""
    buckets: list[Bucket] | None = None
    """What gradients are averaged in; None as long as that is not looked at, at ZeRO stage 1 to the end."""

    def __post_init__(self) -> None:
        batches = synthetic_batches if reads_nothing(self.training.content) else _delivered
        self._batches = batches(self.training)

    def run(self) -> bool:
        """Everything that was asked for; False where a request to stop came first; a collective."""
        asked, engine = self.training.content["throughput"], self.training.engine
        if not self._steps(None, asked["warmup_steps"]):
            return False
        is_whole_only = bool(asked["zero_stage"])  # averaging is a part of the update
        for count in blocks(asked["steps"]):
            if not self._block("step", count):
                return False
            with engine.apart():
                if not (is_whole_only or self._block("computation", count)):
                    return False
        if is_whole_only:
            return True
        self.buckets = engine.buckets()
        self._averages(self.buckets, asked["steps"])
        return True

    def _block(self, kind: str, count: int) -> bool:
        """So many steps of a kind after one that is not timed: it follows steps of another kind."""
        return self._steps(None, 1) and self._steps(kind, count)

    def _steps(self, kind: str | None, count: int) -> bool:
        """Steps of a kind, None: not timed; False where a request to stop came."""
        training = self.training
        dist.barrier()
        for _ in range(count):
            synchronise(training.device)
            started = time.perf_counter()
            vitals = take_step(training, self._expected(), self._batches, stop=self.stop.is_due())
            if not math.isfinite(vitals.loss):
                raise ConfigError(f"throughput: the loss of step {self.taken + 1} is not finite, so it updates nothing")
            training.audit.finish(training.engine.loss_scale)
            synchronise(training.device)
            self._note(kind, time.perf_counter() - started, vitals.data_wait_sec)
            self.taken += 1
            training.report_progress(self.taken, 0)
            if vitals.stop and self.taken < total_steps(training.content):
                return False
        return True

    def _averages(self, buckets: Sequence[Bucket], count: int) -> None:
        """What a step communicates, so many times; the first time does not count. On one rank it is nothing."""
        for bucket in buckets:
            bucket.flat.zero_()  # sums of sums would grow
        dist.barrier()
        for number in range(count + 1) if buckets else ():
            synchronise(self.training.device)
            started = time.perf_counter()
            sum_alone(buckets)
            synchronise(self.training.device)
            self._note("communication" if number else None, time.perf_counter() - started, None)

    def _note(self, kind: str | None, sec: float, data_wait_sec: float | None) -> None:
        if kind:
            self.timed[kind] += 1
            self.rows.append({"kind": kind, "number": self.timed[kind], "sec": sec, "data_wait_sec": data_wait_sec})

    def _expected(self) -> Expected:
        training = self.training
        return Expected(
            step=self.taken,
            learning_rate=training.schedule.learning_rate(0),
            mini_batch_size=training.mini_batch_size,
            images_of_rank=training.passes * training.images_per_pass,
            count_ids=False,
            measure_update=False,
        )


def synchronise(device: torch.device) -> None:
    """Wait for all that a device was asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def synthetic_batches(training: Training) -> Iterator[MicroBatch]:
    """The same images in every pass, made once on the device."""
    count, dataset = training.images_per_pass, training.recipe["dataset"]
    generator = torch.Generator().manual_seed(training.rank.rank)
    shape = (count, dataset["image_size"], dataset["image_size"], 3)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator).to(training.device)
    labels = torch.randint(dataset["num_classes"], (count,), generator=generator).to(training.device)
    return itertools.repeat(MicroBatch(np.arange(count), pixels.permute(0, 3, 1, 2), labels))


def _delivered(training: Training) -> Iterator[MicroBatch]:
    return batches_of(training, range(total_steps(training.content)))


def _outcome(training: Training, clock: Stopwatch) -> dict[str, Any]:
    parameters = [each for each in training.engine.model.parameters() if each.requires_grad]
    return {
        "state": "finished",
        "steps_done": clock.taken,
        "parameters": sum(each.numel() for each in parameters),
        "gradient_bytes": sum(each.nbytes for each in parameters),
        "all_reduces": None if clock.buckets is None else len(clock.buckets),
        "peak_memory_mib": peak_memory_mib(training.device),
    }
