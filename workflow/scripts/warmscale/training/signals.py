"""Being asked to stop, and not outliving the launcher. Standard library only: in force before the slow imports."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
PAUSED_EXIT_CODE = 75
"""EX_TEMPFAIL, try again: LSF can be told to requeue a job that ends with it."""
LAUNCHER_PID = "WARMSCALE_LAUNCHER_PID"


@dataclass
class Stop:
    """Whether somebody asked this process to stop; a rank pauses at the next step boundary then."""

    requested: bool = False


def stop_on_signals() -> Stop:
    """Note requests to stop instead of ending by them."""
    stop = Stop()

    def request(*_: Any) -> None:
        stop.requested = True

    for number in STOP_SIGNALS:
        signal.signal(number, request)
    return stop


@contextlib.contextmanager
def forwarding_stops(processes: Sequence[subprocess.Popen]) -> Iterator[Stop]:
    """Hand requests to stop on to processes, also to those that join the sequence later."""
    stop = Stop()

    def forward(*_: Any) -> None:
        stop.requested = True
        stop_all(processes)

    previous = {number: signal.signal(number, forward) for number in STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def stop_all(processes: Sequence[subprocess.Popen]) -> None:
    """Ask processes that still run to stop."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)


def end_with_launcher() -> None:
    """Be killed when the launcher ends (Linux): a second start must not meet ranks of the first."""
    pr_set_pdeathsig = 1
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(pr_set_pdeathsig, signal.SIGKILL)
    launcher = os.environ.get(LAUNCHER_PID)
    if launcher and int(launcher) != os.getppid():  # it ended before it could take this process along
        sys.exit("the launcher of this rank has ended")
