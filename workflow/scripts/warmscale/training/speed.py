"""What a placement asks of the training passes, as far as it goes here: decided once, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..study.recipe import BUILT_IN_MODELS
from .model import ConfigError
from .passes import workers_together
from .trial import Trial, try_model

ARRANGES_ITSELF = ("reduce-overhead", "max-autotune")
"""Modes of the compiler that capture CUDA graphs of their own."""


@dataclass(frozen=True)
class Speed:
    """How passes are carried out. Nothing here changes more than the order of floating-point sums."""

    workers_per_pass: int = 1
    """Workers whose images go through the model together."""
    channels_last: bool = False
    """Weights lie in memory as the images do."""
    fused_optimizer: bool = False
    """All parameters are updated by one kernel."""
    compile: str = "none"
    """Mode of the compiler."""
    cuda_graphs: bool = False
    """A pass is captured once and replayed."""

    @property
    def reuses_memory(self) -> bool:
        """Whether the next pass overwrites the gradients that the last one handed out."""
        return self.cuda_graphs or self.compile in ARRANGES_ITSELF


def choose_speed(
    settings: Mapping[str, Any],
    recipe: Mapping[str, Any],
    model: nn.Module,
    *,
    images_a_worker: int,
    workers: int,
    ranks: int,
    device: torch.device,
) -> Speed:
    """What is carried out of a placement's settings, for one of so many ranks with so many workers each.

    Raises ConfigError for what would change more than the order of floating-point sums.
    """
    is_cuda, deterministic = device.type == "cuda", settings["deterministic"]
    compiled, graphs = settings["compile"], settings["cuda_graphs"] and is_cuda
    if compiled == "max-autotune" and deterministic and is_cuda:
        raise ConfigError(
            "placement.compile: max-autotune chooses kernels by time, another time others; use default, or set "
            "placement.deterministic: false"
        )
    if graphs and compiled in ARRANGES_ITSELF:
        raise ConfigError(f"placement.cuda_graphs: compile {compiled} captures graphs of its own; leave one out")
    if graphs and settings["zero_stage"]:
        raise ConfigError("placement.cuda_graphs: not at zero_stage 1, which moves gradients while they are computed")
    if graphs and settings["engine"] == "ddp" and ranks > 1:
        raise ConfigError(
            "placement.cuda_graphs: not with engine ddp on several ranks: PyTorch has models captured before "
            "DistributedDataParallel wraps them; use engine: deepspeed"
        )
    asked = settings["workers_per_pass"]
    size = recipe["dataset"]["image_size"]
    together = workers_together(asked, workers, images_a_worker=images_a_worker, image_size=size, device=device.type)
    if together > 1 or compiled != "none" or graphs:
        trial = _known(recipe["model"]) or try_model(model, image_size=size)
        if trial.draws and compiled != "none":
            raise ConfigError(f"placement.compile: {recipe['model']} draws random numbers, compiled it draws others")
        if trial.draws and graphs:
            raise ConfigError(f"placement.cuda_graphs: {recipe['model']} draws random numbers, which a graph repeats")
        if trial.why_apart and asked != "auto" and together > 1:
            raise ConfigError(f"placement.workers_per_pass: must be 1 for {recipe['model']}: {trial.why_apart}")
        together = 1 if trial.why_apart else together
    return Speed(
        workers_per_pass=together,
        channels_last=_channels_last(settings, is_cuda),
        fused_optimizer=_fused(settings, recipe),
        compile=compiled,
        cuda_graphs=graphs,
    )


def _known(model: str) -> Trial | None:
    """What need not be tried."""
    return Trial() if model in BUILT_IN_MODELS else None


def _channels_last(settings: Mapping[str, Any], is_cuda: bool) -> bool:
    asked = settings["channels_last"]
    if asked == "auto":
        return is_cuda and not settings["zero_stage"]
    if asked and settings["zero_stage"]:
        raise ConfigError("placement.channels_last: not at zero_stage 1, where DeepSpeed keeps weights in flat pieces")
    return asked


def _fused(settings: Mapping[str, Any], recipe: Mapping[str, Any]) -> bool:
    asked, name = settings["fused_optimizer"], recipe["optimizer"]["name"]
    if asked == "auto":
        return name == "sgd" and recipe["precision"] != "fp16"
    if asked and name != "sgd":
        raise ConfigError(f"placement.fused_optimizer: there is none of {name}; use auto")
    if asked and recipe["precision"] == "fp16":
        raise ConfigError(
            "placement.fused_optimizer: not with fp16, whose skipped updates the audit must see; use auto"
        )
    return asked
