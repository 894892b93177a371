"""What readers hand over: runs and cells of a source, before all sources are put together."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .names import is_metric, is_reserved

STATES = ("finished", "diverged", "failed")


@dataclass(frozen=True)
class Wanted:
    """What a study asks of its sources."""

    metrics: tuple[str, ...]
    """Names of the metrics that the study compares; the first is its own, others belong to claims."""
    known: frozenset[str]
    """Columns that the config refers to: never metrics, never reserved."""
    unit: str
    """percent or fraction."""
    unit_is_written: bool
    """Whether the config says so, instead of leaving it at its default."""

    def metric_columns(self, columns: Collection[str]) -> list[str]:
        """Columns that are metrics."""
        return [name for name in columns if name in self.metrics or (is_metric(name) and name not in self.known)]

    def settings(self, columns: Collection[str]) -> list[str]:
        """Columns that may tell cells apart."""
        metrics = self.metric_columns(columns)
        return [name for name in columns if name in self.known or not (name in metrics or is_reserved(name))]

    def no_metric(self, columns: Sequence[str]) -> str:
        """Say that a file has none of the metrics."""
        has = self.metric_columns(columns)
        wanted = " or ".join(self.metrics)
        return f"has no column {wanted}; metric columns it has: {', '.join(has) if has else 'none'}"


@dataclass
class RawRun:
    """A run as its source has it."""

    source: str
    """File, as written in the config or matched."""
    settings: dict[str, Any]
    """{column: level}; texts are not yet numbers."""
    state: str
    metrics: dict[str, float] = field(default_factory=dict)
    """{metric: number of the run}, percent; NaN where there is none. Where it lacks one, the epochs give it."""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    """Rows with epoch and metrics, in order of the epochs."""
    seed: int | None = None
    run_id: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Further columns of `runs`: device_name, hours, status, org."""
    where: str = ""
    """File and row, for a message about it."""
    kind: str = ""
    """Key of the source: runs, epochs, mllog, tensorboard."""


@dataclass(frozen=True)
class RawCell:
    """A summary of a cell as its source has it."""

    source: str
    settings: dict[str, Any]
    metric: str
    n: int
    """Runs with a value."""
    mean: float
    sd: float
    """NaN where n is 1."""
    diverged: int
    """Runs beside n."""
    where: str


@dataclass
class Gathered:
    """What the readers of all sources found."""

    wanted: Wanted
    runs: list[RawRun] = field(default_factory=list)
    cells: list[RawCell] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def state_of(value: float) -> str:
    """A run whose last metric is not finite, or is not there, has diverged."""
    return "finished" if math.isfinite(value) else "diverged"


def name_of(path: Path) -> str:
    """A file as messages and tables name it."""
    return path.as_posix()
