"""The one job of the check: submitted in the site's own way, waited for, and killed when nobody waits any more."""

from __future__ import annotations

import contextlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..cluster import lsf, slurm
from ..cluster.ask import RefusedError, SchedulerSilentError
from ..cluster.batch import SPEECH
from ..cluster.job_shell import FIND_CACHES, in_job
from ..cluster.lsf_jobs import output_in
from .findings import ANSWER_SEC, ask
from .on_nodes import CheckFolder

if TYPE_CHECKING:
    from ..cluster.placement import Where
    from ..cluster.site import Site

PROGRAM = Path(__file__).resolve().parents[2] / "check_nodes.py"
POLL_SEC = 2.0
SAY_EVERY_SEC = 60.0
LATE_FILES_SEC = 30.0
"""Shared file systems show files of other hosts late."""
FORGOTTEN_POLLS = 5
END_SEC = 15.0
MINUTES = 20
"""Walltime that the job asks for; less where the site has less."""


class NoJobError(RuntimeError):
    """The check could not be carried out, said in one line."""


@dataclass(frozen=True)
class Waited:
    """A job that is over."""

    job_id: str | None
    pending_sec: float
    log: Path


def command(folder: CheckFolder) -> list[str]:
    """Words that carry out the check, where they are started."""
    return [sys.executable, str(PROGRAM), "--folder", str(folder.path)]


def submission(site: Site, where: Where, folder: CheckFolder, study: str, walltime_min: int) -> list[str]:
    """Words of bsub or sbatch, as for a run."""
    words = lsf.bsub_words if site.scheduler == "lsf" else slurm.sbatch_words
    line = shlex.join(command(folder))
    return words(
        site,
        where=where,
        name=f"{study}:doctor",
        log=folder.path / "job.log",
        cwd=Path.cwd(),
        walltime_min=walltime_min,
        command=in_job(line) if site.scheduler == "lsf" else f"{FIND_CACHES}\n{line}",
    )


def run_in_job(site: Site, words: Sequence[str], folder: CheckFolder, wait_min: float) -> Waited:
    """Submit, wait for the end, and kill the job if that takes too long or we are interrupted; raises NoJobError."""
    speech = SPEECH[site.scheduler]
    with _interrupts_held_back() as interrupts:  # bsub may have submitted before it could say so
        answer = ask(words, within_sec=300)
    if answer.code:
        later = speech.is_transient(answer.text)
        hint = "try again later" if later else "mend site.yaml (queue, project, walltime, node, extra), or ask the site"
        raise NoJobError(f"{words[0]} refused it: {answer.text}; {hint}")
    try:
        job_id = speech.job_id_in(answer.text)
    except RefusedError as error:
        raise NoJobError(str(error)) from error
    say(f"job {job_id} is submitted; Ctrl-C kills it")
    over = False
    try:
        if interrupts:
            raise KeyboardInterrupt
        waited = _wait(site.scheduler, job_id, folder, wait_min)
        over = True
        return waited
    finally:
        if not over:
            say(f"{speech.CANCEL} {job_id}: {ask([speech.CANCEL, job_id]).text}")


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[list[int]]:
    """Note requests to end instead of ending by them."""
    noted: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _: noted.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield noted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wait(scheduler: str, job_id: str, folder: CheckFolder, wait_min: float) -> Waited:
    began, give_up, log = time.monotonic(), time.monotonic() + 60 * wait_min, folder.path / "job.log"
    said, said_at, misses, pending_sec = "", 0.0, 0, 0.0
    while not folder.done.exists():
        state = _state(scheduler, job_id)
        misses = misses + 1 if state == "" else 0
        now = time.monotonic()
        if not folder.parent.exists():
            pending_sec = now - began
        if state in SPEECH[scheduler].OVER or misses >= FORGOTTEN_POLLS:
            _await_late_files(folder, job_id, state or "forgotten by the scheduler", log)
            break
        if now > give_up:
            why = _why_pending(scheduler, job_id)
            raise NoJobError(
                f"job {job_id} is {state or 'unknown'} after {wait_min:g} min{why}: killed; --wait MIN waits longer"
            )
        if state and (state != said or now - said_at > SAY_EVERY_SEC):
            why = _why_pending(scheduler, job_id) if state in ("PEND", "PENDING") else ""
            say(f"job {job_id} is {state}, {now - began:.0f} s{why}")
            said, said_at = state, now
        time.sleep(POLL_SEC)
    return Waited(job_id, pending_sec, log)


def _state(scheduler: str, job_id: str) -> str | None:
    """As the scheduler calls it; empty where it does not know the job, None where it does not answer."""
    try:
        return SPEECH[scheduler].states([job_id], ANSWER_SEC).get(job_id, "")
    except SchedulerSilentError:
        return None


def _why_pending(scheduler: str, job_id: str) -> str:
    if scheduler == "lsf":
        lines = ask(["bjobs", "-p", job_id]).text.splitlines()[2:]
    else:
        lines = ask(["squeue", "--noheader", "--format=%r", f"--jobs={job_id}"]).text.splitlines()
    reason = " ".join(" ".join(lines).split())
    return f" ({reason})" if reason else ""


def _await_late_files(folder: CheckFolder, job_id: str, state: str, log: Path) -> None:
    """The job is over, and its last file is not there yet."""
    late = time.monotonic() + (LATE_FILES_SEC if folder.parent.exists() else LATE_FILES_SEC / 5)
    while not folder.done.exists():
        if time.monotonic() > late:
            where = "" if folder.parent.exists() else f"; if nothing is wrong there, do nodes see {folder.path}?"
            raise NoJobError(f"job {job_id} ended ({state}) before it was done: {last_words(log)}{where}")
        time.sleep(0.5)


def run_here(folder: CheckFolder, limit_sec: float) -> Waited:
    """Carry out the check as a child of this process; raises NoJobError."""
    log = folder.path / "job.log"
    with log.open("w") as file:
        child = subprocess.Popen(
            command(folder), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        child.wait(limit_sec)
    except subprocess.TimeoutExpired:
        raise NoJobError(f"the ranks did not end within {limit_sec:.0f} s; see {folder.path}") from None
    finally:
        if child.poll() is None:
            child.terminate()  # it asks the ranks to stop
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(END_SEC)
            child.kill()
    if not folder.done.exists():
        raise NoJobError(f"the check ended before it was done: {last_words(log)}")
    return Waited(None, 0.0, log)


def last_words(log: Path) -> str:
    """The last line of a log that speaks of an error, else its last one; LSF's own report left out."""
    if not log.exists():
        return f"{log} is not there"
    lines = [line.strip() for line in output_in(log.read_text(errors="replace")).splitlines() if line.strip()]
    loud = [line for line in lines if _is_loud(line)]
    last = (loud or lines or ["it is empty"])[-1]
    return f"{last[:300]}; see {log}"


def _is_loud(line: str) -> bool:
    words = ("error", "not found", "no such", "refused", "denied", "cannot", "failed", "unable", "illegal")
    return any(word in line.lower() for word in words) and not line.startswith(("[W", "W1", "File "))


def say(line: str) -> None:
    """News while we wait: no finding."""
    print(f"     {line}", file=sys.stderr, flush=True)
