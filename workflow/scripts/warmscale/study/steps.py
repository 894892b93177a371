"""Epochs and steps: where each epoch ends when every step takes one mini-batch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochClock:
    """Turns epochs into steps (updates) and steps into positions of the stream of training images."""

    num_images: int
    """Training images."""
    mini_batch_size: int
    """Images a step."""
    last_batch: str
    """drop: an epoch has floor(num_images / mini_batch_size) steps. carry: no image is left out."""

    @property
    def images_per_epoch(self) -> int:
        """Images that an epoch uses, or, with carry, that it has."""
        if self.last_batch == "carry":
            return self.num_images
        return self.num_images - self.num_images % self.mini_batch_size

    def steps_until(self, epoch: float) -> int:
        """Steps completed when `epoch` epochs (fractions allowed) are over."""
        steps = epoch * self.images_per_epoch / self.mini_batch_size
        # the slack keeps 10.1 epochs of 10 steps at 101, whatever binary fractions make of it
        return math.floor(steps + 1e-9 + 1e-15 * steps)

    def epoch_position(self, step: int, offset: int) -> tuple[int, int]:
        """Epoch (from 0) and position in its permutation of image `offset` of a step."""
        return divmod(step * self.mini_batch_size + offset, self.images_per_epoch)
