"""The processes of a job: found by their environment or their session, signalled, and never left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from .store import Store

SUPERVISOR = "LSF_DOUBLE_SUPERVISOR"
LAUNCHER = "LSF_DOUBLE_LAUNCHER"
"""Set for blaunch and jsrun, not for their tasks: a signal to a job reaches the tasks once, not twice."""
UNCATCHABLE = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT)


def job_processes(store: Store, job_id: int, session: int | None = None) -> Iterator[tuple[int, bool]]:
    """Live (pid, is a launcher) with this LSB_JOBID in their environment, or in the job's session."""
    wanted = {b"LSB_JOBID=%d" % job_id, b"LSF_DOUBLE=" + os.fsencode(store.folder)}
    for pid, environment in _all_processes():
        # a process may have cleared its environment, but it is still in the session
        if (wanted <= environment or (session and _session(pid) == session)) and pid != os.getpid():
            yield pid, any(entry.startswith(LAUNCHER.encode()) for entry in environment)


def own_processes(store: Store) -> list[int]:
    """Live supervisors and job processes of the whole cluster, without the caller."""
    home = b"LSF_DOUBLE=" + os.fsencode(store.folder)
    marks = (f"{SUPERVISOR}=".encode(), b"LSB_JOBID=")
    found = []
    for pid, environment in _all_processes():
        if home in environment and any(entry.startswith(marks) for entry in environment) and pid != os.getpid():
            found.append(pid)
    return found


def signal_job(store: Store, job_id: int, number: int, session: int | None = None) -> set[int]:
    """Send a signal to each process of a job once, also to those that appear meanwhile; returns their ids."""
    done: set[int] = set()
    for _ in range(5):
        new = {
            pid
            for pid, launcher in job_processes(store, job_id, session)
            if pid not in done and not (launcher and number not in UNCATCHABLE)
        }
        if not new:
            break
        for pid in new:
            send(pid, number)
        done |= new
    return done


def kill_leftovers(store: Store, job_id: int, session: int | None = None) -> None:
    """SIGKILL until no process of the job is left."""
    end_all(lambda: [pid for pid, _ in job_processes(store, job_id, session)])


def end_all(find: Callable[[], list[int]], timeout_sec: float = 10.0) -> list[int]:
    """SIGKILL whatever `find` finds until it finds nothing; returns what is left after the time-out."""
    deadline = time.monotonic() + timeout_sec
    while (pids := find()) and time.monotonic() < deadline:
        for pid in pids:
            send(pid, signal.SIGKILL)
        time.sleep(0.01)
    return pids


def send(pid: int, number: int) -> None:
    """A signal to a process that may be gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _all_processes() -> Iterator[tuple[int, set[bytes]]]:
    """(pid, environment at start) of what may be read and is not a zombie: a zombie's environment is empty."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            environment = Path("/proc", entry, "environ").read_bytes()
        except OSError:
            continue
        yield int(entry), set(environment.split(b"\0"))


def _session(pid: int) -> int | None:
    try:
        state, _, _, session = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[:4]
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(session)
