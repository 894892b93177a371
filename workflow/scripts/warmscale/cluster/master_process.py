"""Snakemake as the child of a master job: `python -m warmscale.cluster.master_process WORDS`.

Batch systems send the signals that end a job to all of its processes, some of them twice. On Snakemake's second SIGINT
it would not cancel the rest of its jobs, and on the first SIGUSR2 it would be gone. Here: the first SIGINT counts, and
whatever else is meant for Snakemake comes from its parent.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Any

PR_SET_PDEATHSIG = 1
NOT_FOR_IT = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


def main() -> None:
    """Be `snakemake WORDS`; SIGTERM is its own again once it begins to execute: no new jobs then."""
    if hasattr(libc := ctypes.CDLL(None), "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a job whose first process was killed alone must be over
    signal.signal(signal.SIGINT, _interrupt_once)
    for number in NOT_FOR_IT:
        signal.signal(number, _ignore)  # no SIG_IGN: programs that are started from here would inherit it
    sys.argv = ["snakemake", *sys.argv[1:]]
    try:
        from snakemake.cli import main as snakemake

        snakemake()
    except KeyboardInterrupt:  # it had not begun to execute
        sys.exit(130)


def _interrupt_once(*_: Any) -> None:
    signal.signal(signal.SIGINT, _ignore)
    raise KeyboardInterrupt


def _ignore(*_: Any) -> None:
    pass


if __name__ == "__main__":
    main()
