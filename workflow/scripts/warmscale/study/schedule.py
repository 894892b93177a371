"""Learning-rate schedules: closed forms of the step, and a training's schedule as a row of pieces."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE = 1e-9
"""Relative to the larger of two rates; rates closer than this are the same."""


@dataclass(frozen=True)
class Affine:
    """`steps` steps on a line from `first` to `last`; a piece of one step has only `first`."""

    steps: int
    first: float
    last: float

    def rate(self, index: int) -> float:
        """Rate at a step of the piece, counted from 0; outside the piece, its continuation."""
        if index == self.steps - 1 or self.steps == 1:
            return self.last
        return self.first + (self.last - self.first) * index / (self.steps - 1)


@dataclass(frozen=True)
class Curve:
    """`steps` steps of a cosine (Loshchilov & Hutter 2017, without restarts) or polynomial decay."""

    kind: str
    steps: int
    clock: int
    """Value of the decay clock at the first step of the piece."""
    period: int
    """Value of the decay clock at which the final rate is reached."""
    peak: float
    """Rate at clock 0."""
    final: float
    power: float = 1.0

    def rate(self, index: int) -> float:
        """Rate at a step of the piece, counted from 0."""
        done = min((self.clock + index) / self.period, 1.0)
        left = (1 + math.cos(math.pi * done)) / 2 if self.kind == "cosine" else (1 - done) ** self.power
        return self.final + (self.peak - self.final) * left


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every step of a training, in normal form."""

    pieces: tuple[Affine | Curve, ...]

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return sum(piece.steps for piece in self.pieces)

    @property
    def starts(self) -> list[int]:
        """First step of each piece."""
        return list(itertools.accumulate((piece.steps for piece in self.pieces), initial=0))[:-1]

    def learning_rate(self, step: int) -> float:
        """Rate at a step, counted from 0; raises IndexError outside the training."""
        if not 0 <= step < self.total_steps:
            raise IndexError(f"step {step} is outside a training of {self.total_steps} steps")
        starts = self.starts
        index = bisect.bisect_right(starts, step) - 1
        return self.pieces[index].rate(step - starts[index])

    def peak(self) -> tuple[float, int]:
        """Highest rate, and the first step that has it."""
        ends = [
            (piece.rate(index), start + index)
            for start, piece in zip(self.starts, self.pieces, strict=True)
            for index in {0, piece.steps - 1}
        ]
        highest = max(rate for rate, _ in ends)
        return highest, min(step for rate, step in ends if same(rate, highest))

    def to_json(self) -> list:
        """Built-in values: an affine piece as [n, first] or [n, first, last], a curve as a mapping."""
        return [_piece_to_json(piece) for piece in self.pieces]

    @classmethod
    def from_json(cls, pieces: Sequence) -> Schedule:
        """The inverse of `to_json`, bit by bit."""
        return cls(tuple(Curve(**p) if isinstance(p, dict) else Affine(p[0], p[1], p[-1]) for p in pieces))


def same(a: float, b: float) -> bool:
    """Whether two rates differ by rounding at most."""
    return math.isclose(a, b, rel_tol=TOLERANCE)


def scale_exponent(rule: str, exponent: float | None) -> float:
    """Exponent of k in peak_lr = base_lr * k^exponent."""
    return {"none": 0.0, "linear": 1.0, "sqrt": 0.5}.get(rule, exponent)


def warmup_rate(step: int, *, start: float, peak: float, warmup_steps: int, shape: str, step_convention: str) -> float:
    """Closed form of the rate at a step of warmup: Goyal et al. 2017 (`t`), Horovod's callback (`t+1`)."""
    if shape == "constant":
        return start
    done = step + 1 if step_convention == "t+1" else step
    return start + (peak - start) * done / warmup_steps


def step_decay_rate(clock: int, *, peak: float, milestones: Sequence[int], factor: float) -> float:
    """Closed form of step decay: `factor` for each milestone (in steps) that the decay clock has reached."""
    return peak * factor ** sum(milestone <= clock for milestone in milestones)


def _piece_to_json(piece: Affine | Curve) -> list | dict:
    if isinstance(piece, Curve):
        return dict(vars(piece))
    return [piece.steps, piece.first, *([piece.last] if piece.last != piece.first else [])]
