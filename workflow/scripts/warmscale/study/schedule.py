"""Learning-rate schedules: closed forms of the step, and a normal form in which equal schedules look equal.

A schedule is a row of pieces. An affine piece [n, first, increment] gives first + i * increment at its i-th step; a
curve (cosine, polynomial) is the last piece, if any. In the normal form a curve reaches back as far as it fits and the
affine pieces in front of it are, from the left, as long as they can be: so schedules that are equal at every step
have the same pieces, however they were written down.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

TOLERANCE = 1e-9
"""Relative to the larger of two rates; rates closer than this are the same."""
SHORT_CURVE_STEPS = 8
"""A curve of no more steps is written as affine pieces: two or three points of it may well lie on a line."""


@dataclass(frozen=True)
class Affine:
    """`steps` steps at first, first + increment, first + 2 * increment, ..."""

    steps: int
    first: float
    increment: float = 0.0

    def rate(self, index: int) -> float:
        """Rate at a step of the piece, counted from 0; outside the piece, its continuation."""
        return self.first + index * self.increment


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
        return highest, min(step for rate, step in ends if _same(rate, highest))

    def to_json(self) -> list:
        """Built-in values: an affine piece as [n, first] or [n, first, increment], a curve as a mapping."""
        return [_piece_to_json(piece) for piece in self.pieces]

    @classmethod
    def from_json(cls, pieces: Sequence) -> Schedule:
        """The inverse of `to_json`, bit by bit."""
        return cls(tuple(Curve(**piece) if isinstance(piece, dict) else Affine(*piece) for piece in pieces))


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


def normal_form(affine: Sequence[Affine], curve: Curve | None = None) -> Schedule:
    """The schedule of these pieces, a curve last, in normal form (see the module's text)."""
    pieces = [piece for piece in affine if piece.steps]
    if curve and math.isclose(curve.peak, curve.final, rel_tol=TOLERANCE):
        pieces, curve = [*pieces, Affine(curve.steps, curve.peak)], None
    if curve and curve.kind == "polynomial" and curve.power == 1.0:
        slope = (curve.final - curve.peak) / curve.period
        pieces, curve = [*pieces, Affine(curve.steps, curve.rate(0), slope)], None
    if curve:
        pieces, curve = _reach_back(pieces, curve)
    if curve and curve.steps <= SHORT_CURVE_STEPS:
        pieces, curve = [*pieces, *(Affine(1, curve.rate(index)) for index in range(curve.steps))], None
    pieces = _longest_from_the_left(pieces)
    return Schedule(tuple(_rounded(piece) for piece in [*pieces, *([curve] if curve else [])]))


def _reach_back(pieces: list[Affine], curve: Curve) -> tuple[list[Affine], Curve]:
    """Give the curve the steps in front of it that lie on it."""
    pieces = list(pieces)
    while pieces and curve.clock > 0:
        last = pieces[-1]
        if not _same(last.rate(last.steps - 1), curve.rate(-1)):
            break
        curve = replace(curve, steps=curve.steps + 1, clock=curve.clock - 1)
        pieces[-1:] = [replace(last, steps=last.steps - 1)] if last.steps > 1 else []
    return pieces, curve


def _longest_from_the_left(pieces: Sequence[Affine]) -> list[Affine]:
    """Extend each piece over the steps behind it that continue it."""
    merged: list[Affine] = []
    rest = list(reversed(pieces))
    while rest:
        piece = rest.pop()
        while rest:
            following = rest.pop()
            increment = following.first - piece.first if piece.steps == 1 else piece.increment
            taken = _steps_continuing(piece, increment, following)
            if taken:
                piece = Affine(piece.steps + taken, piece.first, increment)
            if taken < following.steps:
                rest.append(Affine(following.steps - taken, following.rate(taken), following.increment))
                break
        merged.append(piece)
    return merged


def _steps_continuing(piece: Affine, increment: float, following: Affine) -> int:
    """How many steps of `following` continue `piece` with this increment: none, one or all."""
    if not _same(following.first, piece.first + piece.steps * increment):
        return 0
    last = following.steps - 1
    if last and not _same(following.rate(last), piece.first + (piece.steps + last) * increment):
        return 1
    return following.steps


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-15)


def _rounded(piece: Affine | Curve) -> Affine | Curve:
    """Twelve digits: rounding errors of two ways to the same rate do not make two schedules."""
    values = {name: float(f"{value:.12g}") for name, value in asdict(piece).items() if isinstance(value, float)}
    if isinstance(piece, Affine) and abs(values["increment"]) * piece.steps <= TOLERANCE * abs(values["first"]):
        values["increment"] = 0.0
    return replace(piece, **values)


def _piece_to_json(piece: Affine | Curve) -> list | dict:
    if isinstance(piece, Curve):
        return asdict(piece)
    return [piece.steps, piece.first, *([piece.increment] if piece.increment else [])]
