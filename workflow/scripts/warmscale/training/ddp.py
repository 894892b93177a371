"""PyTorch's DistributedDataParallel as an engine: the reference that DeepSpeed's is compared with."""

from __future__ import annotations

import contextlib
import warnings

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .engine import Engine, Plan
from .reduction import Bucket, bucketed


class DdpEngine(Engine):
    """DistributedDataParallel averages where there are several ranks; clipping and loss scaling are PyTorch's own."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan):
        super().__init__(model, optimizer, plan)
        self._micro_batches, self._clipping, self._done = plan.micro_batches, plan.gradient_clipping, 0
        self._averaging = None
        if dist.get_world_size() > 1:  # BatchNorm's statistics are each rank's own until they are asked for
            warnings.filterwarnings("ignore", message="find_unused_parameters=True")  # that there were none
            self._averaging = DistributedDataParallel(
                model, broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=True
            )
        if plan.precision == "fp16":
            self.scaler = torch.amp.GradScaler(device=plan.device.type)

    @property
    def _is_last(self) -> bool:
        """Whether the step ends with this micro-batch."""
        return self._done + 1 == self._micro_batches

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits in training.  # (N, 3, H, W) -> (N, num_classes)"""
        with self._communicating(), self.autocast():
            return (self._averaging or self.model)(images)

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate the gradient of one micro-batch's mean loss; at the last one of a step a collective."""
        share = loss / self._micro_batches
        with self._communicating():
            (self.scaler.scale(share) if self.scaler else share).backward()

    def end_micro_batch(self) -> None:
        """Close a micro-batch; the last one of a step updates the parameters with gradients averaged over ranks."""
        is_last = self._is_last
        self._done = 0 if is_last else self._done + 1
        if is_last:
            self._update()

    def _update(self) -> None:
        self.averaged()
        if self._clipping:
            if self.scaler:
                self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self._clipping)
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.zero_grad()

    def _communicating(self) -> contextlib.AbstractContextManager:
        """Gradients are averaged in the last micro-batch of a step only."""
        if self._averaging is None or (self._is_last and not self.is_apart):
            return contextlib.nullcontext()
        return self._averaging.no_sync()

    def buckets(self) -> list[Bucket]:
        """Buckets like PyTorch's own, which are filled by the same rule, in new memory; none on one rank."""
        parameters = (parameter for parameter in self.model.parameters() if parameter.requires_grad)
        return [Bucket(each) for each in bucketed(parameters)] if self._averaging else []
