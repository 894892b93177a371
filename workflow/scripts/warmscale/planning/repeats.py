"""What was measured of each shape, once: its repeats and seeds share what the model does not know of that shape."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .measured import Measured
from .step_time import StepShape


@dataclass(frozen=True)
class Time:
    """One kind of time of the steps of one shape, whoever measured it."""

    shape: StepShape
    has_input: bool
    part: str
    """Field of StepTime."""
    logs: tuple[float, ...]
    """Logarithms of what was measured, in seconds."""
    weight: float
    """Of its residual."""

    @property
    def log(self) -> float:
        """Their middle."""
        return statistics.median(self.logs)


def times_of(measured: Sequence[Measured]) -> list[Time]:
    """Every kind of time of every shape, once.

    Times of a shape share some of its residual: two count as the square root of 2, three as that of 3.
    """
    found: dict[tuple[StepShape, bool, str], list[float]] = defaultdict(list)
    for each in measured:
        for part, sec in each.parts.items():
            found[each.shape, each.has_input, part].append(math.log(sec))
    kinds = Counter(shape for shape, _, _ in found)
    return [Time(*key, logs=tuple(logs), weight=kinds[key[0]] ** -0.25) for key, logs in found.items()]


def repeat_variance(times: Sequence[Time]) -> tuple[float, float]:
    """What the middles lack of the variance of one measurement, and its degrees of freedom; 0 without repeats.

    Pooled over the whole steps of all shapes; a mean of n repeats has 1 / n of it.
    """
    steps = [time for time in times if time.part in ("step_sec", "input_sec")]
    dof = sum(len(time.logs) - 1 for time in steps)
    if not dof:
        return 0.0, 1.0
    squares = sum((len(time.logs) - 1) * statistics.variance(time.logs) for time in steps if len(time.logs) > 1)
    kept = statistics.fmean(1 / len(time.logs) for time in steps)
    return squares / dof * (1 - kept), float(dof)
