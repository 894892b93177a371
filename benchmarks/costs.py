"""What commands take, and rows about competitors that take turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import environment


@dataclass(frozen=True)
class Cost:
    """What one command took."""

    wall_sec: float
    cpu_sec: float
    """Of it and all that it started."""
    peak_mib: float


def cost_of(words: Sequence[str], folder: Path, **variables: str) -> Cost:
    """Run a command; its output is shown only if it fails."""
    with tempfile.TemporaryFile() as said:
        started = time.monotonic()
        process = subprocess.Popen(words, cwd=folder, env=environment(**variables), stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall_sec = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(words)}\n{said.read().decode()[-4000:]}")
    return Cost(wall_sec, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def in_turns(ours: Callable[[], Cost], bare: Callable[[], Cost], repeats: int) -> tuple[list[Cost], list[Cost]]:
    """Costs of both; whoever is first in one turn is second in the next."""
    costs: dict[Callable[[], Cost], list[Cost]] = {ours: [], bare: []}
    for turn in range(repeats):
        for competitor in (bare, ours) if turn % 2 else (ours, bare):
            costs[competitor].append(competitor())
    return costs[ours], costs[bare]


def compared(measure: str, runs: int, ours: Sequence[Cost], bare: Sequence[Cost]) -> dict[str, Any]:
    """A row about two competitors."""
    row = {"measure": measure, "runs": runs, "repeats": len(ours), **_medians("ours", ours), **_medians("bare", bare)}
    for unit in ("wall", "cpu"):
        ratios = [
            getattr(own, f"{unit}_sec") / getattr(other, f"{unit}_sec") for own, other in zip(ours, bare, strict=True)
        ]
        row[f"{unit}_ratio"] = statistics.median(ratios)
        row[f"{unit}_ratio_min"], row[f"{unit}_ratio_max"] = min(ratios), max(ratios)
    row["more_wall_sec"] = row["ours_wall_sec"] - row["bare_wall_sec"]
    return row


def _medians(who: str, costs: Sequence[Cost]) -> dict[str, float]:
    return {
        f"{who}_{name}": statistics.median(getattr(cost, name) for cost in costs)
        for name in ("wall_sec", "cpu_sec", "peak_mib")
    }


def alone(measure: str, runs: int, costs: Sequence[Cost]) -> dict[str, Any]:
    """A row about ours alone."""
    return {"measure": measure, "runs": runs, "repeats": len(costs), **_medians("ours", costs)}
