"""bsub: submit a command, or a script from standard input."""

from __future__ import annotations

import os
import sys

from . import dependencies, scheduler
from .environment import submission_environment
from .options import merge, read_script, request, split_line
from .store import LsfError, Store


def main(store: Store, words: list[str]) -> int:
    """Print the new job's id, or refuse."""
    settings = store.settings
    line = split_line(words, settings)
    if not line.command:
        text = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
        if not text.strip():
            raise LsfError("No command is specified. Job not submitted.")
        line = merge(read_script(text, settings), line)
    asked = request(line, settings)
    if asked.depends:
        dependencies.fulfilled(asked.depends, store.jobs())
    job = scheduler.submit(store, asked, words, submission_environment(asked.environment, os.environ))
    kind = "queue" if "q" in line.values else "default queue"
    print(f"Job <{job.id}> is submitted to {kind} <{asked.queue}>.")
    return 0
