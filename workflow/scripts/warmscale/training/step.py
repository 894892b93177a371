"""One step: the micro-batches of this rank, what all ranks saw of them, and the update of the weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.nn import functional

from .audit import Expected
from .loader import MicroBatch
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
    training.audit.begin(expected, training.engine.loss_scale)
    training.engine.set_learning_rate(expected.learning_rate)
    sums = torch.zeros(4, dtype=torch.float64, device=training.device)  # loss, correct, images, requests to stop
    sums[3] = float(stop)
    data_wait_sec = 0.0
    for index in range(training.micro_batches):
        waited = time.monotonic()
        batch = next(batches)
        data_wait_sec += time.monotonic() - waited
        training.audit.consumed(batch.sample_keys)
        sums[:3] += _forward_backward(training, expected.step, index, batch)
        if index + 1 == training.micro_batches:
            vitals = _over_ranks(sums, data_wait_sec)
            if not math.isfinite(vitals.loss):
                return vitals
        training.engine.end_micro_batch()
    return vitals


def _forward_backward(training: Training, step: int, index: int, batch: MicroBatch) -> torch.Tensor:
    """Gradient of one micro-batch.  # -> (3,) float64: loss summed, correct, images"""
    number = training.rank.rank * training.micro_batches + index  # of the mini-batch, whichever rank has it
    training.generator.manual_seed(model_seed(training.content["init_seed"], step, number))
    training.statistics.before_forward(index, training.micro_batches)
    labels = batch.labels.to(training.device, non_blocking=True)
    logits = training.engine.forward(training.normalise(batch.images))  # (n, C)
    wide = logits if logits.dtype == torch.float64 else logits.float()
    loss = functional.cross_entropy(wide, labels, label_smoothing=training.recipe["label_smoothing"])
    training.engine.backward(loss)
    correct = (logits.detach().argmax(dim=1) == labels).sum().double()
    count = torch.full_like(correct, len(labels))
    return torch.stack([loss.detach().double() * count, correct, count])


def _over_ranks(sums: torch.Tensor, data_wait_sec: float) -> Vitals:
    """Sum over ranks; a collective."""
    if dist.get_world_size() > 1:
        dist.all_reduce(sums)
    loss, correct, images, requests = sums.tolist()
    return Vitals(loss, correct, images, requests > 0, data_wait_sec)
