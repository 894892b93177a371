"""A program of ours as a batch job of one slot: submit it, ask after it, end it. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import lsf, slurm
from .ask import RefusedError, SchedulerSilentError, answer, chunks, silence
from .job_shell import CACHES, FIND_CACHES, enter, is_of_a_node

if TYPE_CHECKING:
    from .site import Site

COMMAND_TIMEOUT_SEC = 60.0
SPEECH = {"lsf": lsf, "slurm": slurm}
"""What a scheduler is told and says."""


class SchedulerError(RuntimeError):
    """The scheduler does not do what it was asked for, in one line."""


@dataclass(frozen=True)
class SmallJob:
    """One slot and no GPU."""

    name: str
    log: Path
    """Appended to."""
    cwd: Path
    command: str
    """For a shell."""
    after: str | None = None
    """Id of a job that has to end first, however."""


def submission(site: Site, job: SmallJob) -> list[str]:
    """The words of bsub or sbatch. The job runs again where its host fails."""
    return _bsub_words(site, job) if site.scheduler == "lsf" else _sbatch_words(site, job)


def _bsub_words(site: Site, job: SmallJob) -> list[str]:
    own, queue = site.master, site.master.queue or site.queue
    words = ["bsub", "-J", job.name, "-o", str(job.log), "-e", str(job.log), "-r"]
    words += ["-P", site.project] if site.project else []
    words += ["-q", queue] if queue else []
    words += ["-W", str(site.master_walltime_min)]
    words += ["-nnodes", "1"] if site.style == "easy" else ["-n", "1"]
    words += ["-R", f"rusage[mem={own.memory_gb}GB]"] if own.memory_gb and site.style == "plain" else []
    words += ["-w", f"ended({job.after})"] if job.after else []
    return [*words, *own.extra, f"{enter(job.cwd)}; {FIND_CACHES}; {job.command}"]


def _sbatch_words(site: Site, job: SmallJob) -> list[str]:
    own, queue = site.master, site.master.queue or site.queue
    words = ["sbatch", "--parsable", f"--job-name={job.name}", f"--output={job.log}", "--open-mode=append"]
    words += ["--export=ALL", "--requeue", "--nodes=1", "--ntasks=1", "--cpus-per-task=1"]
    words += [f"--time={site.master_walltime_min}", f"--chdir={job.cwd}"]
    named = {
        "--account": site.project,
        "--partition": queue,
        "--qos": None if own.queue else site.qos,  # belongs to the partition of the runs
        "--mem": own.memory_gb and f"{own.memory_gb}G",
        "--dependency": job.after and f"afterany:{job.after}",
    }
    words += [f"{option}={value}" for option, value in named.items() if value]
    # a shell that waits for the program would die of scancel's SIGTERM, and with it the job, before the program can act
    return [*words, *own.extra, "--wrap", f"{FIND_CACHES}; exec {job.command}"]


def submit(site: Site, job: SmallJob) -> str:
    """Id of the new job; raises SchedulerError with what the scheduler said instead."""
    words = submission(site, job)
    code, said = _answer(words)
    if code:
        raise SchedulerError(str(silence(words, code, said)))
    try:
        return SPEECH[site.scheduler].job_id_in(said)
    except RefusedError as error:
        raise SchedulerError(str(error)) from error


def living(scheduler: str, job_ids: Iterable[str]) -> list[str]:
    """Those of some jobs that have not ended; raises SchedulerError where the scheduler does not answer."""
    speech = SPEECH[scheduler]
    try:
        states = speech.states(list(job_ids))
    except SchedulerSilentError as error:
        raise SchedulerError(str(error)) from error
    return [job_id for job_id, state in states.items() if state not in speech.OVER]


def cancel(scheduler: str, job_ids: Iterable[str]) -> None:
    """Ask jobs to end; a scheduler that does not answer is not asked again."""
    for chunk in chunks(list(job_ids)):
        _answer(cancel_words(scheduler, *chunk))


def cancel_words(scheduler: str, *job_ids: str) -> list[str]:
    """What a user would type to end jobs."""
    return [SPEECH[scheduler].CANCEL, *job_ids]


def outside_of_jobs(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what the scheduler put into it for a job: jobs submitted from there get none of it.

    Slurm's commands take many of these variables for options, and Snakemake's plugin warns of them.
    """
    ours = ("LSB_DEFAULT", "SLURM_CONF")  # of the user and of the site
    of_a_job = ("LSB_", "LS_", "SLURM_", "SLURMD_")
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(ours) or not (name.startswith(of_a_job) or (name in CACHES and is_of_a_node(value)))
    }


def _answer(words: Sequence[str]) -> tuple[int, str]:
    return answer(words, timeout_sec=COMMAND_TIMEOUT_SEC, environment=outside_of_jobs(os.environ))
