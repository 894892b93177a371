"""How far a training is, for a reader of a terminal or of a log."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from ..records import write_json

PLAIN_EVERY_SEC = 30.0
WRITE_EVERY_SEC = 10.0
"""Between two writes of progress.json: each is an fsync on the first rank."""


class Progress:
    """A bar with rate and time left on a terminal, a line now and then otherwise, and progress.json."""

    def __init__(self, path: Path, *, total_steps: int, images_per_step: int, name: str):
        self._path, self._total, self._images_per_step = path, total_steps, images_per_step
        self._started, self._first = time.monotonic(), 0
        self._last_line = self._last_write = -math.inf
        self._terminal, self._name = _terminal(), name
        self._bar: tqdm | None = None

    def start(self, done: int) -> None:
        """Training begins, or goes on, with `done` updates made."""
        self._started, self._first = time.monotonic(), done
        if self._terminal:
            self._bar = tqdm(total=self._total, initial=done, desc=self._name, unit="step", file=self._terminal)
        self.write("running", done, 0)

    def step(self, done: int, epoch: int) -> None:
        """An update was made; `done` of them so far, within epoch `epoch` (from 1)."""
        if self._bar:
            self._bar.update(done - self._bar.n)
        now, is_last = time.monotonic(), done == self._total
        if now - self._last_write > WRITE_EVERY_SEC or is_last:
            self._last_write = now
            self.write("running", done, epoch)
        if now - self._last_line > PLAIN_EVERY_SEC or is_last:
            self._last_line = now
            images_per_sec = self._images_per_sec(done)
            left_min = (self._total - done) * self._images_per_step / max(images_per_sec, 1e-9) / 60
            self.say(f"step {done}/{self._total}, {images_per_sec:.0f} images/s, {left_min:.1f} min left")

    def write(self, state: str, done: int, epoch: int) -> None:
        """Leave the state for others to read."""
        record = {
            "state": state,
            "step": done,
            "total_steps": self._total,
            "epoch": epoch,
            "time": time.time(),
            "images_per_sec": self._images_per_sec(done),
        }
        write_json(self._path, record)

    def _images_per_sec(self, done: int) -> float:
        """Since training began or went on, with all that is not training: what the time left follows from."""
        return (done - self._first) * self._images_per_step / max(time.monotonic() - self._started, 1e-9)

    def say(self, line: str) -> None:
        """A plain line, above the bar if there is one."""
        if self._bar:
            self._bar.write(line, file=self._bar.fp)
        print(line, flush=True)


def _terminal() -> TextIO | None:
    """The terminal of a person who is watching: our output goes to a log."""
    if not os.environ.get("WARMSCALE_PROGRESS_BAR"):
        return None
    try:
        return open("/dev/tty", "w")
    except OSError:  # standard error is a terminal, but not one of this session
        return None
