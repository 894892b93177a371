"""Seeds and ids of runs, and records that stand twice."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from .records import Gathered, RawCell, RawRun

SAFE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")
"""Ids that are kept as they are: also a file name, and a word of a pattern."""
LONGEST = 100
MOST_LEVELS = 3
"""Levels that are part of an id that is made: it must stay readable."""
LOGS = {"mllog", "tensorboard"}
"""Sources with a file or folder a run: a seed that stands twice there is no copy, many fix it."""


def stand_twice(gathered: Gathered, factors: Sequence[str]) -> list[str]:
    """Cells with the same factors and metric, and runs with the same factors and seed."""
    runs = [run for run in gathered.runs if run.seed is not None and run.kind not in LOGS]
    named = [run for run in gathered.runs if run.run_id]
    groups: list[tuple[str, Iterable[tuple[Any, RawRun | RawCell]]]] = [
        ("cell", [((levels(cell, factors), cell.metric), cell) for cell in gathered.cells]),
        ("run", [((levels(run, factors), run.seed), run) for run in runs]),
        ("run", [(run.run_id, run) for run in named]),
    ]
    lines = []
    for what, keyed in groups:
        first: dict[Any, str] = {}
        for key, record in keyed:
            if (before := first.setdefault(key, record.where)) != record.where:
                lines.append(f"{record.where}: is the same {what} as {before} ({described(record, factors)})")
    return lines


def levels(record: RawRun | RawCell, factors: Sequence[str]) -> tuple[Any, ...]:
    """Levels of a run or cell, in the order of the factors."""
    return tuple(record.settings.get(name) for name in factors)


def described(record: RawRun | RawCell, factors: Sequence[str]) -> str:
    """Levels and seed in words."""
    words = [f"{name} {record.settings[name]}" for name in factors if record.settings.get(name) is not None]
    if isinstance(record, RawRun):
        words += [f"seed {record.seed}"] if record.seed is not None else [f"run_id {record.run_id}"]
    return ", ".join(words) or "no factors"


def number_seeds(gathered: Gathered, factors: Sequence[str]) -> None:
    """Number runs without a seed within their cell, and those of logs whose seed another run of the cell has."""
    taken: dict[tuple, set[int]] = {}
    waiting, twice = [], 0
    for run in gathered.runs:
        seeds = taken.setdefault(levels(run, factors), set())
        if run.seed is None or run.seed in seeds:
            twice += run.seed is not None
            waiting.append(run)
        else:
            seeds.add(run.seed)
    for run in waiting:
        seeds = taken[levels(run, factors)]
        run.seed = next(number for number in range(1, len(seeds) + 2) if number not in seeds)
        seeds.add(run.seed)
    if twice:
        gathered.notes.append(f"{twice} runs have a seed that another run of their cell has: they are numbered anew")


def make_run_ids(runs: Sequence[RawRun], factors: Sequence[str]) -> None:
    """Give each run an id that is its own: the one that its source has, else source, levels and seed."""
    taken: set[str] = set()
    for run in runs:
        wanted = run.run_id or _made_id(run, factors)
        safe = wanted if SAFE.fullmatch(wanted) else _safe(wanted)
        numbered = (f"{safe}-{number}" for number in range(2, len(runs) + 2))
        run.run_id = safe if safe.lower() not in taken else next(text for text in numbered if text.lower() not in taken)
        taken.add(run.run_id.lower())  # a file system may not tell cases apart


def _made_id(run: RawRun, factors: Sequence[str]) -> str:
    path = PurePosixPath(run.source)
    given = [name for name in factors if run.settings.get(name) is not None]
    words = [f"{name.rpartition('.')[2]}{run.settings[name]}" for name in given[:MOST_LEVELS]]
    return "-".join([path.stem if path.suffix else path.name, *words, f"seed{run.seed}"])


def _safe(text: str) -> str:
    """A text as a file name that begins with a letter; one that is cut keeps a hash of the whole."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "run"
    safe = safe if safe[0].isalpha() and safe.isascii() else f"run-{safe}"
    if len(safe) <= LONGEST:
        return safe
    return f"{safe[: LONGEST - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
