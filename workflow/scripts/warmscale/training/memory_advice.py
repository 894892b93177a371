"""What to do about a run that lacks memory, from what was measured when it failed. Standard library only.

A piece of advice is {"what", "changes_result", "fits", "peak_mib"}. `fits` is true where it was run and fitted, false
where it was run and did not, or cannot by the line through what was run, and null where nobody has tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HEADROOM = 0.9
"""Of what the limit leaves for images: a batch that fills more by the line is not advised for what it may just fit."""


@dataclass(frozen=True)
class Point:
    """One forward and backward pass that was tried."""

    images: int
    fits: bool
    peak_mib: float | None
    """Of the process, on the device or on the host; None where it could not be measured or did not fit."""


@dataclass(frozen=True)
class Situation:
    """A run that lacked memory, and what was tried in its place."""

    mini_batch_size: int
    workers: int
    batchnorm_batch_size: int | None
    """Where it is smaller than a worker's share."""
    precision: str
    world_size: int
    on_host: bool
    """It is the host's memory that is short, not the device's."""
    limit_what: str
    is_shared: bool = False
    """The ranks of a machine share what is short."""
    limit_mib: float | None = None
    """What others do not use of it."""
    others_mib: float = 0.0
    refused_mib: float = 0.0
    """What was used and asked for when memory ran out: too much, whatever the line says."""
    loader_threads: int | None = 0
    workers_per_pass: int = 1
    """What ran out of memory was a pass of so many BatchNorm batches."""
    zero_saves_mib: float | None = None
    """What ZeRO stage 1 would save; None where it is no choice."""
    points: tuple[Point, ...] = ()
    """At the run's precision."""
    other_precision: str | None = None
    other_point: Point | None = None
    """The asked batch at that precision."""
    validation: Point | None = None
    """A validation batch."""

    @property
    def images(self) -> int:
        """Images of one BatchNorm batch: of one forward pass with one worker in it."""
        return self.batchnorm_batch_size or self.mini_batch_size // self.workers

    @property
    def candidates(self) -> list[int]:
        """Smaller batches that the same ranks could train without changing mini_batch_size, in increasing order."""
        size, share, ranks = self.mini_batch_size, self.mini_batch_size // self.workers, self.world_size
        if self.batchnorm_batch_size:
            return [n for n in range(1, self.batchnorm_batch_size) if share % n == 0]
        return [n for n in range(1, share) if size % n == 0 and (size // n) % ranks == 0]

    @property
    def needed_mib(self) -> float | None:
        """Memory that the asked batch needs: as measured, or by the line through smaller ones."""
        measured = [point.peak_mib for point in self.points if point.images == self.images and point.peak_mib]
        line = fit_line(self.points)
        return measured[0] if measured else line and max(line[0] + line[1] * self.images, self.refused_mib)


def fit_line(points: Iterable[Point]) -> tuple[float, float] | None:
    """Least squares: memory of no image, and of each, in MiB; None for fewer than two batch sizes."""
    known = [(point.images, point.peak_mib) for point in points if point.fits and point.peak_mib is not None]
    if len({images for images, _ in known}) < 2:
        return None
    mean_x, mean_y = (sum(values) / len(known) for values in zip(*known, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in known) / sum((x - mean_x) ** 2 for x, _ in known)
    return mean_y - slope * mean_x, slope


def ladder(allowed: Sequence[int], images: int) -> list[int]:
    """Some of them, each at most half the next, in increasing order."""
    steps: list[int] = []
    for size in reversed(allowed):
        if size <= (steps[-1] if steps else images) / 2:
            steps.append(size)
    return steps[::-1]


def between(allowed: Sequence[int], points: Sequence[Point], images: int, limit_mib: float | None) -> int | None:
    """The largest batch above those that fitted that the line says fits too, and that was not tried."""
    fitted = [point.images for point in points if point.fits]
    too_many = min([images, *(point.images for point in points if not point.fits)])
    may = (
        n
        for n in allowed
        if max(fitted, default=n) < n < too_many and (share_filled(points, n, limit_mib) or 1) <= HEADROOM
    )
    return max(may, default=None)


def share_filled(points: Iterable[Point], images: int, limit_mib: float | None) -> float | None:
    """By the line, the part of the memory that the limit leaves for images which so many of them fill."""
    line = fit_line(points)
    if line is None or limit_mib is None:
        return None
    left = limit_mib - line[0]
    return line[1] * images / left if left > 0 else math.inf


def advise(situation: Situation) -> list[dict[str, Any]]:
    """All that can be said, what leaves the result as it is first."""
    return [*_same_result(situation), *_another_run(situation)]


def _same_result(s: Situation) -> Iterable[dict[str, Any]]:
    asked = next((point for point in s.points if point.images == s.images), None)
    again = asked is not None and asked.fits
    if s.validation and not s.validation.fits:
        what = f"a smaller VAL_BATCH_SIZE in training/evaluate.py: {s.validation.images} images do not fit"
        yield _advice(what, False, None, None)
    if s.on_host and s.loader_threads != 0:
        now = "chosen by itself" if s.loader_threads is None else s.loader_threads
        what = f"placement.loader_threads: 0 (now {now}; batches are decoded ahead)"
        yield _advice(what, False, asked and asked.fits, asked and asked.peak_mib)
    if s.workers_per_pass > 1:
        what = f"placement.workers_per_pass: 1 (now {s.workers_per_pass})"
        yield _advice(what, False, asked and asked.fits, asked and asked.peak_mib)
    elif again and not s.on_host and (s.validation is None or s.validation.fits):
        what = f"PYTORCH_ALLOC_CONF=expandable_segments:True: {s.images} images fit once all else was freed"
        yield _advice(what, False, None, asked.peak_mib)
    if s.zero_saves_mib is not None:
        yield _zero_advice(s)
    if s.is_shared and s.world_size > 1:
        yield _advice("a smaller placement.ranks_per_node: fewer ranks share this machine's memory", False, None, None)
    if s.needed_mib and not again:
        least = math.ceil((s.needed_mib + s.others_mib) / 10) * 10
        yield _advice(f"at least {least:,} MiB of {s.limit_what}", False, None, s.needed_mib)


def _zero_advice(s: Situation) -> dict[str, Any]:
    left = s.needed_mib and s.needed_mib - s.zero_saves_mib
    enough = left and s.limit_mib and left <= s.limit_mib
    fits = None if enough or not (left and s.limit_mib) else False
    saves = f"placement.zero_stage: 1 (saves about {s.zero_saves_mib:,.0f} MiB of the optimizer's state"
    return _advice(saves + (", enough by the estimate)" if enough else ")"), False, fits, left)


def _another_run(s: Situation) -> Iterable[dict[str, Any]]:
    validates = s.validation is None or s.validation.fits
    smaller = [point for point in s.points if point.images < s.images]
    fitting = [point for point in smaller if point.fits]
    if smaller:
        point = max(fitting or smaller, key=lambda each: each.images if fitting else -each.images)
        for what in _smaller_batches(s, point.images):
            yield _advice(what, True, point.fits and validates, point.peak_mib)
    elif untried := ladder(s.candidates, s.images):
        for what in _smaller_batches(s, untried[-1]):
            yield _advice(what, True, None, None)
    if s.precision == "fp32":
        point = s.other_point
        fits = point and point.fits and validates
        yield _advice(f"precision: {s.other_precision or 'bf16'}", True, fits, point and point.peak_mib)


def _smaller_batches(s: Situation, images: int) -> Iterable[str]:
    if s.batchnorm_batch_size is None:
        workers = s.mini_batch_size // images
        yield f"worker_batch_size {images} (workers: {workers}, mini_batch_size: {s.mini_batch_size} as it is)"
    if (s.mini_batch_size // s.workers) % images == 0:
        yield f"batchnorm_batch_size: {images} (workers: {s.workers} as they are)"


def _advice(what: str, changes_result: bool, fits: bool | None, peak_mib: float | None) -> dict[str, Any]:
    return {
        "what": what,
        "changes_result": changes_result,
        "fits": fits,
        "peak_mib": None if peak_mib is None else round(peak_mib, 1),
    }


def after_kill(ranks: Sequence[int], situation: Situation) -> dict[str, Any]:
    """Reason and advice where the kernel killed ranks for memory: nothing can be tried after that."""
    who = ", ".join(f"rank {rank}" for rank in ranks)
    images = situation.images * situation.workers_per_pass
    failure = f"{who} killed by the kernel for want of memory with {images} images a forward pass"
    return {
        "failure_class": "out_of_memory",
        "failure": failure,
        "rank": min(ranks, default=None),
        "advice": advise(situation),
    }


def situation_of(content: Mapping[str, Any], settings: Mapping[str, Any], world_size: int, **known: Any) -> Situation:
    """What content and placement say; `known` are further fields."""
    values = {
        "mini_batch_size": content["mini_batch_size"],
        "workers": content["workers"],
        "batchnorm_batch_size": content.get("batchnorm_batch_size"),
        "precision": content.get("precision", "fp32"),
        "world_size": world_size,
        "loader_threads": settings["loader_threads"],
        "on_host": True,
        "is_shared": True,
        "limit_what": "memory of the machine",
    }
    return Situation(**(values | known))
