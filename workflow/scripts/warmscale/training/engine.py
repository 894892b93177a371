"""DeepSpeed, and the only place that knows its names."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .reduction import average_gradients

os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed asks for it, also of a single process
import deepspeed  # it chooses its accelerator when imported
import deepspeed.comm
import deepspeed.ops

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Engine:
    """A model and an optimizer that DeepSpeed steps: accumulate gradients, average over ranks, update."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        mini_batch_size: int,
        micro_batch_size: int,
        micro_batches: int,
        gradient_clipping: float,
        precision: str,
        zero_stage: int,
        device: torch.device,
    ):
        config = {
            "train_batch_size": mini_batch_size,
            "train_micro_batch_size_per_gpu": micro_batch_size,
            "gradient_accumulation_steps": micro_batches,
            "gradient_clipping": gradient_clipping,  # always written: DeepSpeed's default is 1.0
            "zero_optimization": {"stage": zero_stage},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": None,
        }
        if precision in AUTOCAST:
            dtype = str(AUTOCAST[precision]).removeprefix("torch.")
            config["torch_autocast"] = {"enabled": True, "dtype": dtype}
        # compiles a shared-memory kernel for a minute on a CPU, for collectives that are not used here
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        deepspeed.comm.init_distributed(dist_backend=torch.distributed.get_backend(), auto_mpi_discovery=False)
        self.optimizer = optimizer
        self.device = device
        self._autocast_dtype = AUTOCAST.get(precision)
        self._deepspeed, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
        self._averages_here = zero_stage == 0
        self._deepspeed.enable_backward_allreduce = not self._averages_here

    @property
    def model(self) -> nn.Module:
        """The model itself, for evaluation."""
        return self._deepspeed.module

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """The loss scaler of fp16 at stage 0; DeepSpeed keeps it out of its checkpoints."""
        return self._deepspeed.torch_autocast_z0_gradscaler

    @property
    def loss_scale(self) -> float:
        """What the loss is multiplied by before its gradients are computed; 1 but for fp16."""
        return float(self.scaler.get_scale() if self.scaler else getattr(self._deepspeed.optimizer, "loss_scale", 1.0))

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of the next update in every group, of the optimizer that DeepSpeed steps."""
        for group in self._deepspeed.optimizer.param_groups:
            group["lr"] = rate

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits in training.  # (N, 3, H, W) -> (N, num_classes)"""
        return self._deepspeed(images)

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate the gradient of one micro-batch's mean loss."""
        self._deepspeed.backward(loss)

    def end_micro_batch(self) -> None:
        """Close a micro-batch; the last one of a step averages gradients over ranks and updates the parameters."""
        if self._averages_here and self._deepspeed.is_gradient_accumulation_boundary():
            average_gradients(self.model.parameters())
        self._deepspeed.step()

    def autocast(self) -> contextlib.AbstractContextManager:
        """The precision of forward passes, for evaluation."""
        if self._autocast_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self._autocast_dtype)

    def save(self, folder: Path, tag: str, client_state: dict[str, Any]) -> None:
        """Write a checkpoint under a tag that is not there yet; a collective."""
        self._deepspeed.save_checkpoint(str(folder), tag=tag, client_state=client_state, save_latest=False)

    def load(self, folder: Path, tag: str) -> dict[str, Any]:
        """Read a checkpoint and return its client state; a collective. It is unpickled: only from one's own state."""
        path, client_state = self._deepspeed.load_checkpoint(str(folder), tag=tag)
        if path is None:
            raise FileNotFoundError(f"no checkpoint {tag} in {folder}")
        return client_state


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, training mode afterwards."""
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train()
