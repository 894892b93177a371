"""The trainer's own clock: stop before the walltime, while there is time to save. Standard library only."""

from __future__ import annotations

import time
from dataclasses import dataclass

ROOM = 2.0
"""Times the longest way from step to step that is kept free: one for the next step, one for what may take longer."""
WRITES = 2.0
"""Times the longest write of a checkpoint in the background: one that is under way, and the pause's."""


@dataclass
class Deadline:
    """When a rank has to have saved."""

    at: float | None = None
    """Unix time; None: never."""
    longest_sec: float = 0.0
    """Longest time so far between two steps, with the validation or the checkpoint that lay between them."""
    write_sec: float = 0.0
    """Longest time that a checkpoint was written for in the background; known where it is written."""
    _last: float | None = None

    def is_near(self) -> bool:
        """Whether to save now, because another step may take too long; to be asked once a step."""
        now = time.time()
        if self._last is not None:
            self.longest_sec = max(self.longest_sec, now - self._last)
        self._last = now
        room = ROOM * self.longest_sec + WRITES * self.write_sec
        return self.at is not None and now + room >= self.at
