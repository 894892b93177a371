"""Optimizers by name, with parameter groups for weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def build_optimizer(model: nn.Module, settings: Mapping[str, Any], *, fused: bool = False) -> torch.optim.Optimizer:
    """SGD of PyTorch, LARS or LAMB of timm. The learning rate is set by the loop before every step.

    PyTorch's SGD keeps the rate outside the momentum buffer (v = m v + g, w = w - lr v), so that raising it in warmup
    needs no momentum correction (Goyal et al. 2017, section 3).
    """
    groups = parameter_groups(model, settings["weight_decay"], settings["decay_norm_and_bias"])
    if settings["name"] == "sgd":
        momentum, nesterov = settings["momentum"], settings["nesterov"]
        optimizer = torch.optim.SGD(groups, lr=0.0, momentum=momentum, nesterov=nesterov, fused=fused or None)
        _keep_as_built(optimizer, fused)
        return optimizer
    from timm.optim import Lamb, Lars  # imports timm's models: only for those who use it

    eps = {"eps": settings["eps"]} if settings["eps"] is not None else {}
    if settings["name"] == "lars":
        return Lars(
            groups,
            lr=0.0,
            momentum=settings["momentum"],
            nesterov=settings["nesterov"],
            trust_coeff=settings["trust_coefficient"],
            always_adapt=settings["always_adapt"],
            **eps,
        )
    # timm's Lamb clips the global gradient norm at 1.0 unless told otherwise
    return Lamb(
        groups, lr=0.0, betas=tuple(settings["betas"]), max_grad_norm=None, always_adapt=settings["always_adapt"], **eps
    )


def _keep_as_built(optimizer: torch.optim.SGD, fused: bool) -> None:
    """Whatever a checkpoint was written with: its flag would be taken over, and its momenta as they lie in memory.

    The fused kernel takes parameters, gradients and momenta as they lie in memory, on a CPU without a look at strides.
    """

    def restore(loaded: torch.optim.Optimizer) -> None:
        for group in loaded.param_groups:
            group["fused"] = fused or None
        for parameter, state in loaded.state.items():
            if (momenta := state.get("momentum_buffer")) is not None:
                state["momentum_buffer"] = torch.empty_like(parameter).copy_(momenta)

    optimizer.register_load_state_dict_post_hook(restore)


def parameter_groups(model: nn.Module, weight_decay: float, decay_norm_and_bias: bool) -> list[dict[str, Any]]:
    """One group, or two: with weight decay, and without it for BatchNorm parameters and biases (vectors)."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if decay_norm_and_bias:
        return [{"params": parameters, "weight_decay": weight_decay}]
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
