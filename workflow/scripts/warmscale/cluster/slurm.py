"""Slurm: what its Snakemake plugin is asked for, and what sbatch and squeue answer. Standard library only."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .ask import COMMAND_TIMEOUT_SEC, RefusedError, answer, chunks, silence

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

DONE = frozenset({"COMPLETED"})
"""Those of them that tell of success."""
WAITING = frozenset({"PENDING"})
"""Those of jobs that have not begun."""
UNREACHED: frozenset[str] = frozenset()
"""Slurm ends the jobs of a host that it cannot reach."""
CANCEL = "scancel"
LATE_SEC = 5.0
"""A new job may be known so much later."""

TRANSIENT = re.compile(
    r"unable to contact slurm controller|connection (refused|timed out|reset)|socket timed out|zero bytes"
    r"|communication connection failure|slurm_receive_msg|temporarily un|not responding|transport endpoint"
    r"|slurmctld.*(down|backup)|unexpected message|protocol authentication|munge"
    r"|did not answer|MaxSubmit|QOSGrpSubmit|too many (pending|jobs)|retrying|try again",
    re.IGNORECASE,
)
"""What sbatch says when the same call may succeed later."""
LOST = re.compile(
    r"timed out|zero bytes|slurm_receive_msg|connection reset|transport endpoint|communication connection failure"
    r"|unexpected message|did not answer",
    re.IGNORECASE,
)
"""What it says when the job may have been taken all the same."""
LIMIT = re.compile(r"MaxSubmit|QOSGrpSubmit|too many (pending|jobs)", re.IGNORECASE)
"""What it says when so many jobs wait that it takes no more: it will, when one of them has ended."""
REFUSED = re.compile(r"invalid|unrecognized|not (available|permitted)|denied|violates|exceeds", re.IGNORECASE)
"""What it says when the same call will never succeed."""
WAITS = re.compile(
    r"None|Priority|Resources|BeginTime|Dependency|Licenses|Reservation|Cleaning|Prolog|FrontEndDown|NodeDown"
    r"|ReqNodeNotAvail.*|.*Max(Jobs|Submit).*|.*Grp.*|JobArrayTaskLimit|SchedDefer|BurstBuffer.*"
)
"""Why a job is pending when that will pass without its user."""


def sbatch_words(
    site: Site,
    *,
    where: Where,
    name: str,
    log: str | Path,
    cwd: str | Path,
    walltime_min: int,
    command: str,
    avoid: Sequence[str] = (),
    alone: bool = False,
) -> list[str]:
    """The words of a submission, for a call without a shell; `command` is for the shell of the first node.

    `avoid`: nodes that the job must not get; `alone`: it gets whole nodes.
    """
    share = site.share(where, alone=alone)
    # append: a job that is requeued would else begin its log again
    words = ["sbatch", "--parsable", "--job-name", name, "--output", str(log), "--open-mode=append"]
    words += ["--export=ALL", "-D", str(cwd)]
    asked = {
        "--account": site.project,
        "--partition": site.queue,
        "--qos": site.qos,
        "--constraint": site.constraint,
        "--time": walltime_min,
        "--nodes": where.nodes,
        "--ntasks-per-node": where.ranks_per_node,
        "--cpus-per-task": max(1, share.cores // where.ranks_per_node),
        "--gres": share.gpus and f"gpu:{share.gpus}",
        "--mem": share.memory_gb and f"{share.memory_gb}G",
        "--exclude": ",".join(avoid),
    }
    words += [f"{option}={value}" for option, value in asked.items() if value]
    return [*words, *site.extra, "--wrap", command]


def batch_script(command: str, stop: Path) -> str:
    """Lines for sh: the command, during which a request to stop that reaches the batch shell becomes the file `stop`.

    Where Slurm ends a job it sends SIGTERM, then SIGKILL after KillWait; mostly to the first process of each step only
    (proctrack/cgroup), and here that is this shell. With a session of its own the command is spared elsewhere too
    (proctrack/pgid): bash, which Snakemake starts it by, would end at once, and the job with it.
    """
    asked = shlex.quote(f"touch {shlex.quote(str(stop))}")
    wait = "while wait $job; code=$?; kill -0 $job 2>/dev/null; do :; done"  # a signal interrupts `wait`
    fresh = f"rm -f {shlex.quote(str(stop))}"
    return f"{fresh}\ntrap {asked} TERM USR1 USR2\nsetsid sh -c {shlex.quote(command)} &\njob=$!\n{wait}\nexit $code"


def job_id_in(said: str) -> str:
    """Id of the job from `sbatch --parsable` (`id` or `id;cluster`); raises RefusedError with what it said instead."""
    last = said.strip().rpartition("\n")[2]
    found = re.fullmatch(r"(\d+)(;[\w-]+)?", last.strip()) or re.search(r"Submitted batch job (\d+)", said)
    if not found:
        raise RefusedError(f"sbatch names no job: {' '.join(said.split()) or 'it said nothing'}")
    return found[1]


def refusal_in(said: str) -> str:
    """What sbatch says, in one line."""
    return re.sub(r"; sbatch: (error: )?", "; ", "; ".join(line.strip() for line in said.strip().splitlines()))


def squeue(job_ids: Sequence[str], timeout_sec: float = COMMAND_TIMEOUT_SEC) -> str:
    """What squeue says of these jobs, which it knows for minutes after their end, also where there is no accounting.

    Raises SchedulerSilentError.
    """
    said = ""
    for chunk in chunks(job_ids):
        words = ["squeue", "--noheader", "--states=all", "--format=%i %T %r", f"--jobs={','.join(chunk)}"]
        code, rows = answer(words, timeout_sec=timeout_sec)
        if code and "Invalid job id" not in rows:
            raise silence(words, code, rows)
        said += rows
    return said


def states(job_ids: Sequence[str], timeout_sec: float = COMMAND_TIMEOUT_SEC) -> dict[str, str]:
    """{job id: state} of the jobs that Slurm knows; raises SchedulerSilentError."""
    return states_in(squeue(job_ids, timeout_sec))


def own_states(timeout_sec: float) -> dict[str, str]:
    """The same of all jobs of this user."""
    words = ["squeue", "--noheader", "--me", "--format=%i %T %r"]
    code, rows = answer(words, timeout_sec=timeout_sec)
    if code:
        raise silence(words, code, rows)
    return states_in(rows)


def states_in(said: str) -> dict[str, str]:
    """{job id: state} from `squeue --noheader --states=all --format='%i %T %r'`."""
    return {job_id: state for job_id, (state, _) in _rows(said).items()}


def stuck_in(said: str) -> dict[str, list[str]]:
    """{reason: ids of pending jobs} from the same, for reasons that will not pass by themselves."""
    found: dict[str, list[str]] = {}
    for job_id, (state, reason) in _rows(said).items():
        if state == "PENDING" and reason and not WAITS.fullmatch(reason):
            found.setdefault(reason, []).append(job_id)
    return found


def _rows(said: str) -> dict[str, tuple[str, str]]:
    """{job id: (state, reason)}."""
    rows = (line.split(maxsplit=2) for line in said.splitlines())
    return {row[0]: (row[1], " ".join(row[2:])) for row in rows if len(row) > 1 and row[0].isdigit()}


def is_transient(message: str) -> bool:
    """Whether the same sbatch may succeed later. What is not recognised is not transient."""
    return bool(TRANSIENT.search(message))


def is_lost(message: str) -> bool:
    """Whether sbatch may have submitted the job without hearing of it."""
    return bool(LOST.search(message))


def is_limit(message: str) -> bool:
    """Whether the same sbatch will succeed when other jobs of this user have ended."""
    return bool(LIMIT.search(message))


def is_refused(message: str) -> bool:
    """Whether the same sbatch will never succeed."""
    return bool(REFUSED.search(message)) and not is_transient(message) and not is_limit(message)
