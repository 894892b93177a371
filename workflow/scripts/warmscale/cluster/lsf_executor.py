"""Snakemake's executor for LSF, made to last: see `lasting`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from . import lsf, lsf_hosts, lsf_jobs
from .ask import last_line, tail
from .job_shell import in_job
from .lasting import Lasting
from .settle import End, RunJob
from .submitting import job_name

EXIT_CODE = Path(__file__).parents[2] / "exit_code.py"
REPORT_SEC = 60.0
"""For LSF's report to appear at the end of a job's log, where bjobs does not tell how the job ended."""


class LsfExecutor(Lasting):
    """For LSF."""

    scheduler, speech = "lsf", lsf

    def __post_init__(self, *given: object, **named: object) -> None:
        self._ends: dict[str, End] = {}
        """What bjobs tells of jobs that ended."""
        self._over_since: dict[str, float] = {}
        super().__post_init__(*given, **named)

    @staticmethod
    def get_lsf_config() -> dict[str, str]:
        """Nothing: bsub knows its own defaults, and not every site lets users run badmin."""
        return {}

    def submission(self, job: JobExecutorInterface, run: RunJob, log: Path, avoid: Sequence[str]) -> list[str]:
        """The words of bsub."""
        return lsf.bsub_words(
            self.site,
            command=in_job(self._command(job, run)),
            avoid=avoid,
            **self.common_facts(run, log),
        )

    def lifting(self, job: SubmittedJobInfo, run: RunJob) -> list[str]:
        """Bmod with all of the job's requirements but that one."""
        words = lsf.bsub_words(self.site, command="", **self.common_facts(run, job.aux["log"]))
        return lsf.lifting_words(job.external_jobid, words)

    def _command(self, job: JobExecutorInterface, run: RunJob) -> str:
        """For the shell of the first host; where LSF itself is to requeue jobs, a paused run ends with that code."""
        command = self.command(job, run)
        if "-Q" not in self.site.extra:
            return command
        program = [sys.executable, str(EXIT_CODE), "--state", str(run.state.path)]
        return f"{command} || {shlex.join(program)}"

    def hosts_to_avoid(self, run: RunJob) -> list[str]:
        """Those of the last losses for which the queue has hosts to spare; none for style easy, which takes any.

        Where bhosts cannot be asked, only one: the job gets it all the same if it waits for long.
        """
        lost = run.lost_hosts() if self.site.style == "plain" else []
        if not lost:
            return []
        hosts = lsf_hosts.hosts_of_queue(self.site.queue)
        spare = len(hosts) - run.where.nodes if hosts else 1
        return lost[max(0, len(lost) - spare) :]

    def submitted_as(self, run: RunJob, log: str) -> str | None:
        """By its name and its own log."""
        return lsf_jobs.submitted_as(job_name(run), log)

    def last_words(self, job: SubmittedJobInfo) -> str:
        """Of the job itself: LSF's report follows it."""
        return last_line(lsf_jobs.output_in(tail(job.aux["log"])))

    def note_end_of(self, run: RunJob, job_id: str, log: str) -> None:
        """Bjobs tells for an hour or so, LSF's report for good."""
        end = lsf_jobs.ends([job_id]).get(job_id) or lsf_jobs.end_in(tail(log))
        if end:
            run.note_end(job_id, end.reason, self.lost_host(end) if run.is_host_in_doubt(job_id) else None)

    def learn_ends(self, job_ids: Sequence[str]) -> None:
        """Bjobs knows at once what LSF's report in the log may tell later."""
        self._ends |= lsf_jobs.ends([job_id for job_id in job_ids if job_id not in self._ends])

    def end_of(self, job: SubmittedJobInfo, state: str) -> End | None:
        """What bjobs and the report tell; the report is waited for where more hangs on it than bjobs told."""
        job_id = job.external_jobid
        told, reported = self._ends.get(job_id), lsf_jobs.end_in(tail(job.aux["log"]))
        # of a job in which nothing of ours began the log tells why
        is_enough = told and (not told.hosts or self.runs(job.job).began(job_id))
        over_since = self._over_since.setdefault(job_id, time.monotonic())
        if not (reported or is_enough or time.monotonic() - over_since > REPORT_SEC):
            return None
        told, reported = told or End(), reported or End()
        # of a job that LSF requeued the log has a report of each time
        return End(told.reason if job_id in self._ends else reported.reason, told.hosts or reported.hosts)

    def lost_host(self, end: End) -> str | None:
        """The only one, or the one that LSF cannot reach."""
        return lsf_hosts.lost_host(end.hosts)

    def tell_of_waiting(self) -> None:
        """In the words of bjobs -p; and of what only the user may end."""
        for job_id in self._unreached.untold():
            self.logger.warning(
                f"LSF cannot reach the host of job {job_id}, which is waited for: it may go on there. "
                f"If that host will not come back: `bkill -r {job_id}`, and the run goes on elsewhere"
            )
        if waiting := self._waiting.to_ask_after():
            for line in self._waiting.news_in(lsf_jobs.pending_reasons(waiting)):
                self.logger.warning(f"LSF has not started job {line}; see `bjobs -p`")
