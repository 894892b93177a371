"""Which code on which processor: what a result has to name. Standard library only."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any


def source_commit() -> dict[str, Any]:
    """Commit of this code, and whether it was changed since; nulls outside a git checkout."""
    folder = Path(__file__).parent

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        status = git("--no-optional-locks", "status", "--porcelain", "--untracked-files=no", ":/workflow")
        return {"hash": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}
    except FileNotFoundError:  # no git on this machine
        return {"hash": None, "dirty": None}


def processor() -> str:
    """Model of the processor, where Linux tells, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
