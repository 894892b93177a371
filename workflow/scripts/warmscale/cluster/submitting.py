"""Submitting the jobs of runs, and adopting those that an earlier master submitted: see `lasting`."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from .ask import RefusedError
from .insist import insist, surely
from .settle import RunJob, Settled
from .site import Site
from .tasks import VARIABLE
from .waiting import Waiting

POLL_SEC = 10.0


class Submitting:
    """The half of our executors that a job meets first; before a plugin's in the bases."""

    scheduler: str
    speech: ModuleType
    """What the scheduler is told and says: `lsf` or `slurm`."""
    runs: Callable[[JobExecutorInterface], RunJob]
    """The run that a job is for."""
    site: Site
    is_master: Callable[[], bool]
    """Whether this Snakemake is still the study's own."""

    def __post_init__(self, *given: Any, **named: Any) -> None:
        self._live: dict[str, SubmittedJobInfo] = {}
        self._waiting, self._unreached = Waiting(), Waiting()
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
        begun = run.begun_submission(self.scheduler)  # by a Snakemake that was killed before it heard of the job
        if begun and (job_id := surely(lambda: self.submitted_as(run, begun["log"]), self.logger.warning)):
            run.remember(self.scheduler, job_id, begun["log"], begun["avoid"])
        known = run.remembered(self.scheduler)
        if not known:
            return False
        if not self._surely_lives(known["job_id"]):
            self.note_end_of(run, known["job_id"], known["log"])
            return False
        run.correct_task()
        self.logger.info(f"{run.run_id}: job {known['job_id']} of an earlier call still lives, and is adopted.")
        about = {"log": known["log"], "avoid": known.get("avoid", [])}
        self._track(SubmittedJobInfo(job, external_jobid=known["job_id"], aux=about))
        return True

    def _track(self, job_info: SubmittedJobInfo) -> None:
        self._live[job_info.external_jobid] = job_info
        self.report_job_submission(job_info)

    def _surely_lives(self, job_id: str) -> bool:
        return surely(lambda: self.outcomes([job_id]), self.logger.warning).get(job_id) == "alive"

    def submit(self, job: JobExecutorInterface, *, anywhere: bool = False) -> None:
        """Submit a job, and report that, or that the scheduler refuses it, even with no host to avoid."""
        run = self.runs(job)
        log = Path(f".snakemake/{self.scheduler}_logs/{run.run_id}/{time.time_ns()}.log").absolute()
        log.parent.mkdir(parents=True, exist_ok=True)
        avoid = [] if anywhere else self.hosts_to_avoid(run)
        run.begin_submission(self.scheduler, str(log), avoid)
        words = self.submission(job, run, log, avoid)
        self.logger.debug(f"submission: {words}")
        try:
            job_id = insist(words, self.speech, lambda: self.submitted_as(run, str(log)), self.logger.warning)
        except RefusedError as error:
            run.end_submission()
            if avoid:
                self.submit(job, anywhere=True)
            else:
                self.report_job_error(SubmittedJobInfo(job), str(error))
            return
        others = f", kept from {', '.join(avoid)}" if avoid else ""
        self.logger.info(f"{run.run_id}: submitted as job {job_id} (log: {log}){others}.")
        self._track(SubmittedJobInfo(job, external_jobid=job_id, aux={"log": str(log), "avoid": avoid}))
        try:
            run.remember(self.scheduler, job_id, str(log), avoid)
        except OSError as error:
            self.logger.warning(f"{run.run_id}: job {job_id} cannot be noted for a next Snakemake: {error}")

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **about: Any) -> None:
        """Of a job that the scheduler does not take: its run is given up, unless a copy trains it."""
        run = self.runs(job_info.job)
        self.logger.error(f"{run.run_id}: {msg}")
        if run.refuse(msg or "the scheduler did not take the job") is Settled.HELD:
            time.sleep(POLL_SEC)
            self.workflow.scheduler.error_callback(job_info.job)
        else:
            self.report_job_success(job_info)

    def outcomes(self, job_ids: Sequence[str]) -> dict[str, str]:
        """{job id: alive | done | another word for how it ended} of the jobs that the scheduler knows.

        A state that is not known to be an end may be followed by another one: the job lives. Raises
        SchedulerSilentError.
        """
        done, over = self.speech.DONE, self.speech.OVER
        states = self.states(job_ids)
        self._waiting.note(states, self.speech.WAITING)
        self._unreached.note(states, self.speech.UNREACHED)
        return {job: "done" if state in done else state if state in over else "alive" for job, state in states.items()}

    def states(self, job_ids: Sequence[str]) -> dict[str, str]:
        """{job id: the scheduler's word}; raises SchedulerSilentError."""
        return self.speech.states(job_ids)

    def submission(self, job: JobExecutorInterface, run: RunJob, log: Path, avoid: Sequence[str]) -> list[str]:
        """The words that submit a job, which must not get hosts to avoid."""
        raise NotImplementedError

    def lifting(self, job: SubmittedJobInfo, run: RunJob) -> list[str]:
        """The words that let a job that waits get any host."""
        raise NotImplementedError

    def note_end_of(self, run: RunJob, job_id: str, log: str) -> None:
        """Note how a job ended while nobody asked, where the scheduler still tells more than that."""

    def hosts_to_avoid(self, run: RunJob) -> list[str]:
        """Hosts on which the run was lost, as far as enough others are known to be there."""
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
            "name": job_name(run),
            "log": log,
            "cwd": Path(self.workflow.workdir_init),
        }

    def submitted_as(self, run: RunJob, log: str) -> str | None:
        """Id of the job that was submitted with this log; None where there is none. Raises SchedulerSilentError."""
        raise NotImplementedError


def job_name(run: RunJob) -> str:
    """What the jobs of a run are called."""
    return f"{run.study}:{run.run_id}"
