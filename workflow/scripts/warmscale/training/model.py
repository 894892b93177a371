"""Models by name: torchvision's resnets, a small one for small images, or the user's own by import path."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from torch import nn

from ..study.recipe import BUILT_IN_MODELS


class ConfigError(Exception):
    """Something that the config names cannot be had."""


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016), as in torchvision, whose import takes a second."""

    def __init__(self, channels: int, width: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (N, channels, H, W) -> (N, width, H / stride, W / stride)
        """Output of the block."""
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class ResNet8(nn.Module):
    """ResNet of He et al. 2016 for small images: one basic block at each of 16, 32 and 64 channels."""

    def __init__(self, num_classes: int, zero_init_residual: bool = False):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(BasicBlock(16, 16), BasicBlock(16, 32, stride=2), BasicBlock(32, 64, stride=2))
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, BasicBlock) and zero_init_residual:
                nn.init.zeros_(module.bn2.weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (N, 3, H, W) -> (N, num_classes)
        """Logits of a batch."""
        return self.fc(self.blocks(self.stem(images)).mean(dim=(2, 3)))


def build_model(name: str, *, num_classes: int, zero_init_residual: bool, init_seed: int) -> nn.Module:
    """A model with initial weights from a seed of their own; raises ConfigError where there is no such model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        if ":" not in name:
            return _built_in(name)(num_classes=num_classes, zero_init_residual=zero_init_residual)
        if zero_init_residual:
            raise ConfigError(f"recipe.zero_init_residual: {name} is a model of your own; zero its gammas there")
        return _imported(name)(num_classes)


def _built_in(name: str) -> Callable[..., nn.Module]:
    if name == "resnet8":
        return ResNet8
    if name not in BUILT_IN_MODELS:
        raise ConfigError(f"recipe.model: {name} is none of {', '.join(BUILT_IN_MODELS)}, nor package.module:function")
    return getattr(importlib.import_module("torchvision.models.resnet"), name)


def _imported(path: str) -> Callable[..., nn.Module]:
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"recipe.model: {path} cannot be imported: {error}") from error
