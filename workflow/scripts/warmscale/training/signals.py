"""Being asked to stop, and not outliving the launcher. Standard library only: in force before the slow imports."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..lease import heartbeat_of, is_current
from .deadline import Deadline

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
PAUSED_EXIT_CODE = 75
"""EX_TEMPFAIL, try again: LSF can be told to requeue a job that ends with it."""
DUPLICATE_EXIT_CODE = 73
"""EX_CANTCREAT: another copy carries the run out."""
LAUNCHER_PID = "WARMSCALE_LAUNCHER_PID"
WATCH_SEC = 0.5
SILENT_SEC = 30.0
"""A parent whose heartbeat stood still for so long is gone: less than others wait before they take its run over."""
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


@dataclass
class Stop:
    """Whether somebody asked this process to stop, or its time is up; a rank pauses at the next step boundary then."""

    requested: bool = False
    deadline: Deadline = field(default_factory=Deadline)
    pass_on: Callable[[], None] | None = None
    """What else is to hear of each request."""

    def is_due(self) -> bool:
        """To be asked once a step."""
        return self.deadline.is_near() or self.requested

    def request(self, *_: Any) -> None:
        """Ask to stop; a signal handler too."""
        self.requested = True
        if self.pass_on:
            self.pass_on()


def stop_on_signals() -> Stop:
    """Note requests to stop instead of ending by them."""
    stop = Stop()
    for number in STOP_SIGNALS:
        signal.signal(number, stop.request)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # a fork has them wait until here
    return stop


def stop_on_file(stop: Stop, file: Path, lease: Path) -> None:
    """Note requests that come as a file, whatever launcher is in between; or that the parent and its lease are gone."""

    def watch() -> None:
        heartbeat, silent_looks = 0, 0
        while not stop.requested:
            time.sleep(WATCH_SEC)
            with contextlib.suppress(OSError):
                # folder and file are opened, which makes NFS ask the server: what it remembers may be a minute old
                if file.name in os.listdir(file.parent) or not is_current(lease):
                    stop.request()
                # looks are counted, not seconds: a suspended job, or a file system that stood still, is no dead parent
                changed = heartbeat != (heartbeat := heartbeat_of(lease))
                silent_looks = 0 if changed else silent_looks + 1
            if silent_looks * WATCH_SEC > SILENT_SEC:
                stop.request()

    threading.Thread(target=watch, name="stop", daemon=True).start()


def end_when_replaced(lease: Path, *, look_sec: float = 10.0, grace_sec: float = 90.0) -> None:
    """End this process some time after its parent has given the run up, or another one has taken over.

    A rank may hang in a collective with a host that is gone, for half an hour, and keep a device busy. In `grace_sec`
    it may end by itself; and a network file system that remembers an older folder has looked again.
    """

    def is_replaced() -> bool:
        with contextlib.suppress(OSError):
            return not is_current(lease)
        return False

    def watch() -> None:
        while True:
            time.sleep(look_sec)
            if is_replaced():
                time.sleep(grace_sec)
                if is_replaced():
                    os._exit(1)

    threading.Thread(target=watch, name="end", daemon=True).start()


def send_to_all(processes: list[subprocess.Popen], number: signal.Signals) -> None:
    """Signal the processes that still run."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)


def end_with_parent() -> None:
    """Be asked to stop when the parent ends (Linux); for a child between fork and exec."""
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def end_with_launcher() -> None:
    """Be killed when the launcher ends (Linux): a second start must not meet ranks of the first."""
    launcher = os.environ.get(LAUNCHER_PID)
    if launcher:  # mpirun and its like end their ranks themselves
        die_with_parent(int(launcher))


def die_with_parent(parent: int) -> None:
    """Be killed when the parent ends (Linux); exits where it has ended before it could take this process along."""
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent != os.getppid():
        sys.exit("the launcher of this rank has ended")
