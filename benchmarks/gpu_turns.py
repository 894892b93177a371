"""Competitors of gpu.py: processes that are on the device at the same time and take turns."""

from __future__ import annotations

import contextlib
import json
import math
import select
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import common
from gpu_cases import Case

READY_SEC = 420
"""A competitor that is not ready by then counts as failed: compiling with max-autotune takes minutes."""


class Competitor:
    """A process with one case, which does steps when told to."""

    def __init__(self, case: Case, folder: Path):
        self.case, self.error, self.peak_gib, self.step_sec = case, "", 0.0, math.nan
        self.blocks: list[float] = []
        self._log = folder / f"{id(self)}.log"
        self._started, self.ready_sec = time.monotonic(), math.nan
        self._process = subprocess.Popen(
            [common.PYTHON, str(Path(__file__).parent / "gpu_loops.py"), json.dumps(asdict(case))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            text=True,
        )

    def wait_until_ready(self, give_up: float) -> None:
        """Set up, compiled and warm, by that time."""
        answer = self._answer(give_up - time.monotonic())
        self.ready_sec = time.monotonic() - self._started
        if answer is not None:
            self._process.stdin.write("3\n")
            self._process.stdin.flush()
            self.step_sec = (self._answer(READY_SEC) or {"seconds": math.nan})["seconds"] / 3

    def do_block(self, block_sec: float) -> None:
        """A turn."""
        steps = max(1, round(block_sec / self.step_sec))
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        if answer := self._answer(READY_SEC):
            self.blocks.append(answer["seconds"] / steps)
            self.peak_gib = answer["peak_gib"]

    def end(self) -> None:
        """Leave the device."""
        if self.error:
            self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """A line from the process, None where it failed or took too long."""
        there, _, _ = select.select([self._process.stdout], [], [], max(0.0, seconds))
        line = self._process.stdout.readline() if there else ""
        answer = json.loads(line) if line else {"error": self._last_words() if there else "not ready in time"}
        self.error = answer.get("error", "")
        return None if self.error else answer

    def _last_words(self) -> str:
        return (self._log.read_text().split("\n")[-2:] or [""])[0].strip() or "ended without a word"


def measured(cases: Sequence[Case], *, blocks: int, block_sec: float, ready_by: float) -> list[Competitor]:
    """Competitors that took turns."""
    with tempfile.TemporaryDirectory(prefix="warmscale-gpu-") as folder:
        group = []
        for case in cases:  # one after the other: kernels are chosen by time, on a device that does nothing else
            group.append(Competitor(case, Path(folder)))
            group[-1].wait_until_ready(min(ready_by, time.monotonic() + READY_SEC))
            if group[-1].error:
                group[-1].end()
        for number in range(blocks):
            turn = number % len(group)
            for each in group[turn:] + group[:turn]:
                if not each.error:
                    each.do_block(block_sec)
        for each in group:
            each.end()
    return group


def row_of(competitor: Competitor) -> dict[str, Any]:
    """A row of gpu_search.csv."""
    case, blocks = competitor.case, competitor.blocks
    rates = [case.images / seconds for seconds in blocks]
    return {
        **asdict(case),
        "images_per_sec": round(statistics.median(rates), 1) if rates else "",
        "images_per_sec_min": round(min(rates), 1) if rates else "",
        "images_per_sec_max": round(max(rates), 1) if rates else "",
        "step_ms": round(1000 * statistics.median(blocks), 3) if blocks else "",
        "peak_gib": round(competitor.peak_gib, 1),
        "ready_sec": round(competitor.ready_sec, 1),
        "error": competitor.error[:300],
    }


def rate(row: dict[str, Any]) -> float:
    """Images a second, 0 for a failure."""
    return float(row["images_per_sec"] or 0.0)
