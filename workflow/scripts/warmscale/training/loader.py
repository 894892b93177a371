"""The micro-batches of a rank, decoded ahead by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from .images import Images
from .order import sample_ids, stream_positions

Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(frozen=True)
class MicroBatch:
    """Images of one forward pass; one BatchNorm batch."""

    sample_keys: np.ndarray  # (n,) int64: epoch * num_images + id, an image of the stream by name
    images: torch.Tensor  # (n, 3, H, W) uint8, channels_last
    labels: torch.Tensor  # (n,) int64


def prefetch(make: Callable[[Request], Result], requests: Iterable[Request], threads: int) -> Iterator[Result]:
    """Results in the order of the requests, `threads` of them made ahead; 0 threads: made when asked for."""
    if threads == 0:
        yield from map(make, requests)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        pending: deque = deque()
        for request in requests:
            pending.append(pool.submit(make, request))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def train_batches(
    images: Images, starts: Iterable[int], count: int, *, images_per_epoch: int, data_seed: int, threads: int
) -> Iterator[MicroBatch]:
    """Micro-batches of `count` images that begin at these places of the stream of training images."""

    def make(start: int) -> MicroBatch:
        epochs, positions = stream_positions(start, count, images_per_epoch)
        ids = sample_ids(data_seed, epochs, positions, len(images.split))
        return _micro_batch(images, ids, epochs, positions)

    return prefetch(make, starts, threads)


def val_batches(images: Images, start: int, stop: int, count: int, *, threads: int) -> Iterator[MicroBatch]:
    """The validation images from start to stop, each once, `count` at a time."""

    def make(first: int) -> MicroBatch:
        ids = np.arange(first, min(first + count, stop))
        return _micro_batch(images, ids, np.zeros_like(ids), ids)

    return prefetch(make, range(start, stop, count), threads)


def _micro_batch(images: Images, ids: np.ndarray, epochs: np.ndarray, positions: np.ndarray) -> MicroBatch:
    pixels, labels = images.batch(ids, epochs, positions)
    # NHWC bytes seen as NCHW: that is what channels_last means
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    return MicroBatch(epochs * len(images.split) + ids, tensor, torch.from_numpy(labels))
