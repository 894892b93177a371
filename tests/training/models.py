"""Models of one's own, by import path."""

from __future__ import annotations

import atexit
import os
import resource
import signal
from pathlib import Path

import torch
from torch import nn


def plain(num_classes: int) -> nn.Module:
    """Without BatchNorm: the gradient of a mini-batch is the mean over its workers'."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, num_classes))


def vector_first(num_classes: int) -> nn.Module:
    """Its first parameter is a BatchNorm's: no matrix, and without weight decay if so asked."""
    return nn.Sequential(nn.BatchNorm2d(3), plain(num_classes))


class HalfUsed(nn.Module):
    """One layer that no rank uses, one that the second rank alone does, and a frozen one."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.nowhere, self.on_second, self.frozen = (nn.Linear(num_classes, num_classes) for _ in range(3))
        self.frozen.requires_grad_(False)
        self.inner = plain(num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        logits = self.frozen(self.inner(images))
        return self.on_second(logits) if os.environ["RANK"] == "1" else logits


def half_used(num_classes: int) -> nn.Module:
    """See HalfUsed."""
    return HalfUsed(num_classes)


class RuinedOnSecond(nn.Module):
    """Its third forward pass comes to nothing on the second rank."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.inner, self.calls = plain(num_classes), 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        self.calls += 1
        return self.inner(images) * (float("nan") if os.environ["RANK"] == "1" and self.calls == 3 else 1.0)


def ruined_on_second(num_classes: int) -> nn.Module:
    """See RuinedOnSecond."""
    return RuinedOnSecond(num_classes)


class KilledOnce(nn.Module):
    """Kills the second rank in its 30th forward pass, the first time that it is used."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.inner, self.calls = plain(num_classes), 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        self.calls += 1
        marker = Path(os.environ["KILLED_ONCE"])
        if self.calls == 30 and os.environ["RANK"] == "1" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner(images)


def killed_once(num_classes: int) -> nn.Module:
    """See KilledOnce."""
    return KilledOnce(num_classes)


class RuinedAtLast(nn.Module):
    """Its validation after the second epoch meets weights that are not finite."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.inner, self.validations = plain(num_classes), 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        self.validations += not self.training
        return self.inner(images) * (float("nan") if self.validations == 2 else 1.0)


def ruined_at_last(num_classes: int) -> nn.Module:
    """See RuinedAtLast."""
    return RuinedAtLast(num_classes)


class Hungry(nn.Module):
    """Keeps 16 MiB of activations of each image, and may only map $HUNGRY_ROOM_MIB more when training begins.

    On all ranks, or on $HUNGRY_RANK.
    """

    def __init__(self, num_classes: int):
        super().__init__()
        self.inner, self.calls = plain(num_classes), 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        logits = self.inner(images)
        if not self.training:
            return logits
        self.calls += 1
        is_short = os.environ.get("HUNGRY_RANK") in (None, os.environ["RANK"])
        if self.calls == 1 and is_short and (room := os.environ.get("HUNGRY_ROOM_MIB")):
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + int(room) * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        kept = logits.mean(dim=1, keepdim=True).expand(-1, 2**20)
        for _ in range(4):
            kept = kept.sigmoid()
        return logits + 0.0 * kept.mean(dim=1, keepdim=True)


def hungry(num_classes: int) -> nn.Module:
    """See Hungry."""
    return Hungry(num_classes)


class Aborting(nn.Module):
    """Fails when it trains, and aborts the process in the interpreter's finalization, as libraries do."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.inner = plain(num_classes)
        atexit.register(os.abort)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Never."""
        raise KeyError("a bug of one's own")


def aborting(num_classes: int) -> nn.Module:
    """See Aborting."""
    return Aborting(num_classes)
