"""Which code in which surroundings: what a result has to name. Standard library only."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..records import read_json, write_json


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


def modules() -> list[str]:
    """Environment modules that are loaded, in order."""
    return [name for name in os.environ.get("LOADEDMODULES", "").split(":") if name]


def nvidia_driver() -> str | None:
    """Version of the NVIDIA driver; None where there is none."""
    try:
        told = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    return driver_in(told)


def driver_in(told: str) -> str | None:
    """Version of a driver, closed or open, from what it tells of itself in /proc."""
    found = re.search(r"Kernel Module\b.*?\s(\d+(?:\.\d+)+)\b", told)
    return found[1] if found else None


def gpu_versions(cuda: str | None = None, nccl: Sequence[int] = ()) -> dict[str, str | None]:
    """What runs beside the packages on GPUs; a machine that has none has the same keys, and nulls.

    cuda and nccl are those of the torch that trains on them.
    """
    return {"cuda": cuda, "nccl": ".".join(map(str, nccl)) or None, "driver": nvidia_driver()}


def image_facts(image: Path, known: Path) -> dict[str, Any]:
    """Path and SHA-256 of a container's image file; `known` keeps digests, because images are large.

    An unpacked image, a folder, has no digest.
    """
    facts: dict[str, Any] = {"path": str(image), "sha256": None}
    if not image.is_file():
        return facts
    status, digests = image.stat(), read_json(known) or {}
    key = f"{image.resolve()} {status.st_size} {status.st_mtime_ns}"
    if key not in digests:
        with image.open("rb") as file:
            digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        write_json(known, digests)
    return {**facts, "sha256": digests[key]}
