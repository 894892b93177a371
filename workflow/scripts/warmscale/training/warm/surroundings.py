"""What a process inherits beside variables, folder and open files. Standard library only."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

STATUS = ("Uid", "Gid", "Groups", "Umask", "SigBlk", "SigIgn", "CapEff", "NoNewPrivs", "Seccomp", "Cpus_allowed")
"""Lines of /proc/self/status."""


def surroundings() -> dict[str, Any] | None:
    """What this process hands down to its children, to be asked for at its start; None where the system cannot tell."""
    proc = Path("/proc/self")
    limits = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
    try:
        lines = [line.partition(":") for line in (proc / "status").read_text().splitlines()]
        return {
            "python": sys.executable,
            "session": os.getsid(0),  # with its terminal
            "nice": os.nice(0),
            "scheduler": os.sched_getscheduler(0),
            "limits": {name: list(resource.getrlimit(getattr(resource, name))) for name in limits},
            "root": os.readlink(proc / "root"),
            "namespaces": {path.name: os.readlink(path) for path in sorted((proc / "ns").iterdir())},
            "cgroups": (proc / "cgroup").read_text(),
            "oom_score_adj": (proc / "oom_score_adj").read_text(),
            **{name: value.strip() for name, _, value in lines if name in STATUS},
        }
    except (OSError, AttributeError):  # not Linux
        return None
