"""BatchNorm of workers that a rank carries out: in turn, or several in one pass, with statistics kept apart.

A step has n worker batches on a rank, W on all ranks together, with batch statistics s_i. The running statistics r are
updated once a step with their mean:

    r' = (1 - M) r + M / W * sum_i s_i

where M is the layer's momentum m (`per: step`: what the average over W data-parallel workers does) or
1 - (1 - m)^W (`per: batch`: r keeps the weight that W updates in turn would leave it).

So during a step the layers do not accumulate: after a forward pass their buffers hold the mean of s_i over the workers
of that pass alone, which is added up here. Each rank does so for its own n of the W, and as that is linear in them, the
average over ranks of what they arrived at separately is r', up to rounding.

PyTorch's BatchNorm updates by r <- (1 - m) r + m s: with m = 1 it holds the statistics of the last batch, and with
m = 1, 1/2, 1/3, ... of the workers of a pass their mean. These weights are the same in every pass: a compiled or
captured pass can be used again.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

DEFAULT_MOMENTUM = 0.1


def step_momentum(momentum: float, per: str, batches: int) -> float:
    """M of the module's text, for W = batches."""
    return momentum if per == "step" else 1 - (1 - momentum) ** batches


class RunningStatistics:
    """The BatchNorm layers of a model, and how their running statistics are updated and averaged."""

    def __init__(self, model: nn.Module, *, momentum: float | None = None, per: str = "step", batches: int = 1):
        self._layers = [
            layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats
        ]
        own = [DEFAULT_MOMENTUM if layer.momentum is None else layer.momentum for layer in self._layers]
        momenta = [step_momentum(m if momentum is None else momentum, per, batches) for m in own]
        self._momenta = [each for each in momenta for _ in range(2)]  # of `buffers`
        self._before: list[torch.Tensor] = []
        self._sums: list[torch.Tensor] = []
        for layer in self._layers:
            layer.momentum = 1.0

    def begin_step(self) -> None:
        """Before the first forward pass of a step."""
        self._before = [buffer.clone() for buffer in self.buffers()]
        self._sums = []

    def end_pass(self) -> None:
        """After each backward pass, which needs the layers as the forward pass left them."""
        if not self._sums:
            self._sums = [buffer.clone() for buffer in self.buffers()]
        else:
            torch._foreach_add_(self._sums, self.buffers())

    def end_step(self, passes: int) -> None:
        """After the last pass of a step."""
        if not self._layers:
            return
        torch._foreach_mul_(self._before, [1 - momentum for momentum in self._momenta])
        torch._foreach_mul_(self._sums, [momentum / passes for momentum in self._momenta])
        torch._foreach_add_(self._before, self._sums)
        torch._foreach_copy_(self.buffers(), self._before)

    def buffers(self) -> list[torch.Tensor]:
        """Means and variances of all layers, the tensors themselves."""
        return [buffer for layer in self._layers for buffer in (layer.running_mean, layer.running_var)]

    def average_over_ranks(self) -> None:
        """Replace the statistics of every rank by their average; a collective."""
        if torch.distributed.get_world_size() == 1 or not self._layers:
            return
        flat = torch.cat([buffer.flatten() for buffer in self.buffers()])
        torch.distributed.all_reduce(flat)
        self.set_flat(flat / torch.distributed.get_world_size())

    def flat(self) -> torch.Tensor:
        """All statistics in one vector, on the CPU."""
        buffers = self.buffers()
        return torch.cat([buffer.flatten() for buffer in buffers]).cpu() if buffers else torch.empty(0)

    def set_flat(self, flat: torch.Tensor) -> None:
        """The inverse of `flat`."""
        buffers = self.buffers()
        for buffer, values in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(values.view_as(buffer))


class _ByWorker:
    """A BatchNorm layer that normalises the equal shares of a training batch, one a worker, each by itself."""

    workers = 1

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (workers * n, C, ...) -> the same shape
        """The batch normalised; the running statistics are updated with the mean over workers where momentum is 1."""
        if self.workers == 1 or not self.training:
            return super().forward(images)
        return self._by_formula(images) if torch.compiler.is_compiling() else self._in_turn(images)

    def _statistics(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Running mean and variance, where they are kept."""
        return (self.running_mean, self.running_var) if self.track_running_stats else (None, None)

    def _in_turn(self, images: torch.Tensor) -> torch.Tensor:
        """PyTorch's own kernels on each worker's share: the best there are without a compiler."""
        # as rows of one tensor their gradients are summed once, not worker by worker
        weights, biases = (
            [None] * self.workers if each is None else each.expand(self.workers, -1).unbind()
            for each in (self.weight, self.bias)
        )
        shares = zip(images.chunk(self.workers), weights, biases, strict=True)
        return torch.cat(
            [
                functional.batch_norm(share, *self._statistics(), weight, bias, True, 1 / (turn + 1), self.eps)
                for turn, (share, weight, bias) in enumerate(shares)
            ]
        )

    def _by_formula(self, images: torch.Tensor) -> torch.Tensor:
        """The same for a compiler, which makes one reduction over all shares, and joins the rest to its neighbours."""
        wide = torch.promote_types(images.dtype, torch.float32)
        shares = images.unflatten(0, (self.workers, -1)).to(wide)  # (workers, n, C, ...)
        over = [1, *range(3, shares.ndim)]
        of_channels = (-1,) + (1,) * (shares.ndim - 3)
        batch_var, batch_mean = torch.var_mean(shares, over, correction=0, keepdim=True)
        mean, var = self._statistics()
        if mean is not None:
            count = shares[0].numel() // shares.shape[2]
            with torch.no_grad():
                mean.copy_(batch_mean.mean(0).flatten())
                var.copy_(batch_var.mean(0).flatten() * (count / (count - 1)))
        scale = torch.rsqrt(batch_var + self.eps)
        if self.weight is not None:
            scale = scale * self.weight.view(of_channels)
        normalised = (shares - batch_mean) * scale
        if self.bias is not None:
            normalised = normalised + self.bias.view(of_channels)
        return normalised.to(images.dtype).flatten(0, 1)


class BatchNorm1d(_ByWorker, nn.BatchNorm1d):
    """Of (N, C) or (N, C, L)."""


class BatchNorm2d(_ByWorker, nn.BatchNorm2d):
    """Of (N, C, H, W)."""


class BatchNorm3d(_ByWorker, nn.BatchNorm3d):
    """Of (N, C, D, H, W)."""


BY_WORKER = {nn.BatchNorm1d: BatchNorm1d, nn.BatchNorm2d: BatchNorm2d, nn.BatchNorm3d: BatchNorm3d}


def keep_workers_apart(model: nn.Module, workers: int) -> None:
    """Let the BatchNorm layers of a model take the images of so many workers in a pass, in equal shares, in order.

    Only PyTorch's own layers: what a subclass does besides is not known.
    """
    for layer in model.modules():
        kind = type(layer)
        if kind in BY_WORKER and workers > 1:
            layer.__class__ = BY_WORKER[kind]  # names, parameters and references to it stay
        if isinstance(layer, _ByWorker):
            layer.workers = workers
