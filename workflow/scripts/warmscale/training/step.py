"""One step: the passes of this rank, what all ranks saw of them, and the update of the weights."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional

from .audit import Expected
from .forward import own_gradients
from .loader import MicroBatch, threads_of_rank, train_batches
from .order import model_seed
from .training import Training


@dataclass(frozen=True)
class Vitals:
    """A step as all ranks see it."""

    loss: float
    """Sum over the images of the mini-batch."""
    correct: float
    images: float
    stop: bool
    """Some rank was asked to stop."""
    data_wait_sec: float
    """This rank waited so long for images."""

    @property
    def mean_loss(self) -> float:
        """Over the images of the mini-batch."""
        return self.loss / self.images


def take_step(training: Training, expected: Expected, batches: Iterator[MicroBatch], *, stop: bool) -> Vitals:
    """Train on one mini-batch; a collective. A loss that is not finite leaves the weights as they were."""
    loss_scale = training.engine.loss_scale
    training.audit.begin(expected, loss_scale)
    training.gradients.begin(expected.step, loss_scale)
    training.engine.set_learning_rate(expected.learning_rate)
    training.statistics.begin_step()
    sums = torch.zeros(4, dtype=torch.float64, device=training.device)  # loss, correct, images, requests to stop
    sums[3] = float(stop)
    data_wait_sec = 0.0
    for index in range(training.passes):
        waited = time.monotonic()
        batch = next(batches)
        data_wait_sec += time.monotonic() - waited
        training.audit.consumed(batch.sample_keys)
        loss, seen = _forward(training, expected.step, index, batch)
        sums[:3] += seen
        is_last = index + 1 == training.passes
        summed = _sum_over_ranks(sums) if is_last else None
        lacking = [] if is_last else _without_gradient(training)
        training.engine.backward(loss)
        own_gradients(lacking)
        training.statistics.end_pass()
        if summed:
            training.statistics.end_step(training.passes)
            loss_sum, correct, images, requests = summed()
            vitals = Vitals(loss_sum, correct, images, requests > 0, data_wait_sec)
            if not math.isfinite(vitals.loss):
                return vitals
        training.engine.end_micro_batch()
    return vitals


def batches_of(training: Training, steps: range) -> Iterator[MicroBatch]:
    """What this rank passes through the model in these steps."""
    first = training.rank.rank * training.passes
    starts = (
        step * training.mini_batch_size + (first + index) * training.images_per_pass
        for step in steps
        for index in range(training.passes)
    )
    return train_batches(
        training.train_images,
        starts,
        training.images_per_pass,
        images_per_epoch=training.clock.images_per_epoch,
        data_seed=training.content["data_seed"],
        threads=threads_of_rank(training.settings["loader_threads"], training.device.type == "cuda"),
        device=training.device,
    )


def _forward(
    training: Training, step: int, index: int, batch: MicroBatch
) -> tuple[torch.Tensor, torch.Tensor]:  # -> (), (3,) float64: loss summed, correct, images
    """Mean loss of one pass, and what it counts for."""
    # of the mini-batch, whichever rank has it; with several workers in a pass nothing is drawn
    number = training.rank.rank * training.passes + index
    training.generator.manual_seed(model_seed(training.content["init_seed"], step, number))
    labels = batch.labels.to(training.device, non_blocking=True)
    logits = training.engine.forward(training.normalise(batch.images))  # (n, C)
    wide = logits if logits.dtype == torch.float64 else logits.float()
    loss = functional.cross_entropy(wide, labels, label_smoothing=training.recipe["label_smoothing"])
    correct = (logits.detach().argmax(dim=1) == labels).sum().double()
    count = torch.full_like(correct, len(labels))
    return loss, torch.stack([loss.detach().double() * count, correct, count])


def _without_gradient(training: Training) -> list[nn.Parameter]:
    """Parameters whose next gradient is in memory that a later pass overwrites."""
    if not training.speed.reuses_memory:
        return []
    return [parameter for parameter in training.engine.model.parameters() if parameter.grad is None]


def _sum_over_ranks(numbers: torch.Tensor) -> Callable[[], list[float]]:
    """Begin to sum over ranks; a collective. What is returned waits for the sums, but for no later work of the device.

    The loss is known before its gradient: the host looks at it while the device computes that, and has the update and
    the next step ready in time.
    """
    if numbers.device.type != "cuda":
        work = dist.all_reduce(numbers, async_op=True) if dist.get_world_size() > 1 else None

        def result() -> list[float]:
            if work:
                work.wait()
            return numbers.tolist()

        return result
    beside = _stream_beside(numbers.device)
    beside.wait_stream(torch.cuda.current_stream(numbers.device))
    with torch.cuda.stream(beside):
        if dist.get_world_size() > 1:
            dist.all_reduce(numbers)
        on_host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
        on_host.copy_(numbers, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
    numbers.record_stream(beside)

    def result_of_device() -> list[float]:
        copied.synchronize()
        return on_host.tolist()

    return result_of_device


@functools.cache
def _stream_beside(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
