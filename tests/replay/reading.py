"""Writes files of other people's results for the tests, and reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from warmscale.replay import ReplayError, read_sources
from warmscale.replay.imported import Rows
from warmscale.study.replay import Replay


@dataclass(frozen=True)
class Frames:
    """What the sources of a replay hold, as frames."""

    runs: pd.DataFrame
    epochs: pd.DataFrame
    cells: pd.DataFrame
    factors: tuple[str, ...]
    notes: tuple[str, ...]


def read(*, metrics=("top1",), referenced=(), rule="last", **replay: Any) -> Frames:
    """Read sources; paths may be Path objects."""
    fields = {key: str(value) if isinstance(value, Path) else value for key, value in replay.items()}
    found = read_sources(Replay(**fields), metrics=list(metrics), referenced=referenced, rule=rule)
    return Frames(*map(frame, (found.runs, found.epochs, found.cells)), found.factors, found.notes)


def frame(table: Rows) -> pd.DataFrame:
    """A table as a frame."""
    return pd.DataFrame(list(table.rows), columns=list(table.columns))


def errors_of(**arguments: Any) -> list[str]:
    """The lines that reading stops with."""
    with pytest.raises(ReplayError) as caught:
        read(**arguments)
    return caught.value.lines


def write(path: Path, *lines: str) -> Path:
    """A file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path
