"""The schedule audit: what the optimizer did, observed where it acts, against what the content says.

- The rate: in the parameter groups at the moment of optimizer.step(), on every rank, at every step.
- The mini-batch: the distinct images of the stream that all ranks consumed since the last update; on each rank the
  count at every step, over all ranks the ids themselves at every Nth step and the first of each epoch.
- The update (SGD): at the first step and the first of each epoch, one parameter's change against rate times
  direction, the direction computed anew from the gradients of this step's micro-batches before anything averaged or
  clipped them: g = mean + weight_decay * w, v' = momentum * v + g, direction v' or, with Nesterov, g + momentum * v'
  (Sutskever et al. 2013 as in torch.optim.SGD).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

RATE_TOLERANCE = 1e-9
UPDATE_TOLERANCE = 2e-3
"""Relative; a wrong rate, a missing micro-batch or a clipped gradient is off by far more."""


class AuditError(Exception):
    """What was realised is not what the content says."""


@dataclass(frozen=True)
class Expected:
    """What the content says of one step."""

    step: int
    learning_rate: float
    mini_batch_size: int
    images_of_rank: int
    """Images of the mini-batch that one rank carries out."""
    count_ids: bool
    """Compare the ids of all ranks."""
    measure_update: bool


class Audit:
    """Watches an optimizer. A step: `begin`, `consumed` for each micro-batch, `finish` after the update."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, model: torch.nn.Module, settings: Mapping[str, Any], clipping: float
    ):
        self._optimizer, self._clipping = optimizer, clipping
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._sgd = settings if settings["name"] == "sgd" else None
        # the last matrix, the classifier's: the gradient of any loss reaches it
        self._watched = [p for p in self._parameters if p.ndim > 1 or p is self._parameters[0]][-1]
        self._weight_decay = _group_of(optimizer, self._watched)["weight_decay"]
        self._owed = False
        self._before: tuple[torch.Tensor, torch.Tensor | None] | None = None
        optimizer.register_step_pre_hook(self._observe_update)
        self._gradient_hook: Any = None

    def begin(self, expected: Expected, loss_scale: float) -> None:
        """Before the first micro-batch of a step."""
        if self._gradient_hook is None:  # not before: passes that were tried or captured do not count
            self._gradient_hook = self._watched.register_hook(self._observe_gradient)
        self._expected, self._loss_scale = expected, loss_scale
        self._keys: list[np.ndarray] = []
        self._realised_rate: float | None = None
        self._stepped_norm: torch.Tensor | None = None
        self._backward_passes, self._gradient = 0, None
        measure = (expected.measure_update or self._owed) and self._sgd
        self._before = self._snapshot() if measure else None

    def consumed(self, sample_keys: np.ndarray) -> None:
        """A micro-batch went through the model."""
        self._keys.append(sample_keys)

    def finish(self, loss_scale: float) -> dict[str, Any]:
        """After the update: the row of steps.csv; a collective where ids are counted. Raises AuditError.

        A step without an update is no fault only where the fp16 scaler skipped it and lowered its scale.
        """
        expected = self._expected
        self._check_count()
        skipped = self._realised_rate is None
        if skipped and not loss_scale < self._loss_scale:
            raise AuditError(f"step {expected.step}: the mini-batch was consumed, but no update was made")
        self._owed = skipped and self._before is not None
        row = {
            "step": expected.step,
            "learning_rate": self._realised_rate,
            "expected_learning_rate": expected.learning_rate,
            "distinct_images": self._count_ids() if expected.count_ids else None,
            "skipped": int(skipped),
        }
        if self._before is not None and not skipped:
            row["update_error"] = self._update_error()
        return row

    def _check_count(self) -> None:
        count, expected = sum(map(len, self._keys)), self._expected
        if count != expected.images_of_rank:
            raise AuditError(
                f"step {expected.step}: a rank consumed {count} images since the last update, "
                f"not {expected.images_of_rank}"
            )

    def _observe_update(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        expected = self._expected
        self._check_count()
        if self._clipping and self._before is not None and self._watched.grad is not None:
            self._stepped_norm = self._watched.grad.double().norm()
            gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
            self._global_norm = torch.nn.utils.get_total_norm(gradients).item()
        for group in optimizer.param_groups:
            self._realised_rate = float(group["lr"])
            if not math.isclose(self._realised_rate, expected.learning_rate, rel_tol=RATE_TOLERANCE, abs_tol=0.0):
                raise AuditError(
                    f"step {expected.step}: learning rate {self._realised_rate:.10g} in the optimizer, "
                    f"{expected.learning_rate:.10g} in the schedule"
                )

    def _observe_gradient(self, gradient: torch.Tensor) -> None:
        if self._before is not None:
            self._backward_passes += 1
            self._gradient = _copy(gradient) if self._gradient is None else self._gradient + gradient

    def _count_ids(self) -> int:
        keys = torch.from_numpy(np.concatenate(self._keys))
        if dist.get_world_size() > 1:
            device = self._watched.device
            gathered = [torch.empty_like(keys, device=device) for _ in range(dist.get_world_size())]
            dist.all_gather(gathered, keys.to(device))
            keys = torch.cat(gathered).cpu()
        distinct = len(torch.unique(keys))
        if distinct != self._expected.mini_batch_size:
            raise AuditError(
                f"step {self._expected.step}: all ranks consumed {distinct} distinct images since the last update, "
                f"mini_batch_size is {self._expected.mini_batch_size}"
            )
        return distinct

    def _snapshot(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        buffer = self._optimizer.state.get(self._watched, {}).get("momentum_buffer")
        return _copy(self._watched), None if buffer is None else _copy(buffer)

    def _update_error(self) -> float:
        """|change + rate * direction| / |rate * direction|; raises AuditError beyond tolerance and rounding."""
        weights, buffer = self._before
        if self._backward_passes != len(self._keys):
            raise AuditError(
                f"step {self._expected.step}: {self._backward_passes} backward passes "
                f"for {len(self._keys)} micro-batches"
            )
        direction = self._direction(self._mean_gradient(), weights, buffer)
        wanted = -self._expected.learning_rate * direction
        change = self._watched.detach().double() - weights
        # weights are stored rounded: a change far smaller than they are keeps few digits
        rounding = torch.finfo(self._watched.dtype).eps * weights.norm()
        off, size = (change - wanted).norm().item(), wanted.norm().item()
        if off > UPDATE_TOLERANCE * size + rounding.item():
            raise AuditError(
                f"step {self._expected.step}: the update of one parameter is {change.norm().item():.4g} long and "
                f"{off:.4g} away from rate times direction, {size:.4g} long: another gradient, rate or clipping"
            )
        return off / size if size else 0.0

    def _mean_gradient(self) -> torch.Tensor:
        """Gradient of the mini-batch's mean loss: micro-batches summed (each already divided), ranks averaged."""
        gradient = self._gradient.to(self._watched.device) / self._loss_scale
        if dist.get_world_size() > 1:
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
        return gradient * self._clip_coefficient(gradient) if self._clipping else gradient

    def _clip_coefficient(self, gradient: torch.Tensor) -> float:
        """With clipping asked for, the factor that the optimizer's gradient shows; raises AuditError if it is wrong."""
        if self._stepped_norm is None:
            return 1.0
        coefficient = min(1.0, (self._stepped_norm / gradient.norm()).item())
        is_clipped = coefficient < 1 - UPDATE_TOLERANCE
        allowed = self._clipping if is_clipped else min(self._global_norm, self._clipping)
        if not math.isclose(self._global_norm, allowed, rel_tol=UPDATE_TOLERANCE):
            raise AuditError(
                f"step {self._expected.step}: the gradient reached the optimizer {'' if is_clipped else 'not '}clipped "
                f"and {self._global_norm:.4g} long, gradient_clipping is {self._clipping:g}"
            )
        return coefficient

    def _direction(self, gradient: torch.Tensor, weights: torch.Tensor, buffer: torch.Tensor | None) -> torch.Tensor:
        momentum, nesterov = self._sgd["momentum"], self._sgd["nesterov"]
        gradient = gradient + self._weight_decay * weights
        velocity = gradient if buffer is None else momentum * buffer + gradient
        return gradient + momentum * velocity if nesterov else velocity


def _group_of(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter) -> dict[str, Any]:
    return next(group for group in optimizer.param_groups if any(p is parameter for p in group["params"]))


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """In double precision and of its own: what is copied from will be changed in place."""
    return tensor.detach().to(torch.float64, copy=True)
