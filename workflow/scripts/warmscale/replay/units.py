"""Numbers of metrics: read, in percent, and within their bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import at, must_be
from .names import is_accuracy
from .records import Wanted
from .table import Row
from .values import measured, number_hint


@dataclass(frozen=True)
class Reading:
    """A number of a metric, and where it stands."""

    value: float
    place: str
    """File, row and column."""


def read_metric(path: Path, row: Row, column: str, problems: list[str]) -> float:
    """The number in a cell; NaN where there is none, or where it is a problem."""
    text = row.cells[column]
    value = measured(text)
    if value is None:
        problems.append(f"{at(path, row.number, column)}: {must_be(text, 'a number')}{number_hint(text)}")
        return math.nan
    return value


def percent_factor(metric: str, wanted: Wanted) -> float:
    """What a number of a metric is multiplied by to be in percent."""
    return 100.0 if wanted.unit == "fraction" and is_accuracy(metric) else 1.0


def wrong_unit(place: str, metric: str, values: Sequence[float], wanted: Wanted) -> list[str]:
    """Say that the numbers of a metric are fractions under unit percent, or the other way round.

    Errors of a percent at most exist: where the config writes the unit, they are believed.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not is_accuracy(metric) or not finite:
        return []
    largest, small = max(finite), all(0 <= value <= 1 for value in finite)
    believed = wanted.unit_is_written and "err" in metric.lower()
    if wanted.unit == "percent" and small and largest > 0 and not believed:
        otherwise = ", or `unit: percent` if they are percent" if "err" in metric.lower() else ""
        return [f"{place}: {metric} is {largest:g} at most: fractions? write `unit: fraction` under replay{otherwise}"]
    if wanted.unit == "fraction" and largest > 1:
        return [f"{place}: {metric} is {largest:g} at most: percent? leave out `unit: fraction` under replay"]
    return []


def out_of_bounds(metric: str, readings: Sequence[Reading]) -> list[str]:
    """Numbers of an accuracy, in percent, that are none."""
    if not is_accuracy(metric):
        return []
    return [
        f"{reading.place}: is {reading.value:g}, must be from 0 to 100"
        for reading in readings
        if math.isfinite(reading.value) and not 0 <= reading.value <= 100
    ]


def check_metric(place: str, metric: str, readings: Sequence[Reading], wanted: Wanted) -> list[str]:
    """What is wrong with all numbers of one metric in one file."""
    factor = percent_factor(metric, wanted)
    unit = wrong_unit(place, metric, [reading.value for reading in readings], wanted)
    return unit or out_of_bounds(metric, [Reading(factor * item.value, item.place) for item in readings])
