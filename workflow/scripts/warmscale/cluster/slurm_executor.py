"""Snakemake's executor for Slurm, made to last: see `lasting`.

What upstream lacks beside what is said there (snakemake-executor-plugin-slurm 2.8.0):

- Without slurmdbd its default command of asking never hears that a job ended. Here: squeue.
- It asks sacct and sacctmgr for accounts, sinfo for partitions, and refuses the job where one does not answer. Here:
  what the site file says goes to sbatch, and what it does not say sbatch knows.
- Its second Snakemake in a job starts a third one by srun, so that a request to stop kills all of them at once, and no
  rank has time to save. Here: one Snakemake under a shell that makes a file of the request.
- A job that is requeued begins its log again, and logs are deleted. Here: neither.
"""

from __future__ import annotations

import getpass
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from ..records import read_json
from . import slurm
from .ask import answer, chunks, last_line, tail
from .lasting import SUBMIT_FOR_SEC, Lasting, SchedulerSilentError

FIRST_PAUSE_SEC = 5.0
LONGEST_PAUSE_SEC = 60.0
FEWEST_TRIES = 3
"""Of a submission, where the answer looks neither like a reason that passes nor like one that stays."""


class SlurmExecutor(Lasting):
    """For Slurm."""

    scheduler = "slurm"

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """One after the other, as other executors do: the plugin's threads hold up the end of Snakemake."""
        for job in jobs:
            self.run_job_pre(job)
            self.run_job(job)

    def additional_general_args(self) -> list[str]:
        """Nothing: the Snakemake in the job starts the run itself, not another Snakemake in a step."""
        return []

    def submit(self, job: JobExecutorInterface) -> None:
        """Start sbatch; report the job, or that Slurm refuses it."""
        run = self.runs(job)
        log = Path(f".snakemake/slurm_logs/{run.run_id}/%j.log").absolute()
        log.parent.mkdir(parents=True, exist_ok=True)
        words = slurm.sbatch_words(
            self.site,
            where=run.where,
            walltime_min=self.site.walltime_min(run.where.nodes),
            name=f"{run.study}:{run.run_id}",
            log=log,
            cwd=Path(self.workflow.workdir_init),
            command=slurm.batch_script(self.format_job_exec(job), run.state.stop.absolute()),
        )
        self.logger.debug(f"sbatch call: {words}")
        try:
            job_id = self._sbatch(words)
        except slurm.RefusedError as error:
            self.report_job_error(SubmittedJobInfo(job), str(error))
            return
        log = log.with_name(f"{job_id}.log")
        self.logger.info(f"{run.run_id}: submitted as Slurm job {job_id} (log: {log}).")
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=job_id, aux={"slurm_logfile": log}))

    def _sbatch(self, words: Sequence[str]) -> str:
        """Id of the job; tries again where sbatch fails for a reason that may pass. Raises RefusedError."""
        give_up, pause, tries = time.monotonic() + SUBMIT_FOR_SEC, FIRST_PAUSE_SEC, 1
        token = f"warmscale-{uuid.uuid4()}"
        while True:
            code, said = answer([words[0], f"--comment={token}", *words[1:]])
            if code == 0:
                return slurm.job_id_in(said)
            reason = slurm.reason_in(said) or f"sbatch: exit code {code}"
            in_time = time.monotonic() < give_up and (slurm.is_transient(said) or tries < FEWEST_TRIES)
            if slurm.is_refused(said) or not (in_time or slurm.is_limit(said)):
                raise slurm.RefusedError(reason)
            self.logger.warning(f"{reason}; trying again in {pause:.0f} s")
            time.sleep(pause)
            pause, tries = min(2 * pause, LONGEST_PAUSE_SEC), tries + 1
            if job_id := _submitted_with(token):
                return job_id

    def states(self, job_ids: Sequence[str]) -> Mapping[str, str]:
        """By squeue, which knows a job for minutes after its end, also where there is no accounting."""
        found: dict[str, str] = {}
        for chunk in chunks(job_ids):
            code, said = answer(["squeue", "-h", "-t", "all", "-o", "%i %T %r", "-j", ",".join(chunk)])
            found |= slurm.states_in(said)
            if code and "Invalid job id" not in said:
                raise SchedulerSilentError(f"squeue: {' '.join(said.split()) or f'exit code {code}'}")
            self._tell_of_stuck(slurm.stuck_in(said))
        return {job_id: _outcome(state) for job_id, state in found.items()}

    def _tell_of_stuck(self, stuck: Mapping[str, Sequence[str]]) -> None:
        """Once a reason: hundreds of jobs may have it."""
        for reason, job_ids in stuck.items():
            if reason not in self._told:
                others = f" and {len(job_ids) - 1} others" if len(job_ids) > 1 else ""
                self.logger.warning(f"Slurm does not start job {job_ids[0]}{others}: {reason}; see `squeue --me`")
                self._told.add(reason)

    def last_words(self, job: SubmittedJobInfo) -> str:
        """Slurm's for the end, where it ended the job, and the last of its log."""
        ended_by = (read_json(self.runs(job.job).state.job) or {}).get("ended_by")
        return f"{ended_by}, " * bool(ended_by) + last_line(tail(job.aux["slurm_logfile"]))

    def reason_of_end(self, job: SubmittedJobInfo, state: str) -> str | None:
        """Slurm's state says it: TIMEOUT, OUT_OF_MEMORY, NODE_FAIL."""
        return state if state not in ("FAILED", "forgotten") else None

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Ask all jobs to end, as Snakemake does on Ctrl-C; the ranks save before."""
        for chunk in chunks([job.external_jobid for job in active_jobs]):
            answer(["scancel", *chunk])

    def clean_old_logs(self) -> None:
        """Keep them: the records of runs name them."""

    def __post_init__(self, *given: object, **named: object) -> None:
        self._told: set[str] = set()
        super().__post_init__(*given, **named)


def _submitted_with(token: str) -> str | None:
    """Id of the job with this comment: sbatch may have given up waiting for an answer that came."""
    code, said = answer(["squeue", "-h", "-t", "all", "-u", getpass.getuser(), "-o", "%i %k"])
    return next((line.split()[0] for line in said.splitlines() if not code and line.endswith(f" {token}")), None)


def _outcome(state: str) -> str:
    """A state that is not known to be an end may be followed by another one: the job lives."""
    return "done" if state == "COMPLETED" else state if state in slurm.OVER else "alive"
