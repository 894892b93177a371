"""Averaging gradients over ranks, once a step, in their own precision, while the backward pass still makes others.

DeepSpeed's stage 0 does so after the pass, in fp32 at best whatever the gradients are, and one bucket at a time.

Parameters are taken in the opposite of their order, which is about that in which backward passes reach them. A gradient
is divided by the number of ranks on its way into a bucket, as DistributedDataParallel does; buckets are summed over
ranks one after the other, each once it is full; and a part of the bucket is the parameter's gradient from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import nn

FIRST_BUCKET_BYTES = 2**20
"""Small, for communication to begin early."""
BUCKET_BYTES = 25 * 2**20
"""As large as DistributedDataParallel's: small enough for several to be under way."""


class Bucket:
    """Gradients that are summed over ranks together."""

    def __init__(self, parameters: list[nn.Parameter]):
        self.parameters = parameters
        size = sum(parameter.numel() for parameter in parameters)
        self.flat = parameters[0].new_zeros(size + len(parameters), requires_grad=False)
        *parts, self._counts = self.flat.split([*(each.numel() for each in parameters), len(parameters)])
        self.gradients = [_shaped(part, each) for part, each in zip(parts, parameters, strict=True)]
        self.begin()

    def begin(self) -> None:
        """Before the backward pass."""
        self.is_filled = [False] * len(self.parameters)
        self.missing = len(self.parameters)
        self._absent: list[int] = []
        self._work: dist.Work | None = None

    def fill(self, index: int) -> None:
        """Take over the gradient of a parameter, or zeros where it has none."""
        parameter, part = self.parameters[index], self.gradients[index]
        if self.is_filled[index]:
            raise RuntimeError("a backward pass made the gradient of one parameter twice, as reentrant checkpoints do")
        if parameter.grad is None:
            part.zero_()
            self._absent.append(index)
        else:
            torch.mul(parameter.grad, 1 / dist.get_world_size(), out=part)
            parameter.grad = None
        self.is_filled[index] = True
        self.missing -= 1

    def start(self) -> None:
        """Sum over ranks, in the background; a collective."""
        self._counts.fill_(1.0)  # of ranks that have a gradient
        if self._absent:
            self._counts[self._absent] = 0.0
        self._work = dist.all_reduce(self.flat, async_op=True)

    def wait(self) -> None:
        """Until the sums are there."""
        self._work.wait()

    def finish(self) -> None:
        """Wait for the sums, which are the gradients then. A parameter stays without one if it is so on all ranks."""
        self.wait()
        nowhere = {index for index in self._absent if not self._counts[index]}
        for index, (parameter, gradient) in enumerate(zip(self.parameters, self.gradients, strict=True)):
            parameter.grad = None if index in nowhere else gradient


class Reducer:
    """Averages the gradients of some parameters. A step: `begin`, the last backward pass, `flush`, `finish`."""

    def __init__(self, parameters: Iterable[nn.Parameter]):
        self.buckets = [Bucket(each) for each in bucketed(parameters)]
        self._is_armed, self._started = False, 0
        for bucket in self.buckets:
            for index, parameter in enumerate(bucket.parameters):
                parameter.register_post_accumulate_grad_hook(partial(self._has_gradient, bucket, index))

    def begin(self) -> None:
        """From here on a gradient that is made is the sum of its micro-batches', and communicated at once."""
        for bucket in self.buckets:
            bucket.begin()
        self._is_armed, self._started = True, 0

    def flush(self) -> None:
        """After the backward pass: communicate what it did not reach; a collective, with begin and the pass."""
        self._is_armed = False
        for bucket in self.buckets[self._started :]:
            for index, is_filled in enumerate(bucket.is_filled):
                if not is_filled:
                    bucket.fill(index)
        self._start_full()

    def finish(self) -> None:
        """Give every parameter the average of its gradients."""
        for bucket in self.buckets:
            bucket.finish()

    def _has_gradient(self, bucket: Bucket, index: int, _: nn.Parameter) -> None:
        if self._is_armed:
            bucket.fill(index)
            if not bucket.missing:
                self._start_full()

    def _start_full(self) -> None:
        """In the order of the buckets, which is the same on all ranks, whatever that of the gradients was."""
        while self._started < len(self.buckets) and not self.buckets[self._started].missing:
            self.buckets[self._started].start()
            self._started += 1


def sum_alone(buckets: Sequence[Bucket]) -> None:
    """What a step communicates, without its passes: sum over ranks whatever the buckets hold; a collective."""
    for bucket in buckets:
        bucket.start()
    for bucket in buckets:
        bucket.wait()


def bucketed(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters from the last to the first, those of one kind together while they fit into a bucket, at least one."""
    bucket: list[nn.Parameter] = []
    size, room = 0, FIRST_BUCKET_BYTES
    for parameter in reversed(list(parameters)):
        if bucket and (size + parameter.nbytes > room or _kind(parameter) != _kind(bucket[0])):
            yield bucket
            bucket, size, room = [], 0, BUCKET_BYTES
        bucket.append(parameter)
        size += parameter.nbytes
    if bucket:
        yield bucket


def _kind(parameter: nn.Parameter) -> tuple[torch.dtype, torch.device]:
    return parameter.dtype, parameter.device


def _shaped(part: torch.Tensor, parameter: nn.Parameter) -> torch.Tensor:
    """A part of a bucket as a gradient: in memory like its parameter, which fused optimizers rely on."""
    dense = torch.empty_like(parameter, device="meta")  # its strides are the parameter's, unless that has gaps
    return part.as_strided(parameter.shape, dense.stride())
