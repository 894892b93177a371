"""BatchNorm of workers that a rank carries out in turn: statistics that do not depend on the number of ranks.

A step has n micro-batches on a rank, W on all ranks together, with batch statistics s_i. The running statistics r are
updated once a step with their mean:

    r' = (1 - M) r + M / W * sum_i s_i

where M is the layer's momentum m (`per: step`: what the average over W data-parallel workers does) or
1 - (1 - m)^W (`per: batch`: r keeps the weight that W updates in turn would leave it).

PyTorch's BatchNorm updates at every forward pass, r <- (1 - m_j) r + m_j s_j. With

    m_j = (M / n) / (1 - (n - j) M / n),    j = 1 .. n

the n updates of a rank have the weights (1 - M) for r and M / n for each s_j. That is linear, so the average over ranks
of what they arrived at separately is r', for one rank with all workers and for one rank a worker alike, up to rounding.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

DEFAULT_MOMENTUM = 0.1


def micro_momentum(momentum: float, micro_batch: int, micro_batches: int) -> float:
    """m_j of the module's text for micro-batch j = micro_batch + 1 of n = micro_batches."""
    share = momentum / micro_batches
    return share / (1 - (micro_batches - micro_batch - 1) * share)


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
        self._momenta = [step_momentum(m if momentum is None else momentum, per, batches) for m in own]

    def before_forward(self, micro_batch: int, micro_batches: int) -> None:
        """Set the weight that the next forward pass gives to its batch."""
        for layer, momentum in zip(self._layers, self._momenta, strict=True):
            layer.momentum = micro_momentum(momentum, micro_batch, micro_batches)

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
