"""DeepSpeed, and the only place that knows its names."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch
from torch import nn

from .engine import AUTOCAST, Engine, Plan
from .forward import plain_layout
from .reduction import Bucket, Reducer

os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed asks for it, also of a single process
import deepspeed  # it chooses its accelerator when imported
import deepspeed.comm
import deepspeed.ops


class DeepSpeedEngine(Engine):
    """DeepSpeed steps; at ZeRO stage 0 gradients are averaged here, while it goes through the backward pass."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan):
        super().__init__(model, optimizer, plan)
        config = {
            "train_batch_size": plan.mini_batch_size,
            "train_micro_batch_size_per_gpu": plan.micro_batch_size,
            "gradient_accumulation_steps": plan.micro_batches,
            "gradient_clipping": plan.gradient_clipping,  # always written: DeepSpeed's default is 1.0
            "zero_optimization": {"stage": plan.zero_stage},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": None,
            "timers": {"throughput": {"enabled": False}},  # it waits for the device at every pass
        }
        if plan.precision in AUTOCAST:
            dtype = str(AUTOCAST[plan.precision]).removeprefix("torch.")
            config["torch_autocast"] = {"enabled": True, "dtype": dtype}
        # compiles a shared-memory kernel for a minute on a CPU, for collectives that are not used here
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        deepspeed.comm.init_distributed(dist_backend=torch.distributed.get_backend(), auto_mpi_discovery=False)
        with plain_layout(model):
            self._deepspeed, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
        self.scaler = self._deepspeed.torch_autocast_z0_gradscaler
        self._zero_stage = plan.zero_stage
        self._reducer: Reducer | None = None
        if not plan.zero_stage:
            self._deepspeed.enable_backward_allreduce = False
            if torch.distributed.get_world_size() > 1:
                self._reducer = Reducer(parameter for parameter in model.parameters() if parameter.requires_grad)

    @property
    def loss_scale(self) -> float:
        """What the loss is multiplied by before its gradients are computed; 1 but for fp16."""
        return super().loss_scale if self.scaler else float(getattr(self._deepspeed.optimizer, "loss_scale", 1.0))

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of the next update in every group, of the optimizer that DeepSpeed steps."""
        for group in self._deepspeed.optimizer.param_groups:
            group["lr"] = rate

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits in training.  # (N, 3, H, W) -> (N, num_classes)"""
        return self._deepspeed(images)

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate the gradient of one micro-batch's mean loss; at the last one of a step a collective."""
        reducer = self._averaging
        if reducer:
            reducer.begin()
        self._deepspeed.backward(loss)
        if reducer:
            reducer.flush()

    def end_micro_batch(self) -> None:
        """Close a micro-batch; the last one of a step updates the parameters with gradients averaged over ranks."""
        if reducer := self._averaging:
            reducer.finish()
        if self._deepspeed.is_gradient_accumulation_boundary():
            self.averaged()
        self._deepspeed.step()

    @property
    def _averaging(self) -> Reducer | None:
        """What averages the gradients of this micro-batch: the last one of a step."""
        is_last = self._deepspeed.is_gradient_accumulation_boundary()
        return self._reducer if is_last and not self.is_apart else None

    def buckets(self) -> list[Bucket]:
        """What gradients are averaged in at ZeRO stage 0, an all-reduce each; none on one rank."""
        return self._reducer.buckets if self._reducer else []

    @property
    def is_partitioned(self) -> bool:
        """Whether each rank has a part of the optimizer's state only."""
        return bool(self._zero_stage)

    def save_partitions(self, folder: Path, tag: str) -> None:
        """Write DeepSpeed's own checkpoint under a tag that is not there yet; a collective."""
        self._deepspeed.save_checkpoint(str(folder), tag=tag, save_latest=False)

    def load_partitions(self, folder: Path, tag: str) -> None:
        """Read it; a collective. It is unpickled: only from one's own state."""
        path, _ = self._deepspeed.load_checkpoint(str(folder), tag=tag)
        if path is None:
            raise FileNotFoundError(f"no checkpoint {tag} in {folder}")
