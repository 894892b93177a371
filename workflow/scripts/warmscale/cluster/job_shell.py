"""Lines of shell that stand before a program on a node. Standard library only."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

WARNINGS = "USR1 USR2"
"""Signals by which schedulers tell a job that its end is near; a program that knows nothing of them ends by them."""

CACHES = {"XDG_CACHE_HOME": "", "TRITON_CACHE_DIR": "/triton", "CUDA_CACHE_PATH": "/cuda"}
"""Variables of folders that programs make in the home folder unless told, and where they stand in ours."""

_EXPORTS = " ".join(f'{name}="${{{name}:-$cache{folder}}}"' for name, folder in CACHES.items())
OWN = 'mkdir -m 700 "$cache" 2>/dev/null; [ -O "$cache" ] && [ ! -L "$cache" ] || cache=$(mktemp -d "$cache.XXXXXX")'
"""In a folder that somebody else made, libraries would load what somebody else compiled."""
FIND_CACHES = (
    f"""[ -w "${{HOME-}}" ] || {{ cache="${{TMPDIR:-/tmp}}/warmscale-$(id -u)"; {OWN}; export {_EXPORTS}; }}"""
)
"""A line that has caches on a disk of the node where the home folder is not there, or cannot be written to."""


def enter(folder: str | Path) -> str:
    """A line that goes to a folder, or ends where a node does not see it: LSF would go on elsewhere, as in /tmp."""
    return f"cd {shlex.quote(str(folder))} || exit"


def is_of_a_node(folder: str) -> bool:
    """Whether a folder of caches was chosen by that line: another node, or the next job, may not have it."""
    return f"/warmscale-{os.getuid()}" in folder


UNWARNED = ["bash", "-c", f'trap "" {WARNINGS}; exec "$@"', "bash"]
"""Words before those of a program that is to survive the warnings, as what it starts does."""


def in_job(command: str) -> str:
    """The command of a batch job of LSF, for the shell of its first host.

    LSF sends SIGUSR2 to all processes of a job at its run limit, or before (-wa), and Snakemake would end by it. What
    is ignored here is ignored by all that is started; our own programs ask to be told all the same, and save.
    """
    return f"trap '' {WARNINGS}; {FIND_CACHES}; {command}"
