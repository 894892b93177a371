"""What a model does with a batch, found out by trying: whether it draws, and whether images see each other."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass

import torch
from torch import nn

from .batchnorm import keep_workers_apart

IMAGES = 3
"""Of a worker: BatchNorm needs two."""
TOLERANCE = 1e-6
"""Relative, in fp64: far above rounding, far below what a layer over the whole batch does."""


@dataclass(frozen=True)
class Trial:
    """What a model was seen to do in training."""

    draws: bool = False
    """It draws random numbers, for dropout say."""
    why_apart: str | None = None
    """Why several workers cannot share a pass; None: they can."""


def try_model(model: nn.Module, *, image_size: int) -> Trial:
    """Try a copy of the model in fp64 with the images of three workers, alone and two in a pass."""
    device = next(model.parameters()).device
    devices = [device] if device.type == "cuda" else []
    generator = torch.Generator().manual_seed(0)
    shape = (3, IMAGES, 3, image_size, image_size)
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        images = torch.randn(shape, generator=generator, dtype=torch.float64).to(device)
        try:
            tried = copy.deepcopy(model).double().train()
            before = _states(device)
            alone = [tried(each) for each in images]
            if _states(device) != before:
                return Trial(draws=True, why_apart="it draws random numbers (dropout), which are each worker's own")
            keep_workers_apart(tried, 2)
            together = [tried(torch.cat([images[0], other])).split(IMAGES) for other in images[1:]]
        except Exception as error:  # a model of one's own may do anything
            return Trial(why_apart=f"it cannot be tried: {str(error).splitlines()[0] if str(error) else error!r}")
    pairs = [(alone[0], one[0]) for one in together] + [(alone[1], together[0][1]), (alone[2], together[1][1])]
    if all(_agree(*pair) for pair in pairs):
        return Trial()
    return Trial(why_apart="what it says of one worker's images depends on another's")


def _agree(alone: torch.Tensor, together: torch.Tensor) -> bool:
    return bool((alone - together).norm() <= TOLERANCE * alone.norm())


def _states(device: torch.device) -> list[bytes | object]:
    """Of everything that a model may draw from."""
    on_device = torch.cuda.get_rng_state(device).tolist() if device.type == "cuda" else None
    return [torch.get_rng_state().tolist(), on_device, random.getstate()]
