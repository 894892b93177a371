"""The values of a machine that step times depend on, as a point that a fit may move freely: logarithms and logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .hardware import SHARES, Hardware
from .workload import Workload

Array = NDArray[np.float64]

FITTED = (
    "images_per_sec",
    "launch_floor_sec",
    "pass_sec",
    "contention",
    "memory_bytes_per_sec",
    "intra_bytes_per_sec",
    "intra_latency_sec",
    "nic_bytes_per_sec",
    "inter_latency_sec",
    "overlap_share",
    "straggler_cv",
    "input_images_per_sec",
)
"""Names of these values, the coordinates of a point; images_per_sec is that of the workload's precision."""
NUDGE = 1e-4
"""Along a coordinate, for slopes."""


def point_of(hardware: Hardware, work: Workload) -> Array:
    """Where a machine is: logarithms of its values, logits of its shares."""
    return np.array([_to_line(name, hardware.value(name, work.precision).of) for name in FITTED])


def sds_of(hardware: Hardware, work: Workload) -> Array:
    """How sure each coordinate is."""
    return np.array([hardware.value(name, work.precision).sd for name in FITTED])


def machine_at(point: Array, hardware: Hardware, work: Workload) -> Hardware:
    """The machine at a point, in all else like another."""
    changed = {
        name: replace(hardware.value(name, work.precision), of=_from_line(name, float(coordinate)))
        for name, coordinate in zip(FITTED, point, strict=True)
    }
    return hardware.with_values(changed, work.precision)


def slopes(function: Callable[[Array], Array], point: Array) -> Array:  # -> (results, coordinates)
    """How the results of a function change along each coordinate."""
    middle = function(point)
    return np.column_stack([(function(point + step) - middle) / NUDGE for step in np.eye(len(point)) * NUDGE])


def _to_line(name: str, value: float) -> float:
    return math.log(value / (1 - value)) if name in SHARES else math.log(value)


def _from_line(name: str, coordinate: float) -> float:
    return 1 / (1 + math.exp(-coordinate)) if name in SHARES else math.exp(coordinate)
