"""The normal form of a schedule, in which equal schedules look equal.

A schedule is a row of affine pieces and at most one curve (cosine, polynomial), which only a constant piece may follow.
In the normal form a curve reaches back as far as it fits, a polynomial is told from its own first step, and the affine
pieces are, from the left, as long as they can be: so schedules that are equal at every step have the same pieces,
however they were written down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .schedule import TOLERANCE, Affine, Curve, Schedule, same

ROUNDING = 1e-14
"""Relative to the largest rate of a piece: what is left of a rate that should be 0."""
SHORT_CURVE_STEPS = 8
"""A curve of no more steps is written as affine pieces: two or three points of it may well lie on a line."""


def normal_form(affine: Sequence[Affine], curve: Curve | None = None) -> Schedule:
    """The schedule of these pieces, a curve last, in normal form (see the module's text)."""
    pieces, tail = [piece for piece in affine if piece.steps], []
    if curve and curve.steps > curve.period - curve.clock:
        on_curve = curve.period - curve.clock
        tail = [Affine(curve.steps - on_curve, curve.final, curve.final)]
        curve = replace(curve, steps=on_curve)
    if curve and _is_line(curve):
        line = [Affine(curve.steps, curve.rate(0), curve.rate(curve.steps - 1))] if curve.steps else []
        pieces, curve = [*pieces, *line], None
    if curve and curve.steps:
        pieces, curve = _reach_back(pieces, _from_its_first_step(curve))
    if curve and curve.steps <= SHORT_CURVE_STEPS:
        rates = [curve.rate(index) for index in range(curve.steps)]
        pieces, curve = [*pieces, *(Affine(1, rate, rate) for rate in rates)], None
    row = [*_longest_from_the_left(pieces), curve, *tail] if curve else _longest_from_the_left([*pieces, *tail])
    return Schedule(tuple(_rounded(piece) for piece in row))


def _is_line(curve: Curve) -> bool:
    return same(curve.peak, curve.final) or (curve.kind == "polynomial" and curve.power == 1.0)


def _from_its_first_step(curve: Curve) -> Curve:
    """A polynomial as one that starts here: the rest of one is one itself. A cosine's rest is not a cosine."""
    if curve.kind == "cosine":
        return curve
    return replace(curve, clock=0, period=curve.period - curve.clock, peak=curve.rate(0))


def _reach_back(pieces: list[Affine], curve: Curve) -> tuple[list[Affine], Curve]:
    """Give the curve the steps in front of it that lie on it."""
    pieces = list(pieces)
    while pieces and (curve.clock > 0 or curve.kind == "polynomial"):
        last, earlier = pieces[-1], curve.rate(-1)
        if not same(last.last, earlier):
            break
        if curve.kind == "cosine":
            curve = replace(curve, steps=curve.steps + 1, clock=curve.clock - 1)
        else:
            curve = replace(curve, steps=curve.steps + 1, period=curve.period + 1, peak=earlier)
        pieces[-1:] = [Affine(last.steps - 1, last.first, last.rate(last.steps - 2))] if last.steps > 1 else []
    return pieces, curve


def _longest_from_the_left(pieces: Sequence[Affine]) -> list[Affine]:
    """Extend each piece over the steps behind it that continue it."""
    merged: list[Affine] = []
    rest = list(reversed(pieces))
    while rest:
        piece = rest.pop()
        while rest:
            following = rest.pop()
            if _on_one_line(piece, following):
                piece = Affine(piece.steps + following.steps, piece.first, following.last)
                continue
            if piece.steps == 1 or _close(piece.rate(piece.steps), following.first, piece):
                piece = Affine(piece.steps + 1, piece.first, following.first)
                following = Affine(following.steps - 1, following.rate(1), following.last)
            rest += [following] if following.steps else []
            break
        merged.append(piece)
    return merged


def _on_one_line(piece: Affine, following: Affine) -> bool:
    """Whether the line from the first to the last step of both passes through the steps where they meet."""
    line = Affine(piece.steps + following.steps, piece.first, following.last)
    meets = _close(line.rate(piece.steps - 1), piece.last, line)
    return meets and _close(line.rate(piece.steps), following.first, line)


def _close(a: float, b: float, piece: Affine) -> bool:
    """Whether two rates near a piece are the same, where one of them may be 0."""
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=ROUNDING * max(abs(piece.first), abs(piece.last)))


def _rounded(piece: Affine | Curve) -> Affine | Curve:
    """Twelve digits: rounding errors of two ways to the same rate do not make two schedules."""
    if isinstance(piece, Affine):
        first = _twelve_digits(piece.first)
        last = first if same(piece.first, piece.last) else _twelve_digits(piece.last)
        return Affine(piece.steps, first, last)
    values = {name: _twelve_digits(value) for name, value in vars(piece).items() if isinstance(value, float)}
    return replace(piece, **values)


def _twelve_digits(value: float) -> float:
    return float(f"{value:.12g}") + 0.0
