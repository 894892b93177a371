"""From submission to the end: jobs get slots, a supervisor each, and a last state."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from . import dependencies, events, requirements
from .environment import output_file
from .job import STARTED, Job, Request
from .placement import free_slots, place
from .processes import SUPERVISOR, kill_leftovers
from .store import Store, write_json

MAIN = Path(__file__).with_name("__main__.py")


def submit(store: Store, request: Request, words: list[str], environment: dict[str, str]) -> Job:
    """A new job, which starts at once if it can."""
    with store.lock():
        job_id = store.new_id()
        state = "PSUSP" if request.held else "PEND"
        job = Job(job_id, tuple(words), request, true_state=state, submitted=time.time())
        job = replace(job, log=str(output_file(store, job)))
        write_json(store.job_folder(job_id) / "environment.json", environment)
        store.write_job(job)
        events.log_new(store, job)
        dispatch(store)
        return job


def dispatch(store: Store) -> None:
    """Start every pending job that can: by priority, then by id; a job that has to wait holds up no other."""
    with store.lock():
        heal(store)
        settings = store.settings
        jobs = store.jobs()
        free = free_slots(jobs, settings, store.down_hosts())
        waiting = [job for job in jobs if job.true_state == "PEND"]
        for job in sorted(waiting, key=lambda job: (-job.request.priority, job.id)):
            if store.closed:
                return
            if job.request.depends and not dependencies.fulfilled(job.request.depends, jobs):
                continue
            if hosts := place(job.request, free, settings):
                started = _start(store, job, hosts)
                jobs = [started if other.id == job.id else other for other in jobs]
                free = free_slots(jobs, settings, store.down_hosts())


def heal(store: Store) -> None:
    """Jobs whose supervisor was killed end, and their processes with them."""
    with store.lock():
        for job in store.jobs():
            if job.true_state in STARTED and not _supervised(store, job):
                kill_leftovers(store, job.id, job.session)
                end(store, job, 137)


def end(store: Store, job: Job, code: int) -> Job:
    """Give a run that ended its state: back to PEND if it is to run again. Leaves a job alone that is over already."""
    with store.lock():
        current = store.job(job.id)
        assert current is not None
        if current.finished or current.times_run != job.times_run:
            return current
        if runs_again(current, code):
            changes = dict(true_state="PEND", hosts=(), session=None, reason="", kill="", unreachable=False)
        else:
            changes = dict(true_state="EXIT" if code else "DONE", kill="")
        current = store.update(job.id, exit_code=code, ended=time.time(), **changes)
        events.log_state(store, current)
        return current


def runs_again(job: Job, code: int) -> bool:
    """-Q for an exit code that the job chose itself, -r after its host failed."""
    if job.kill in ("owner", "lsf"):
        return False
    if job.kill == "host":
        return job.request.rerunnable
    return requirements.requeues(job.request.requeue, code)


def _start(store: Store, job: Job, hosts: tuple[str, ...]) -> Job:
    run = job.times_run + 1
    with _alive_file(store, job.id, run).open("w") as alive:
        # the lock goes over to the supervisor and ends with it: that is how `heal` knows
        fcntl.flock(alive, fcntl.LOCK_EX)
        with (store.job_folder(job.id) / "supervisor.log").open("a") as log:
            subprocess.Popen(
                [sys.executable, "-I", "-S", str(MAIN), "_supervise", str(job.id), str(run)],
                env={"LSF_DOUBLE": str(store.folder), SUPERVISOR: str(job.id), "PATH": os.defpath},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[alive.fileno()],
            )
    started = store.update(
        job.id, true_state="RUN", hosts=hosts, times_run=run, started=time.time(), ended=None, exit_code=None
    )
    events.log_state(store, started)
    return started


def _supervised(store: Store, job: Job) -> bool:
    try:
        with _alive_file(store, job.id, job.times_run).open() as alive:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _alive_file(store: Store, job_id: int, run: int) -> Path:
    return store.job_folder(job_id) / f"alive.{run}"
