"""What blaunch and jsrun share: tasks on the hosts of the job that they run in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from .job import host_counts
from .processes import LAUNCHER
from .store import LsfError, Store

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LAST_WORDS_SEC = 2.0


@dataclass(frozen=True)
class Task:
    """A process on a host."""

    argv: tuple[str, ...]
    host: str
    environment: dict[str, str]
    """Beside what the launcher has."""


def allocation(store: Store, launcher: str) -> tuple[str, ...]:
    """The hosts of the job that the launcher runs in, one entry a slot. LsfError outside a running job."""
    job_id = os.environ.get("LSB_JOBID", "")
    job = store.job(int(job_id)) if job_id.isdigit() else None
    if job is None or not job.hosts:
        raise LsfError(f"{launcher}: must be run within an LSF job")
    return job.hosts


def compute_hosts(store: Store, hosts: tuple[str, ...]) -> dict[str, int]:
    """Slots by host, without easy mode's launch host."""
    settings = store.settings
    return host_counts(tuple(host for host in hosts if not (settings.easy_mode and host == settings.launch_host)))


def run_tasks(tasks: list[Task], end_all_on_failure: bool, keep_input: bool = False) -> int:
    """Start all, pass signals on, wait for all; the exit code of the first that failed."""
    running: dict[int, subprocess.Popen] = {}
    for number in FORWARDED:
        signal.signal(number, lambda number, _: _forward(running, number))
    sys.stdout.flush()
    for task in tasks:
        process = _start(task, keep_input)
        running[process.pid] = process
    first_failure = 0
    while running:
        pid, status = os.waitpid(-1, 0)
        process = running.pop(pid, None)
        if process is None:
            continue
        code = process.returncode = os.waitstatus_to_exitcode(status)
        if code and not first_failure:
            first_failure = code if code > 0 else 128 - code
            if end_all_on_failure:
                _end(running)
    return first_failure


def _start(task: Task, keep_input: bool) -> subprocess.Popen:
    environment = {**os.environ, **task.environment, "LSF_DOUBLE_HOST": task.host}
    environment.pop(LAUNCHER, None)
    try:
        return subprocess.Popen(
            task.argv, env=environment, stdin=None if keep_input else subprocess.DEVNULL, process_group=0
        )
    except OSError as error:
        print(f"{task.host}: {task.argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return subprocess.Popen(["/bin/sh", "-c", "exit 127"], process_group=0)


def _forward(running: dict[int, subprocess.Popen], number: int) -> None:
    for pid in list(running):
        with suppress(ProcessLookupError):
            os.killpg(pid, number)


def _end(running: dict[int, subprocess.Popen]) -> None:
    _forward(running, signal.SIGTERM)
    deadline = time.monotonic() + LAST_WORDS_SEC
    while running and time.monotonic() < deadline:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        if pid and (process := running.pop(pid, None)):
            process.returncode = 0
        time.sleep(0.01)
    _forward(running, signal.SIGKILL)
