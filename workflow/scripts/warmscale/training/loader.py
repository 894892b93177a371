"""The micro-batches of a rank: decoded by threads of its process, and copied to its device while it computes."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from .images import AT_A_TIME, Images, raise_first
from .order import sample_ids, stream_positions
from .tree import DataError

CHUNK = AT_A_TIME
"""Images that a thread decodes at a time: threads work on the same micro-batch, so that the first one comes soon."""
AHEAD = 3
"""Chunks a thread that are decoded or waited for, at least."""
MOST_THREADS = 32
"""More get in each other's way: what little there is of Python in an image is done by one thread at a time."""
CORES = "WARMSCALE_CORES"
"""Variable with the cores that a rank has for itself."""


@dataclass(frozen=True)
class MicroBatch:
    """Images of one forward pass; one BatchNorm batch."""

    sample_keys: np.ndarray  # (n,) int64: epoch * num_images + id, an image of the stream by name
    images: torch.Tensor  # (n, 3, H, W) uint8, channels_last
    labels: torch.Tensor  # (n,) int64


@dataclass(frozen=True)
class Places:
    """Images of a micro-batch, by their places in the stream."""

    ids: np.ndarray  # (n,) int64
    epochs: np.ndarray  # (n,) int64
    positions: np.ndarray  # (n,) int64


@dataclass
class Decoding:
    """A micro-batch that threads are writing."""

    batch: MicroBatch
    chunks: list[Future[list[DataError]]] = field(default_factory=list)

    def is_done(self) -> bool:
        """Whether nobody would have to wait."""
        return all(chunk.done() for chunk in self.chunks)

    def result(self) -> MicroBatch:
        """Wait for it; raises DataError."""
        raise_first([error for chunk in self.chunks for error in chunk.result()])
        return self.batch


def threads_of_rank(asked_for: int | None, on_gpu: bool, environment: Mapping[str, str] = os.environ) -> int:
    """Threads that decode images ahead: what was asked for, or the cores of a rank that do not train.

    On a GPU at least one, so that decoding and training overlap. On one core without a GPU none: a second thread gains
    nothing there.
    """
    if asked_for is not None:
        return asked_for
    cores = int(environment.get(CORES) or 1)
    return min(MOST_THREADS, max(cores - 1, int(on_gpu)))


def train_batches(
    images: Images,
    starts: Iterable[int],
    count: int,
    *,
    images_per_epoch: int,
    data_seed: int,
    threads: int,
    device: torch.device | None = None,
) -> Iterator[MicroBatch]:
    """Micro-batches of `count` images that begin at these places of the stream of training images."""

    def places(start: int) -> Places:
        epochs, positions = stream_positions(start, count, images_per_epoch)
        return Places(sample_ids(data_seed, epochs, positions, len(images.split)), epochs, positions)

    return on_device(decoded(images, map(places, starts), threads, device), device)


def val_batches(
    images: Images, start: int, stop: int, count: int, *, threads: int, device: torch.device | None = None
) -> Iterator[MicroBatch]:
    """The validation images from start to stop, each once, `count` at a time."""

    def places(first: int) -> Places:
        ids = np.arange(first, min(first + count, stop))
        return Places(ids, np.zeros_like(ids), ids)

    return on_device(decoded(images, map(places, range(start, stop, count)), threads, device), device)


def decoded(
    images: Images, wanted: Iterable[Places], threads: int, device: torch.device | None = None
) -> Iterator[Decoding]:
    """Micro-batches in the order wanted, some of them decoded ahead; 0 threads: each is decoded when asked for."""
    if threads == 0:
        for places in wanted:
            decoding = begin(images, places, device)
            raise_first(images.fill(_rows(decoding.batch), places.ids, places.epochs, places.positions))
            yield decoding
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    pending: deque[Decoding] = deque()
    try:
        for places in wanted:
            pending.append(start(pool, images, places, device))
            # the oldest is about to be handed over: what is behind it keeps all threads busy
            while sum(len(decoding.chunks) for decoding in pending) - len(pending[0].chunks) >= AHEAD * threads:
                yield pending.popleft()
        while pending:
            yield pending.popleft()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def begin(images: Images, places: Places, device: torch.device | None) -> Decoding:
    """Memory for a micro-batch: pinned where it goes to a GPU."""
    shape = (len(places.ids), images.size, images.size, 3)
    pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=_is_cuda(device))
    labels = torch.from_numpy(images.split.labels[places.ids])
    keys = places.epochs * len(images.split) + places.ids
    # NHWC bytes seen as NCHW: that is what channels_last means
    return Decoding(MicroBatch(keys, pixels.permute(0, 3, 1, 2), labels.pin_memory() if _is_cuda(device) else labels))


def start(pool: ThreadPoolExecutor, images: Images, places: Places, device: torch.device | None) -> Decoding:
    """Let threads write a micro-batch."""
    images.expect(places.ids)
    decoding = begin(images, places, device)
    rows = _rows(decoding.batch)
    for first in range(0, len(rows), CHUNK):
        here = slice(first, first + CHUNK)
        chunk = (rows[here], places.ids[here], places.epochs[here], places.positions[here])
        decoding.chunks.append(pool.submit(images.fill, *chunk))
    return decoding


def on_device(decodings: Iterator[Decoding], device: torch.device | None) -> Iterator[MicroBatch]:
    """Micro-batches on a device."""
    if _is_cuda(device):
        return copied_ahead(decodings, Copier(device))
    return (decoding.result() for decoding in decodings)


def copied_ahead(decodings: Iterable[Decoding], copier: Copier) -> Iterator[MicroBatch]:
    """The next micro-batch is copied while one is used, unless it would have to be waited for."""
    sent = None
    for decoding in decodings:
        following = copier.copy(decoding.result()) if decoding.is_done() else None
        if sent:
            yield copier.hand_over(sent)
        sent = following or copier.copy(decoding.result())
    if sent:
        yield copier.hand_over(sent)


class Copier:
    """Copies micro-batches to a GPU on a stream of its own."""

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = _stream(device)
        self._arrived: dict[int, torch.cuda.Event] = {}

    def copy(self, batch: MicroBatch) -> MicroBatch:
        """Start to copy. The pinned memory is used again only after that: PyTorch's allocator sees to it."""
        with torch.cuda.stream(self._stream):
            images, labels = (tensor.to(self._device, non_blocking=True) for tensor in (batch.images, batch.labels))
            self._arrived[id(images)] = self._stream.record_event()
        return MicroBatch(batch.sample_keys, images, labels)

    def hand_over(self, batch: MicroBatch) -> MicroBatch:
        """Let the current stream wait for a batch, and its memory be used again only when that stream is done."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(self._arrived.pop(id(batch.images)))
        batch.images.record_stream(current)
        batch.labels.record_stream(current)
        return batch


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One of a device for all evaluations: PyTorch's allocator keeps memory apart for each stream."""
    return torch.cuda.Stream(device)


def _rows(batch: MicroBatch) -> np.ndarray:  # (n, H, W, 3) uint8
    return batch.images.permute(0, 2, 3, 1).numpy()


def _is_cuda(device: torch.device | None) -> bool:
    return device is not None and device.type == "cuda"
