"""Slurm: what its Snakemake plugin is asked for, and what sbatch and squeue answer. Standard library only."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .placement import Where
    from .site import Site

ALIVE = frozenset(
    {
        "PENDING",
        "CONFIGURING",
        "RUNNING",
        "COMPLETING",  # its processes may not have ended yet
        "SUSPENDED",
        "STOPPED",
        "SIGNALING",
        "STAGE_OUT",
        "RESIZING",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",  # requeued and held
        "PREEMPTED",  # mostly to be requeued under its id; squeue forgets one that is not, after MinJobAge
        "REVOKED",  # another cluster of the federation took it
    }
)
"""States of a job that may still write, now or later, in squeue's answers (sacct says PREEMPTED for ever).

A state that is in neither set is to be taken for one of these: only OVER says that a job ended.
"""
OVER = frozenset(
    {
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "TIMEOUT",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "BOOT_FAIL",
        "DEADLINE",
        "LAUNCH_FAILED",
        "RECONFIG_FAIL",
    }
)
"""States in which a job has ended. One that Slurm requeues, after NODE_FAIL for example, is PENDING again at once."""

TRANSIENT = re.compile(
    r"unable to contact slurm controller|connection (refused|timed out|reset)|socket timed out|zero bytes"
    r"|communication connection failure|slurm_receive_msg|temporarily un|not responding|transport endpoint"
    r"|slurmctld.*(down|backup)|unexpected message|protocol authentication|munge"
    r"|MaxSubmit|QOSGrpSubmit|too many (pending|jobs)|retrying|try again",
    re.IGNORECASE,
)
"""What sbatch says when the same call may succeed later."""
LIMIT = re.compile(r"MaxSubmit|QOSGrpSubmit|too many (pending|jobs)", re.IGNORECASE)
"""What it says when so many jobs wait that it takes no more: it will, when one of them has ended."""
REFUSED = re.compile(r"invalid|unrecognized|not (available|permitted)|denied|violates|exceeds", re.IGNORECASE)
"""What it says when the same call will never succeed."""
WAITS = re.compile(
    r"None|Priority|Resources|BeginTime|Dependency|Licenses|Reservation|Cleaning|Prolog|FrontEndDown|NodeDown"
    r"|ReqNodeNotAvail.*|.*Max(Jobs|Submit).*|.*Grp.*|JobArrayTaskLimit|SchedDefer|BurstBuffer.*"
)
"""Why a job is pending when that will pass without its user."""


class RefusedError(RuntimeError):
    """A submission that gave no job, with what Slurm said."""


def slurm_resources(site: Site, where: Where, walltime_min: int) -> dict[str, int | str]:
    """What a job asks for, in the words of snakemake-executor-plugin-slurm 2.8, which others know too."""
    share = site.share(where)
    resources: dict[str, int | str] = {"nodes": where.nodes, "runtime": walltime_min}
    if where.ranks == 1:
        resources["cpus_per_task"] = share.cores
    else:
        resources["mpi"] = site.launcher
        # tasks_per_node: 1 is refused
        tasks = {"tasks_per_node": where.ranks_per_node} if where.ranks_per_node > 1 else {"tasks": where.ranks}
        resources |= tasks | {"cpus_per_task": max(1, share.cores // where.ranks_per_node)}
    if share.gpus:
        resources["gres"] = f"gpu:{share.gpus}"  # of each node
    if share.memory_gb:
        resources["mem_mb"] = share.memory_gb * 1024  # of each node
    named = {
        "slurm_account": site.project,
        "slurm_partition": site.queue,
        "qos": site.qos,
        "constraint": site.constraint,
    }
    resources |= {name: value for name, value in named.items() if value}
    return resources | ({"slurm_extra": shlex.join(site.extra)} if site.extra else {})


def sbatch_words(
    site: Site, *, where: Where, name: str, log: str | Path, cwd: str | Path, walltime_min: int, command: str
) -> list[str]:
    """The words of a submission, for a call without a shell; `command` is for the shell of the first node."""
    asked = slurm_resources(site, where, walltime_min)
    # append: a job that is requeued would else begin its log again
    words = ["sbatch", "--parsable", "--job-name", name, "--output", str(log), "--open-mode=append"]
    words += ["--export=ALL", "-D", str(cwd)]
    options = {
        "slurm_account": "--account",
        "slurm_partition": "--partition",
        "runtime": "--time",
        "constraint": "--constraint",
        "qos": "--qos",
        "mem_mb": "--mem",
        "nodes": "--nodes",
        "tasks_per_node": "--ntasks-per-node",
        "tasks": "--ntasks",
        "cpus_per_task": "--cpus-per-task",
        "gres": "--gres",
    }
    words += [f"{option}={asked[key]}" for key, option in options.items() if key in asked]
    words += ["--ntasks=1"] if where.ranks == 1 else []
    return [*words, *site.extra, "--wrap", command]


def batch_script(command: str, stop: Path) -> str:
    """Lines for sh: the command, during which a request to stop that reaches the batch shell becomes the file `stop`.

    Where Slurm ends a job it sends SIGTERM, then SIGKILL after KillWait; mostly to the first process of each step only
    (proctrack/cgroup), and here that is this shell. With a session of its own the command is spared elsewhere too
    (proctrack/pgid): bash, which Snakemake starts it by, would end at once, and the job with it.
    """
    asked = shlex.quote(f"touch {shlex.quote(str(stop))}")
    wait = "while wait $job; code=$?; kill -0 $job 2>/dev/null; do :; done"  # a signal interrupts `wait`
    return f"trap {asked} TERM USR1 USR2\nsetsid sh -c {shlex.quote(command)} &\njob=$!\n{wait}\nexit $code"


def job_id_in(answer: str) -> str:
    """Id of the job from `sbatch --parsable` (`id` or `id;cluster`); raises RefusedError with what it said instead."""
    last = answer.strip().rpartition("\n")[2]
    found = re.fullmatch(r"(\d+)(;[\w-]+)?", last.strip()) or re.search(r"Submitted batch job (\d+)", answer)
    if not found:
        raise RefusedError(f"sbatch names no job: {' '.join(answer.split()) or 'it said nothing'}")
    return found[1]


def reason_in(answer: str) -> str:
    """What sbatch says, in one line."""
    return re.sub(r"; sbatch: (error: )?", "; ", "; ".join(line.strip() for line in answer.strip().splitlines()))


def states_in(answer: str) -> dict[str, str]:
    """{job id: state} from `squeue --noheader --states=all --format='%i %T %r'`."""
    return {job_id: state for job_id, (state, _) in _rows(answer).items()}


def stuck_in(answer: str) -> dict[str, list[str]]:
    """{reason: ids of pending jobs} from the same, for reasons that will not pass by themselves."""
    found: dict[str, list[str]] = {}
    for job_id, (state, reason) in _rows(answer).items():
        if state == "PENDING" and reason and not WAITS.fullmatch(reason):
            found.setdefault(reason, []).append(job_id)
    return found


def _rows(answer: str) -> dict[str, tuple[str, str]]:
    """{job id: (state, reason)}."""
    rows = (line.split(maxsplit=2) for line in answer.splitlines())
    return {row[0]: (row[1], " ".join(row[2:])) for row in rows if len(row) > 1 and row[0].isdigit()}


def is_transient(message: str) -> bool:
    """Whether the same sbatch may succeed later. What is not recognised is not transient."""
    return bool(TRANSIENT.search(message))


def is_limit(message: str) -> bool:
    """Whether the same sbatch will succeed when other jobs of this user have ended."""
    return bool(LIMIT.search(message))


def is_refused(message: str) -> bool:
    """Whether the same sbatch will never succeed."""
    return bool(REFUSED.search(message)) and not is_transient(message)
