"""bkill: end jobs, or send them a signal."""

from __future__ import annotations

import signal
import sys
import time

from . import events
from .bjobs import known_jobs
from .dependencies import name_matches
from .job import Job
from .processes import signal_job
from .scheduler import dispatch
from .store import LsfError, Store

NOTHING = "No matching job found"


def main(store: Store, words: list[str]) -> int:
    """One line a job; 255 if one of them could not be signalled."""
    number, force, pattern, ids = _read(words)
    failed = False
    with store.lock():
        jobs = {job.id: job for job in known_jobs(store)}
        if not ids or ids == [0]:
            ids = _unfinished(list(jobs.values()), pattern, newest=not ids)
        for job_id in ids:
            message, refused = _one(store, jobs.get(job_id), number, force)
            print(f"Job <{job_id}>{message}", file=sys.stderr if refused else sys.stdout, flush=True)
            failed = failed or refused
        dispatch(store)
    return 255 if failed else 0


def _read(words: list[str]) -> tuple[int | None, bool, str | None, list[int]]:
    number, force, pattern, ids = None, False, None, []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "-r":
            force = True
        elif word in ("-s", "-J") and rest:
            value = rest.pop(0)
            number, pattern = (signal_number(value), pattern) if word == "-s" else (number, value)
        elif word.isdigit():
            ids.append(int(word))
        else:
            raise LsfError(
                f"bkill: illegal option -- {word[1:]}" if word.startswith("-") else f"{word}: Illegal job ID."
            )
    if not ids and pattern is None:
        raise LsfError("Job ID or -J must be specified")
    return number, force, pattern, ids


def signal_number(text: str) -> int:
    """Of KILL, SIGKILL or 9."""
    name = f"SIG{text.upper().removeprefix('SIG')}"
    if text.isdigit() and int(text) in set(signal.Signals):
        return int(text)
    if name not in signal.Signals.__members__:
        raise LsfError(f"{text}: Illegal signal value")
    return signal.Signals[name]


def _unfinished(jobs: list[Job], pattern: str | None, newest: bool) -> list[int]:
    """0 means all of them; without an id it is the newest that matches."""
    found = [job.id for job in jobs if not job.finished and (pattern is None or name_matches(pattern, job.name))]
    if not found:
        raise LsfError(f"Job <{pattern or 0}>: {NOTHING}")
    return found[-1:] if newest else found


def _one(store: Store, job: Job | None, number: int | None, force: bool) -> tuple[str, bool]:
    """(rest of the line, whether it was refused)."""
    if job is None:
        return f": {NOTHING}", True
    if job.finished:
        return ": Job has already finished", True
    if job.true_state in ("PEND", "PSUSP"):
        return _pending(store, job, number), False
    if number is None:
        _terminate(store, job, force)
        return " is being terminated", False
    if not job.unreachable:
        _signal(store, job, number)
    return " is being signaled", False


def _pending(store: Store, job: Job, number: int | None) -> str:
    if number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGCONT):
        state = "PEND" if number == signal.SIGCONT else "PSUSP"
        events.log_state(store, store.update(job.id, true_state=state))
        return " is being signaled"
    ended = store.update(job.id, true_state="EXIT", exit_code=130, reason="TERM_OWNER", ended=time.time())
    events.log_state(store, ended)
    return " is being terminated" if number is None else " is being signaled"


def _terminate(store: Store, job: Job, force: bool) -> None:
    """The supervisor sends INT, TERM, KILL; with -r the job is over for LSF at once."""
    store.update(job.id, kill="owner")
    if force:
        reason = "TERM_FORCE_OWNER" if job.unreachable else "TERM_OWNER"
        changes = dict(true_state="EXIT", unreachable=False, reason=reason, exit_code=130, ended=time.time())
        events.log_state(store, store.update(job.id, **changes))


def _signal(store: Store, job: Job, number: int) -> None:
    if number in (signal.SIGSTOP, signal.SIGTSTP):
        store.update(job.id, true_state="USUSP")
    elif number == signal.SIGCONT:
        store.update(job.id, true_state="RUN")
    elif number == signal.SIGKILL:
        store.update(job.id, reason=job.reason or "TERM_OWNER")
    signal_job(store, job.id, signal.SIGSTOP if number == signal.SIGTSTP else number, job.session)
