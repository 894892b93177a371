"""What steps a model, whichever library does: accumulate gradients, average them over ranks, update the parameters."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .reduction import Bucket

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Plan:
    """What an engine is asked to do."""

    mini_batch_size: int
    micro_batch_size: int
    """Images of one forward pass."""
    micro_batches: int
    """Forward passes of this rank in one step."""
    gradient_clipping: float
    """Largest norm of the averaged gradient; 0: any."""
    precision: str
    zero_stage: int
    device: torch.device


class Engine(ABC):
    """A model and an optimizer. For each micro-batch `forward`, `backward`, `end_micro_batch`; the last one updates."""

    model: nn.Module
    """Itself, for evaluation and checkpoints."""
    optimizer: torch.optim.Optimizer
    """The one that was handed over."""
    scaler: torch.amp.GradScaler | None = None
    """The loss scaler of fp16."""
    averaged: Callable[[], None] = staticmethod(lambda: None)
    """Called at each update, at ZeRO stage 0, when gradients are averaged and neither unscaled nor clipped yet."""
    is_apart: bool = False
    """Gradients stay each rank's own."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan):
        self.model, self.optimizer, self.device = model, optimizer, plan.device
        self._autocast_dtype = AUTOCAST.get(plan.precision)

    @property
    def loss_scale(self) -> float:
        """What the loss is multiplied by before its gradients are computed; 1 but for fp16."""
        return float(self.scaler.get_scale()) if self.scaler else 1.0

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of the next update in every group."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    @abstractmethod
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits in training.  # (N, 3, H, W) -> (N, num_classes)"""

    @abstractmethod
    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate the gradient of one micro-batch's mean loss; at the last one of a step a collective."""

    @abstractmethod
    def end_micro_batch(self) -> None:
        """Close a micro-batch; the last one of a step updates the parameters with gradients averaged over ranks."""

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """For as long as this lasts no gradient is averaged, so that ranks train apart: for measuring only."""
        self.is_apart = True
        try:
            yield
        finally:
            self.is_apart = False

    @abstractmethod
    def buckets(self) -> list[Bucket]:
        """What gradients are averaged in at ZeRO stage 0, an all-reduce each; none on one rank."""

    def autocast(self) -> contextlib.AbstractContextManager:
        """The precision of forward passes, for evaluation."""
        if self._autocast_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self._autocast_dtype)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds, the same on all ranks and of all engines: the tensors themselves, not copies."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else None,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

    @property
    def is_partitioned(self) -> bool:
        """Whether each rank has a part of the optimizer's state only, and `state` is not for it."""
        return False

    def save_partitions(self, folder: Path, tag: str) -> None:
        """Write a checkpoint of what is partitioned under a tag that is not there yet; a collective."""
        raise NotImplementedError

    def load_partitions(self, folder: Path, tag: str) -> None:
        """Read it; a collective. It is unpickled: only from one's own state."""
        raise NotImplementedError


def make_engine(name: str, model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan) -> Engine:
    """The engine of that name; a collective. Only the chosen library is imported, which takes a second."""
    if name == "ddp":
        from .ddp import DdpEngine

        return DdpEngine(model, optimizer, plan)
    from .deepspeeds import DeepSpeedEngine

    return DeepSpeedEngine(model, optimizer, plan)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, training mode afterwards."""
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train()
