"""The process beside each running job: starts it, keeps its run limit, ends what is left of it."""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from . import scheduler
from .environment import error_file, job_environment, output_file, write_job_file
from .job import STARTED, SUSPENDED, Job
from .processes import kill_leftovers, signal_job
from .report import closing_report
from .store import Store, read_json

TICK_SEC = 0.03


class Supervisor:
    """Of one run of one job."""

    def __init__(self, store: Store, job: Job) -> None:
        self.store = store
        self.job = job
        self.settings = store.settings
        self.ran_sec = 0.0
        """In RUN: time in suspension does not count towards the run limit."""
        self.warned = False
        self.ending = ""
        """Why the job is being ended: runlimit, owner, host, lsf."""
        self.plan: list[tuple[float, int]] = []
        """(when, signal) of what is still to be sent."""
        self.stamp = 0
        """Of the job as last read."""
        self.child: subprocess.Popen

    def run(self) -> None:
        """Until the job is over and nothing of it is left."""
        try:
            self.child = self._start()
        except OSError as error:
            # a missing input file or shell: LSF ends such a job before it starts
            print(error, flush=True)
            return self._close(1)
        if self.store.update(self.job.id, session=self.child.pid).true_state in SUSPENDED:
            # suspended before there was a process
            signal_job(self.store, self.job.id, signal.SIGSTOP, self.child.pid)
        last = time.monotonic()
        while (code := self.child.poll()) is None:
            time.sleep(TICK_SEC)
            now = time.monotonic()
            self._read_job()
            if self.job.true_state == "RUN":
                self.ran_sec += now - last
            last = now
            self._check_limit()
            self._check_kill()
            self._send_due()
        kill_leftovers(self.store, self.job.id, self.child.pid)
        self._close(code if code >= 0 else 128 - code)

    def _start(self) -> subprocess.Popen:
        submitted = read_json(self.store.job_folder(self.job.id) / "environment.json")
        environment = job_environment(self.store, self.job, submitted)
        job_file = write_job_file(self.store, self.job)
        Path(self.job.request.cwd).mkdir(parents=True, exist_ok=True)
        out = self._open(output_file(self.store, self.job), "w" if self.job.request.overwrite else "a")
        error = error_file(self.job)
        err = self._open(error, "a") if error else subprocess.STDOUT
        return subprocess.Popen(
            [self.job.request.shell or "/bin/sh", str(job_file)],
            env=environment,
            cwd=self.job.request.cwd,
            stdin=open(self.job.request.stdin, "rb"),
            stdout=out,
            stderr=err,
            start_new_session=True,
        )

    def _open(self, path: Path, mode: str) -> TextIO:
        try:
            return path.open(mode)
        except OSError:
            # as LSF: what cannot be written is mailed
            return (self.store.job_folder(self.job.id) / "mail").open("a")

    def _read_job(self) -> None:
        stamp = (self.store.job_folder(self.job.id) / "job.json").stat().st_mtime_ns
        if stamp != self.stamp:
            self.stamp = stamp
            self.job = self.store.job(self.job.id) or self.job

    def _check_limit(self) -> None:
        limit_min = self.job.request.run_limit_min
        if not limit_min:
            return
        limit_sec = limit_min * self.settings.minute_sec
        warning = self.job.request.warning_signal
        warning_sec = self.job.request.warning_min * self.settings.minute_sec
        if warning and warning_sec and not self.warned and self.ran_sec >= limit_sec - warning_sec:
            self.warned = True
            self._signal(signal.Signals[f"SIG{warning}"])
        if self.ran_sec >= limit_sec and not self.ending:
            self._end("runlimit", "TERM_RUNLIMIT", signal.SIGUSR2)

    def _check_kill(self) -> None:
        # an unreachable host gets no message
        if self.job.kill == "owner" and self.ending not in ("owner", "host") and not self.job.unreachable:
            self._end("owner", "TERM_OWNER")
        if self.job.kill in ("host", "lsf") and self.ending != self.job.kill:
            self._end(self.job.kill, "TERM_ZOMBIE")

    def _end(self, why: str, reason: str, first: int | None = None) -> None:
        begin = time.monotonic()
        self.ending = why
        self.plan = [] if first is None else [(begin, first)]
        interval = self.settings.kill_interval_sec
        if first is not None:
            begin += self.settings.grace_sec
        if why in ("host", "lsf"):
            self.plan = [(begin, signal.SIGKILL)]
        else:
            signals = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
            self.plan += [(begin + interval * place, number) for place, number in enumerate(signals)]
        if not self.job.reason:
            self.store.update(self.job.id, reason=reason)

    def _send_due(self) -> None:
        while self.plan and time.monotonic() >= self.plan[0][0]:
            self._signal(self.plan.pop(0)[1])

    def _signal(self, number: int) -> None:
        signal_job(self.store, self.job.id, number, self.child.pid)
        if self.job.true_state in SUSPENDED:
            signal_job(self.store, self.job.id, signal.SIGCONT, self.child.pid)

    def _close(self, code: int) -> None:
        self.job = self.store.job(self.job.id) or self.job
        ended = replace(self.job, exit_code=code, ended=time.time())
        # as LSF: no report of a run that is repeated
        is_reported = not scheduler.runs_again(self.job, code)
        late_sec = self.settings.report_late_sec
        if is_reported and not late_sec:
            self._report(ended)
        with self.store.lock():
            scheduler.end(self.store, self.job, code)
            scheduler.dispatch(self.store)
        if is_reported and late_sec:
            time.sleep(late_sec)
            self._report(ended)

    def _report(self, ended: Job) -> None:
        path = self.store.job_folder(self.job.id) / "mail"
        with self._open(path if self.job.request.mail_report else output_file(self.store, self.job), "a") as file:
            file.write(closing_report(self.store, ended))


def supervise(store: Store, job_id: int, run: int) -> int:
    """Body of the supervising process. A dispatcher that died before it recorded the start has started nothing."""
    with store.lock():
        job = store.job(job_id)
        if job is None or job.times_run != run or job.true_state not in STARTED:
            return 0
    Supervisor(store, job).run()
    return 0
