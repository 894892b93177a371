"""How the workers of a rank share its training passes. Standard library only: costs are predicted by it as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

AUTO_PIXELS = {"cpu": 2**17, "cuda": 0}
"""workers_per_pass auto: most pixels of a pass, all its images together. Measured on CPUs with 32 images of 16 x 16 a
worker: a step with 10 workers in a pass takes about 0.75 times as long as with one at a time, and with 20 no less; with
images of 224 x 224 a single one fills the caches. On GPUs not measured yet: one worker a pass."""


def micro_batch_size(content: Mapping[str, Any]) -> int:
    """Images of one BatchNorm batch of a content."""
    return content.get("batchnorm_batch_size") or content["mini_batch_size"] // content["workers"]


def workers_together(
    asked: int | Literal["auto"], workers: int, *, images_a_worker: int, image_size: int, device: str
) -> int:
    """Workers in a pass of a rank that has so many, as `placement.workers_per_pass` asks. device: cpu or cuda."""
    most = AUTO_PIXELS[device] // (images_a_worker * image_size**2) if asked == "auto" else asked
    return largest_divisor(workers, max(1, most))


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`, at least 1."""
    return max(each for each in range(1, min(number, most) + 1) if number % each == 0)
