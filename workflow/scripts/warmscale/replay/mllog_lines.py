"""Lines of MLPerf's logs, and what those of one log say together.

Keys: github.com/mlcommons/logging, mllog/constants.py. Logs of real submissions have the lines behind other output,
times in seconds or as fractions, numbers as text, and keys of optimizers that were not used.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import at
from .paths import Found
from .records import Gathered, name_of
from .values import number

TOKEN = ":::MLLOG"


@dataclass
class Log:
    """What the lines of one log say; a later line replaces an earlier one with the same key."""

    values: dict[str, Any] = field(default_factory=dict)
    accuracies: dict[float, float] = field(default_factory=dict)
    """{epoch: fraction}."""
    fresh: bool = True
    """Whether no accuracy was seen since the last start."""
    start_ms: float = math.nan
    """Start of what the accuracies belong to."""
    restart_ms: float = math.nan
    """The last start."""
    stop_ms: float = math.nan
    status: str | None = None
    epoch: float | None = None
    """The last one that a line names."""


def read_lines(file: Found, gathered: Gathered) -> list[tuple[int, str]]:
    """(line of the file, JSON text) of the lines with the token."""
    try:
        text = file.path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        gathered.problems.append(f"{at(name_of(file.path))}: cannot be read: {error.strerror}")
        return []
    lines = re.split("\r\n|\r|\n", text)
    found = [(row, line.partition(TOKEN)[2].strip()) for row, line in enumerate(lines, 1) if TOKEN in line]
    if not found:
        what = "is empty" if not text.strip() else f"has no line with {TOKEN}: is it a log of MLPerf 0.7 or later?"
        gathered.problems.append(f"{at(name_of(file.path))}: {what}")
    elif not lines[found[-1][0] - 1 :][1:] and not found[-1][1].endswith("}"):
        found.pop()  # the last line of a log whose writer was killed
        gathered.notes.append(f"{file.path}: the last line is cut off, and left out")
    return found


def read_log(name: str, lines: Sequence[tuple[int, str]], problems: list[str]) -> Log:
    """Read the lines of one log. lines: (line of the file, JSON text)."""
    log = Log()
    for row, text in lines:
        try:
            entry, _ = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError) as error:
            problems.append(f"{at(name, row)}: no valid JSON after {TOKEN}: {getattr(error, 'msg', error)}")
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("key"), str):
            problems.append(f"{at(name, row)}: has no key after {TOKEN}")
            continue
        wrong = _take(log, entry["key"], entry)
        problems += [f"{at(name, row)}: {wrong}"] if wrong else []
    return log


def _take(log: Log, key: str, entry: Mapping[str, Any]) -> str | None:
    """Take one entry in; what is wrong with it, if anything."""
    metadata = entry.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    value = entry.get("value")
    if key == "run_start":
        log.restart_ms, log.fresh = _time_ms(entry), True
        log.stop_ms, log.status = math.nan, None
        log.start_ms = log.start_ms if log.accuracies else log.restart_ms
    elif key == "run_stop":
        said = [text for text in (metadata.get("status"), value) if isinstance(text, str)]
        log.stop_ms, log.status = _time_ms(entry), said[0].lower() if said else "success"
    elif key == "eval_accuracy":
        epoch = as_number(metadata.get("epoch_num", entry.get("epoch_num", log.epoch)))
        return _take_accuracy(log, as_number(value), epoch, value)
    elif key in ("epoch_start", "epoch_stop", "eval_start"):
        log.epoch = metadata.get("epoch_num", log.epoch)
    elif key == "epoch_num":
        log.epoch = value
    else:
        log.values[key] = value
    return None


def _take_accuracy(log: Log, accuracy: float | None, epoch: float | None, value: Any) -> str | None:
    if accuracy is None or accuracy < 0 or (math.isfinite(accuracy) and accuracy > 1):
        return (
            f"eval_accuracy is {value!r:.40}, must be a fraction from 0 to 1: MLPerf's image classification has those"
        )
    if epoch is None or not math.isfinite(epoch):
        epoch = max(log.accuracies, default=0) + 1
    if log.fresh:  # after a restart: what was trained before from this epoch on, is trained again
        log.accuracies = {before: kept for before, kept in log.accuracies.items() if before < epoch}
        log.start_ms = log.start_ms if log.accuracies else log.restart_ms
        log.fresh = False
    log.accuracies[epoch] = accuracy
    return None


def _time_ms(entry: Mapping[str, Any]) -> float:
    """Time of an entry; some logs have it in seconds."""
    milliseconds, seconds = as_number(entry.get("time_ms")), as_number(entry.get("time_s"))
    if milliseconds is not None:
        return milliseconds
    return math.nan if seconds is None else 1000 * seconds


def as_number(value: Any) -> float | None:
    """A number, also one that is written as text; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return number(value.strip())
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None
