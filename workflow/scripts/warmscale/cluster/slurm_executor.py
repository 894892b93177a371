"""Snakemake's executor for Slurm, made to last: see `lasting`.

What upstream lacks beside what is said there (snakemake-executor-plugin-slurm 2.8.0):

- Without slurmdbd its default command of asking never hears that a job ended. Here: squeue.
- It asks sacct and sacctmgr for accounts, sinfo for partitions, and refuses the job where one does not answer. Here:
  what the site file says goes to sbatch, and what it does not say sbatch knows.
- Its second Snakemake in a job starts a third one by srun, so that a request to stop kills all of them at once, and no
  rank has time to save. Here: one Snakemake under a shell that makes a file of the request.
- Threads that submit hold up the end of Snakemake. Here: one submission after the other.
- A job that is requeued begins its log again, and logs are deleted. Here: neither.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from pathlib import Path

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from . import slurm, slurm_nodes
from .ask import answer, last_line, silence, tail
from .job_shell import FIND_CACHES
from .lasting import Lasting
from .settle import End, RunJob

TOKEN = "--comment="
"""What tells a submission from all others."""


class SlurmExecutor(Lasting):
    """For Slurm."""

    scheduler, speech = "slurm", slurm

    def __post_init__(self, *given: object, **named: object) -> None:
        self._told: set[str] = set()
        super().__post_init__(*given, **named)

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """One after the other, as other executors do; those of the highest priority first."""
        for job in sorted(jobs, key=lambda job: -job.priority):
            self.run_job_pre(job)
            self.run_job(job)

    def additional_general_args(self) -> list[str]:
        """Nothing: the Snakemake in the job starts the run itself, not another Snakemake in a step."""
        return []

    def submission(self, job: JobExecutorInterface, run: RunJob, log: Path, avoid: Sequence[str]) -> list[str]:
        """The words of sbatch, with a word that tells this job from all others."""
        words = slurm.sbatch_words(
            self.site,
            command=f"{FIND_CACHES}\n{slurm.batch_script(self.command(job, run), run.state.stop.absolute())}",
            avoid=avoid,
            **self.common_facts(run, log),
        )
        return [words[0], f"{TOKEN}{_token(log)}", *words[1:]]

    def lifting(self, job: SubmittedJobInfo, run: RunJob) -> list[str]:
        """Scontrol, with no node excluded."""
        return slurm_nodes.lifting_words(job.external_jobid)

    def hosts_to_avoid(self, run: RunJob) -> list[str]:
        """Those of the last losses for which the partition has nodes to spare: sbatch refuses to exclude more."""
        lost = run.lost_hosts() if not slurm_nodes.excludes_nodes(self.site.extra) else []
        spare = slurm_nodes.nodes_of_partition(self.site.queue) - run.where.nodes if lost else 0
        return lost[max(0, len(lost) - spare) :]

    def submitted_as(self, run: RunJob, log: str) -> str | None:
        """By a word of its own: sbatch may have given up waiting for an answer that came."""
        words = ["squeue", "-h", "-t", "all", "-u", getpass.getuser(), "-o", "%i %k"]
        code, said = answer(words)
        if code:
            raise silence(words, code, said)
        token = _token(Path(log))
        return next((line.split()[0] for line in said.splitlines() if line.endswith(f" {token}")), None)

    def states(self, job_ids: Sequence[str]) -> dict[str, str]:
        """By squeue; tells of jobs that wait for what will not come."""
        said = slurm.squeue(job_ids)
        self._tell_of_stuck(slurm.stuck_in(said))
        return slurm.states_in(said)

    def _tell_of_stuck(self, stuck: Mapping[str, Sequence[str]]) -> None:
        """Once a reason: hundreds of jobs may have it."""
        for reason, job_ids in stuck.items():
            if reason not in self._told:
                others = f" and {len(job_ids) - 1} others" if len(job_ids) > 1 else ""
                self.logger.warning(f"Slurm does not start job {job_ids[0]}{others}: {reason}; see `squeue --me`")
                self._told.add(reason)

    def last_words(self, job: SubmittedJobInfo) -> str:
        """Slurm's for the end, where it ended the job, and the last of its log."""
        ended_by = self.runs(job.job).noted("ended_by").get(job.external_jobid)
        return f"{ended_by}, " * bool(ended_by) + last_line(tail(job.aux["log"]))

    def end_of(self, job: SubmittedJobInfo, state: str) -> End:
        """Slurm's state says it: TIMEOUT, OUT_OF_MEMORY, NODE_FAIL."""
        return End(state if state not in ("FAILED", "forgotten") else None)

    def clean_old_logs(self) -> None:
        """Keep them: the records of runs name them."""


def _token(log: Path) -> str:
    """What the job with this log is called, and no other."""
    return f"warmscale-{log.parent.name}-{log.stem}"
