"""Snakemake's executors for LSF and Slurm, made to last for weeks.

What upstream lacks (snakemake-executor-plugin-lsf 0.3.3, -slurm 2.8.0), each met on a cluster:

- One bsub that fails ends Snakemake and kills all running jobs. Here: it is tried again for as long as LSF is away;
  what LSF refuses for good fails that run alone.
- bjobs that does not answer six times within seconds ends Snakemake, and the jobs stay behind. Here: no answer is no
  news, for as long as it takes.
- UNKWN counts as success, PSUSP and USUSP as failure, all three recover. Here: a job lives until LSF says that it
  ended.
- The time between two polls grows to three minutes. Here: ten seconds.
- The jobs of a master that was killed are submitted a second time. Here: each run's job is noted in its state folder,
  and adopted while it lives.
- A job that ends before our own program starts leaves nothing. Here: it is recorded as an attempt, and after two of
  them in a row the run is published as failed, so that the report is written.
- bsub is started through a shell, with -n and -R that no style of Summit's takes. Here: a list of words.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from .ask import CANNOT_START, MISSING, RefusedError, SchedulerSilentError, answer, chunks
from .settle import RunJob, Settled
from .site import Site
from .tasks import VARIABLE

POLL_SEC = 10.0
MISSING_POLLS = 3
"""A job that the scheduler has not known in so many answers in a row is over."""
FIRST_PAUSE_SEC = 5.0
LONGEST_PAUSE_SEC = 60.0
FEWEST_TRIES = 3
"""Of a submission whose answer looks neither like a reason that passes nor like one that stays."""


class Lasting:
    """What our executors add to a plugin's; comes before it in the bases."""

    scheduler: str
    speech: ModuleType
    """What the scheduler is told and says: `lsf` or `slurm`."""
    runs: Callable[[JobExecutorInterface], RunJob]
    """The run that a job is for."""
    site: Site
    is_master: Callable[[], bool]
    """Whether this Snakemake is still the study's own."""

    def __post_init__(self, *given: Any, **named: Any) -> None:
        self._silent = False
        self._misses: dict[str, int] = {}
        self._held: set[str] = set()
        """Jobs that ended because a copy of their run is alive."""
        self._live: dict[str, SubmittedJobInfo] = {}
        super().__post_init__(*given, **named)

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Submit jobs, those of the highest priority first: schedulers begin with what came first."""
        super().run_jobs(sorted(jobs, key=lambda job: -job.priority))

    def run_job(self, job: JobExecutorInterface) -> None:
        """Adopt the job that an earlier master submitted for this run, if it lives, else submit one."""
        self._leave_if_replaced()
        run = self.runs(job)
        try:
            if run.state.outcome.exists() and run.settle("", "") is Settled.PUBLISHED:
                self.report_job_success(SubmittedJobInfo(job))  # no job is needed to copy three files
            elif not self._adopt(job):
                self.submit(job)
        except Exception as error:  # a full disk, a file that cannot be read: this run waits, the others go on
            self.logger.warning(f"{run.run_id}: cannot be submitted: {error!r}; trying again")
            time.sleep(POLL_SEC)
            self.workflow.scheduler.error_callback(job)

    def _leave_if_replaced(self) -> None:
        """End at once where another Snakemake has taken the study over; the jobs are its own by now."""
        if not self.is_master():
            self.logger.error("another Snakemake has taken this study over, and its jobs; this one ends")
            os._exit(1)

    def _adopt(self, job: JobExecutorInterface) -> bool:
        run = self.runs(job)
        known = run.remembered(self.scheduler)
        if not known or known["job_id"] not in self._surely_alive([known["job_id"]]):
            return False
        run.correct_task()
        self.logger.info(f"{run.run_id}: job {known['job_id']} of an earlier call still lives, and is adopted.")
        self._track(SubmittedJobInfo(job, external_jobid=known["job_id"], aux={"log": known["log"]}))
        return True

    def _track(self, job_info: SubmittedJobInfo) -> None:
        self._live[job_info.external_jobid] = job_info
        self.report_job_submission(job_info)

    def _surely_alive(self, job_ids: Sequence[str]) -> set[str]:
        """Which of these jobs live; waits for a scheduler that does not answer, because a guess would start copies."""
        while True:
            try:
                states = self.outcomes(job_ids)
            except SchedulerSilentError as error:
                self.logger.warning(f"{error}; asking again in {POLL_SEC:.0f} s before anything is submitted")
                time.sleep(POLL_SEC)
            else:
                return {job_id for job_id, state in states.items() if state == "alive"}

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **about: Any) -> None:
        """Of a job that the scheduler does not take: its run is given up, unless a copy trains it."""
        run = self.runs(job_info.job)
        self.logger.error(f"{run.run_id}: {msg}")
        if run.refuse(msg or "the scheduler did not take the job") is Settled.HELD:
            time.sleep(POLL_SEC)
            self.workflow.scheduler.error_callback(job_info.job)
        else:
            self.report_job_success(job_info)

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report the jobs that ended, yield the others."""
        self.next_seconds_between_status_checks = POLL_SEC
        self._leave_if_replaced()
        try:
            states = await asyncio.to_thread(self.outcomes, [job.external_jobid for job in active_jobs])
        except SchedulerSilentError as error:
            if not self._silent:
                self.logger.warning(f"{error}; jobs run on, and are asked after until it answers")
            self._silent, states = True, {job.external_jobid: "alive" for job in active_jobs}
        else:
            if self._silent:
                self.logger.info(f"{self.scheduler} answers again")
            self._silent = False
        for job in active_jobs:
            state = self._state_of(job, states)
            if state == "alive" or not await asyncio.to_thread(self._report_end, job, state):
                yield job
            else:
                self._live.pop(job.external_jobid, None)

    def _report_end(self, job: SubmittedJobInfo, state: str) -> bool:
        """Report a job that ended; False where that has to wait: what is wrong with one run must not end the others."""
        try:
            if state == "done":
                self.report_job_success(job)
                return True
            return self._settle(job, state)
        except Exception as error:
            name = self.runs(job.job).run_id
            self.logger.warning(f"{name}: job {job.external_jobid} ended as {state}; recording that failed: {error!r}")
            return False

    def _settle(self, job: SubmittedJobInfo, state: str) -> bool:
        """Let the state folder decide: a published run is done, a paused one goes on, without noise.

        Where a copy of the run is alive, its end is waited for: a job after the other would find the same.
        """
        run, job_id = self.runs(job.job), job.external_jobid
        run.note_end(job_id, self.reason_of_end(job, state))
        if job_id in self._held and not run.state.outcome.exists():
            if run.is_held():
                return False
            settled = Settled.AGAIN
        else:
            why = f"job {job_id} ended before the trainer started: {self.last_words(job)}"
            settled = run.settle(job_id, why, self.node_of(job))
        if settled is Settled.HELD:
            if job_id not in self._held:
                self.logger.info(f"{run.run_id}: job {job_id} was a duplicate: a copy trains it, and is waited for.")
            self._held.add(job_id)
            return False
        if settled is Settled.PUBLISHED:
            self.report_job_success(job)
        else:
            self.logger.info(f"{run.run_id}: job {job_id} ended; {run.standing()}.")
            self.workflow.scheduler.error_callback(job.job)
        return True

    def _state_of(self, job: SubmittedJobInfo, states: Mapping[str, str]) -> str:
        """What the scheduler says; of a job that it does not know its files tell, once it is not just late."""
        if state := states.get(job.external_jobid):
            self._misses.pop(job.external_jobid, None)
            return state
        return self._state_of_missing(job)

    def _state_of_missing(self, job: SubmittedJobInfo) -> str:
        """Of a job that the scheduler no longer knows: its files tell, once it is not just late."""
        misses = self._misses.get(job.external_jobid, 0) + 1
        self._misses[job.external_jobid] = misses
        if misses < MISSING_POLLS:
            return "alive"
        return "done" if self.runs(job.job).is_published() else "forgotten"

    def submit(self, job: JobExecutorInterface) -> None:
        """Submit a job, and report that, or that the scheduler refuses it."""
        run = self.runs(job)
        log = Path(f".snakemake/{self.scheduler}_logs/{run.run_id}/{time.time_ns()}.log").absolute()
        log.parent.mkdir(parents=True, exist_ok=True)
        words = self.submission(job, run, log)
        self.logger.debug(f"submission: {words}")
        try:
            job_id = self.insist(words)
        except RefusedError as error:
            self.report_job_error(SubmittedJobInfo(job), str(error))
            return
        self.logger.info(f"{run.run_id}: submitted as job {job_id} (log: {log}).")
        self._track(SubmittedJobInfo(job, external_jobid=job_id, aux={"log": str(log)}))
        try:
            run.remember(self.scheduler, job_id, str(log))
        except OSError as error:
            self.logger.warning(f"{run.run_id}: job {job_id} cannot be noted for a next Snakemake: {error}")

    def insist(self, words: Sequence[str]) -> str:
        """Submit, again and again where that fails for a reason that may pass; the job's id, or raises RefusedError."""
        speech, pause, tries = self.speech, FIRST_PAUSE_SEC, 1
        while True:
            code, said = answer(words)
            if code == 0:
                return speech.job_id_in(said)
            reason = speech.refusal_in(said) or f"{words[0]}: exit code {code}"
            passes = code in (MISSING, CANNOT_START) or speech.is_transient(said) or speech.is_limit(said)
            if speech.is_refused(said) or not (passes or tries < FEWEST_TRIES):
                raise RefusedError(reason)
            self.logger.warning(f"{reason}; trying again in {pause:.0f} s")
            time.sleep(pause)
            pause, tries = min(2 * pause, LONGEST_PAUSE_SEC), tries + 1
            if job_id := self.submitted_after_all(words):
                return job_id

    def submission(self, job: JobExecutorInterface, run: RunJob, log: Path) -> list[str]:
        """The words that submit a job."""
        raise NotImplementedError

    def command(self, job: JobExecutorInterface, run: RunJob) -> str:
        """Snakemake again, for a shell in the job, with what it is told of its run."""
        told, command = f"{VARIABLE}={shlex.quote(str(run.leave_task().absolute()))}", self.format_job_exec(job)
        # a shell that has one command to run becomes it, so that signals reach it
        is_alone = command.startswith(self.get_python_executable())
        return f"{told} {command}" if is_alone else f"export {told} && {command}"

    def common_facts(self, run: RunJob, log: Path) -> dict[str, Any]:
        """What any scheduler is told of the job of a run, but for its command."""
        return {
            "where": run.where,
            "walltime_min": run.task.job["runtime"],
            "alone": run.task.is_measured,
            "name": f"{run.study}:{run.run_id}",
            "log": log,
            "cwd": Path(self.workflow.workdir_init),
        }

    def submitted_after_all(self, words: Sequence[str]) -> str | None:
        """Id of the job that these words submitted although their answer was lost; None where that cannot be known."""
        return None

    def last_words(self, job: SubmittedJobInfo) -> str:
        """The last line of a job's log that is not the scheduler's own."""
        raise NotImplementedError

    def node_of(self, job: SubmittedJobInfo) -> str | None:
        """Node on which a job's own command ran, where the scheduler tells."""
        return None

    def reason_of_end(self, job: SubmittedJobInfo, state: str) -> str | None:
        """What the scheduler calls the end of a job that it ended itself, as TERM_MEMLIMIT."""
        raise NotImplementedError

    def outcomes(self, job_ids: Sequence[str]) -> dict[str, str]:
        """{job id: alive | done | another word for how it ended} of the jobs that the scheduler knows.

        A state that is not known to be an end may be followed by another one: the job lives. Raises
        SchedulerSilentError.
        """
        done, over = self.speech.DONE, self.speech.OVER
        states = self.states(job_ids)
        return {job: "done" if state in done else state if state in over else "alive" for job, state in states.items()}

    def states(self, job_ids: Sequence[str]) -> dict[str, str]:
        """{job id: the scheduler's word}; raises SchedulerSilentError."""
        return self.speech.states(job_ids)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Ask all jobs to end, as Snakemake does on Ctrl-C; the ranks save before.

        Snakemake's list lacks those that are being asked after at this moment.
        """
        for chunk in chunks(list(self._live)):
            answer([self.speech.CANCEL, *chunk])
