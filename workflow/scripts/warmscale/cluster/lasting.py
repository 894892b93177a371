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
  and adopted while it lives; one whose submission was not heard of to its end is looked for.
- A job that ends before our own program starts leaves nothing. Here: it is recorded as an attempt, and after two of
  them in a row the run is published as failed, so that the report is written.
- A run that was lost to a bad host may get it again. Here: its next job is kept from the host, where enough others are
  known, and until it has waited for hours.
- bsub is started through a shell, with -n and -R that no style of Summit's takes. Here: a list of words.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from .ask import SchedulerSilentError, answer, chunks
from .settle import End, Settled
from .submitting import POLL_SEC, Submitting
from .waiting import LIFT_SEC

MISSING_POLLS = 3
"""A job that the scheduler has not known in so many answers in a row is over."""
GOOD = ("alive", "done")
"""Outcomes of jobs of which no more is asked."""


class Lasting(Submitting):
    """What our executors add to a plugin's; comes before it in the bases."""

    def __post_init__(self, *given: Any, **named: Any) -> None:
        self._silent = False
        self._misses: dict[str, int] = {}
        self._held: set[str] = set()
        """Jobs that ended because a copy of their run is alive."""
        super().__post_init__(*given, **named)

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
            await asyncio.to_thread(self._unless_it_fails, self._look_after_waiting)
        now = [(job, self._state_of(job, states)) for job in active_jobs]
        over = [job.external_jobid for job, state in now if state not in GOOD]
        await asyncio.to_thread(self._unless_it_fails, self.learn_ends, over)
        for job, state in now:
            if state == "alive" or not await asyncio.to_thread(self._report_end, job, state):
                yield job
            else:
                self._live.pop(job.external_jobid, None)

    def _unless_it_fails(self, task: Callable[..., None], *given: Any) -> None:
        """Do what is good to have, and never a reason to end."""
        try:
            task(*given)
        except Exception as error:
            self.logger.warning(f"{self.scheduler}: {error!r}; jobs run on")

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
        if (end := self.end_of(job, state)) is None:
            return False
        run.note_end(job_id, end.reason, self.lost_host(end) if run.is_host_in_doubt(job_id) else None)
        if job_id in self._held and not run.state.outcome.exists():
            if run.is_held():
                return False
            settled = Settled.AGAIN
        else:
            why = f"job {job_id} ended before the trainer started: {self.last_words(job)}"
            settled = run.settle(job_id, why, next(iter(end.hosts), None))
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

    def _look_after_waiting(self) -> None:
        """Tell why jobs wait, and keep none from hosts for long: there may be too few others."""
        self.tell_of_waiting()
        for job in [self._live[job_id] for job_id in self._waiting.longer_than(LIFT_SEC) if job_id in self._live]:
            if job.aux["avoid"]:
                self._lift(job)

    def _lift(self, job: SubmittedJobInfo) -> None:
        run, job_id, avoid = self.runs(job.job), job.external_jobid, job.aux["avoid"]
        job.aux["avoid"] = []
        words = self.lifting(job, run)
        code, said = answer(words)
        what = f"{run.run_id}: job {job_id} waits for {LIFT_SEC / 3600:g} h and is kept from {', '.join(avoid)}"
        why = " ".join(said.split()) or f"exit code {code}"
        then = f"that could not be lifted: {words[0]}: {why}" if code else "it may go there now"
        self.logger.warning(f"{what}; {then}")

    def last_words(self, job: SubmittedJobInfo) -> str:
        """The last line of a job's log that is not the scheduler's own."""
        raise NotImplementedError

    def learn_ends(self, job_ids: Sequence[str]) -> None:
        """Ask the scheduler at once how jobs ended, where it tells more than their states."""

    def end_of(self, job: SubmittedJobInfo, state: str) -> End | None:
        """How a job ended; None where that is to be known soon."""
        raise NotImplementedError

    def lost_host(self, end: End) -> str | None:
        """The host that a job lost, where that can be told."""
        return end.hosts[0] if len(end.hosts) == 1 else None

    def tell_of_waiting(self) -> None:
        """Say why jobs wait, where that is news."""

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Ask all jobs to end, as Snakemake does on Ctrl-C; the ranks save before.

        Snakemake's list lacks those that are being asked after at this moment.
        """
        for chunk in chunks(list(self._live)):
            answer([self.speech.CANCEL, *chunk])
