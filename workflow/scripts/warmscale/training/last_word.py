"""What ranks on other hosts left, as soon as a shared file system shows it here. Standard library only."""

from __future__ import annotations

import contextlib
import os
import time

from ..records import StateFolder, read_json

WORD_SEC = 5.0
POLL_SEC = 0.05


def await_word(state: StateFolder, patience_sec: float = WORD_SEC) -> None:
    """Wait a while until this host sees what the ranks left at their end: an outcome, a reason, or that they paused."""
    give_up = time.monotonic() + patience_sec
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError):  # a file system that is away for a moment
            names = os.listdir(state.path)  # opening the folder makes NFS ask the server
            paused = (read_json(state.progress) or {}).get("state") == "paused"
            if paused or {state.outcome.name, state.failure.name} & {*names}:
                return
        time.sleep(POLL_SEC)
