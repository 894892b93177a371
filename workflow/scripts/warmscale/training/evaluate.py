"""Validation: every image exactly once on any number of ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.nn import functional

from ..cluster.discovery import Rank
from .engine import Engine, evaluating
from .images import Images
from .loader import val_batches

VAL_BATCH_SIZE = 256


@dataclass(frozen=True)
class Normalise:
    """uint8 pixels on a device to what the model sees."""

    mean: torch.Tensor  # (3,), of pixels from 0 to 255
    factor: torch.Tensor  # (3,), one by the deviation of pixels from 0 to 255

    @classmethod
    def from_values(cls, mean: list[float], std: list[float], device: torch.device, dtype: torch.dtype) -> Normalise:
        """From per-channel values of pixels from 0 to 1."""
        means, factors = ([255 * value for value in mean], [1 / (255 * value) for value in std])
        return cls(*(torch.tensor(values, device=device, dtype=dtype) for values in (means, factors)))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:  # (N, 3, H, W) uint8, channels_last -> in mean's dtype
        """(pixel / 255 - mean) / std, in two passes over whole rows: broadcasting three channels takes longer."""
        images = images.to(self.mean.device, non_blocking=True)
        number, _, height, width = images.shape
        rows = images.permute(0, 2, 3, 1).reshape(number, height, 3 * width).to(self.mean.dtype)
        rows = rows.sub_(self.mean.repeat(width)).mul_(self.factor.repeat(width))
        return rows.view(number, height, width, 3).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Accuracy:
    """Result of one validation."""

    loss: float
    top1: float
    """Percent."""
    top5: float
    """Percent; of all classes where there are fewer than five."""


def evaluate(engine: Engine, images: Images, normalise: Normalise, rank: Rank, *, threads: int) -> Accuracy:
    """Mean cross-entropy and accuracy over the validation set; a collective."""
    size = len(images.split)
    start, stop = size * rank.rank // rank.world_size, size * (rank.rank + 1) // rank.world_size
    totals = torch.zeros(3, dtype=torch.float64, device=engine.device)  # loss, top-1, top-5
    with evaluating(engine.model), engine.autocast():
        for batch in val_batches(images, start, stop, VAL_BATCH_SIZE, threads=threads, device=engine.device):
            totals += _totals(engine.model(normalise(batch.images)), batch.labels.to(engine.device))
    dist.all_reduce(totals)
    loss, top1, top5 = (totals / size).tolist()
    return Accuracy(loss, 100 * top1, 100 * top5)


def _totals(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # (N, C), (N,) -> (3,) float64
    wide = logits if logits.dtype == torch.float64 else logits.float()
    loss = functional.cross_entropy(wide, labels, reduction="none").double().sum()
    best = wide.topk(min(5, wide.shape[1]), dim=1).indices == labels[:, None]  # (N, 5) bool
    return torch.stack([loss, best[:, 0].sum().double(), best.any(dim=1).sum().double()])
