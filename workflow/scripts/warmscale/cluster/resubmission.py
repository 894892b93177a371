"""The job in which Snakemake runs where login nodes kill what lasts: it submits its successor before its walltime.

`python -m warmscale.cluster.resubmission SITE_FILE RESULTS_OF_STUDY WALLTIME_MIN SNAKEMAKE'S_WORDS` is what runs in it.
Snakemake is its child, and is killed when the successor is submitted: its jobs go on, and the next Snakemake adopts
them. SIGTERM goes before, on which Snakemake submits nothing more: no submission is half done then. Each job reads
site.yaml again.
"""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import batch
from .chain import Chain
from .site import SiteError, load_site
from .walltime import job_ends, job_id

POLL_SEC = 0.5
SETTLE_SEC = 10.0
"""For submissions and small rules that are under way when Snakemake's time is over."""
QUIET_POLLS = 3
"""Snakemake that had no child in so many looks has nothing under way."""
CANCEL_SEC = 8.0
"""LSF sends SIGKILL 20 s after the SIGINT of bkill: what Snakemake has not cancelled by then is cancelled from here."""
RETRY_SEC = 10.0
LAST_SEC = 30.0
"""Before the walltime, or half of the margin: a successor that could not be submitted until then is given up."""


class Supervisor:
    """What runs in such a job beside Snakemake."""

    def __init__(self, chain: Chain, walltime_min: float):
        self._chain, self._scheduler = chain, chain.site.scheduler
        self._id = job_id(os.environ)
        self._ends = job_ends(os.environ, walltime_min) or math.inf
        self._margin_sec = chain.site.master_margin_sec
        self._is_warned = self._is_stopped = False
        self._not_before = 0.0
        self._refused = ""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_stop)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._on_warning)

    def run(self) -> int:
        """Until Snakemake has ended, somebody ends this job, or its time is up; returns the job's exit code."""
        child = subprocess.Popen(
            self._chain.snakemake,
            env=batch.outside_of_jobs(os.environ),
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        until = f", until {_clock(self._ends - self._margin_sec)}" if math.isfinite(self._ends) else ""
        self._say(f"runs {shlex.join(['snakemake', *self._chain.words])}{until}")
        while child.poll() is None:
            if self._is_stopped:
                return self._stop(child)
            if self._is_near() and (successor := self._submit()):
                if child.poll() is None:
                    return self._hand_over(child, successor)
                batch.cancel(self._scheduler, [successor])
            elif time.time() > self._ends - min(LAST_SEC, self._margin_sec / 2):
                return self._give_up(child)
            time.sleep(POLL_SEC)
        # the signal that ended Snakemake may have come here a moment later
        return self._stop(child) if self._is_stopped else self._end(child.returncode)

    def _is_near(self) -> bool:
        now = time.time()
        return (self._is_warned or now > self._ends - self._margin_sec) and now >= self._not_before

    def _submit(self) -> str | None:
        try:
            return self._chain.submit(after=self._id)
        except batch.SchedulerError as error:
            self._refused, self._not_before = str(error), time.time() + RETRY_SEC
            self._say(f"no successor yet: {error}; trying again in {RETRY_SEC:.0f} s")
            return None

    def _hand_over(self, child: subprocess.Popen, successor: str) -> int:
        self._say(f"the walltime is near: job {successor} goes on when this one has ended; the study's jobs run on")
        _end_quietly(child, lambda: self._is_stopped)
        if self._is_stopped:
            batch.cancel(self._scheduler, [successor])
            return self._stop(child)
        return 0

    def _give_up(self, child: subprocess.Popen) -> int:
        _end_quietly(child, lambda: self._is_stopped)
        if self._is_stopped:
            return self._stop(child)
        self._say(
            f"no successor could be submitted ({self._refused}); the study's jobs run on, and `{self._chain.typed}` "
            "takes them over"
        )
        return 1

    def _stop(self, child: subprocess.Popen) -> int:
        """Have the study's jobs cancelled: by Snakemake, and those that it has not adopted yet from here."""
        self._say("is asked to end: Snakemake cancels the study's jobs, which save and end")
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        _wait(child, CANCEL_SEC)
        try:
            batch.cancel(self._scheduler, batch.living(self._scheduler, self._chain.unfinished_jobs()))
        except batch.SchedulerError as error:
            self._say(f"cannot tell which jobs still live: {error}")
        child.wait()
        self._say(f"has ended; `{self._chain.typed}` goes on")
        return 130

    def _end(self, code: int) -> int:
        code = code if code >= 0 else 128 - code
        self._say(f"Snakemake has ended with exit code {code}; no successor")
        for line in _standing(self._chain.results):
            print(line, flush=True)
        return code

    def _on_stop(self, *_: Any) -> None:
        # after a warning the batch system ends the job, not the user: the study goes on
        self._is_stopped = not self._is_warned

    def _on_warning(self, *_: Any) -> None:
        self._is_warned = not self._is_stopped

    def _say(self, text: str) -> None:
        print(f"[{_clock(time.time())}] master job {self._id}: {text}", flush=True)


def main(words: Sequence[str]) -> int:
    """What a master job runs."""
    site_file, results, walltime_min, *snakemake = words
    try:
        chain = Chain(load_site(site_file), Path(site_file), Path(results), snakemake)
    except SiteError as error:
        sys.exit("\n".join(error.lines))
    _write_to(chain.log)
    return Supervisor(chain, float(walltime_min)).run()


def _write_to(log: Path) -> None:
    """Open the log here too: LSF copies a job's output to its file when the job has ended, unless it is told not to."""
    with contextlib.suppress(OSError), log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _end_quietly(child: subprocess.Popen, is_called_off: Callable[[], bool]) -> None:
    """End Snakemake and the small rules that it runs, without a word to its jobs."""
    child.terminate()
    quiet = 0

    def is_settled() -> bool:
        nonlocal quiet
        quiet = quiet + 1 if _has_no_child(child.pid) else 0
        return quiet >= QUIET_POLLS or is_called_off()

    _wait(child, SETTLE_SEC, is_settled)
    if not is_called_off():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _wait(child: subprocess.Popen, seconds: float, is_over: Callable[[], bool] = lambda: False) -> None:
    give_up = time.monotonic() + seconds
    while child.poll() is None and time.monotonic() < give_up and not is_over():
        time.sleep(POLL_SEC)


def _has_no_child(pid: int) -> bool:
    """False where /proc does not tell."""
    try:
        return not any(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:
        return False


def _standing(results: Path) -> list[str]:
    """The summary of `warmscale status`."""
    from ..monitoring.studies import read_study
    from ..monitoring.table import Screen, summary_lines

    return summary_lines(read_study(str(results), None, None, time.time()), Screen())


def _clock(unix_sec: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_sec))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
