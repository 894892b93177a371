"""When the batch job that this process runs in will be killed. Standard library only.

In their environment LSF tells jobs neither their limit nor when they began, and Slurm only since 23: the limit is what
was asked for, and the job began when the oldest of our ancestors did that has the job's id in its environment. LSF is
asked besides: unless its ABS_RUNLIMIT is set, the minutes of -W are those of a host of average speed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from .ask import answer

JOB_IDS = ("LSB_JOBID", "SLURM_JOB_ID")
"""Variables in which a scheduler tells a job its id."""
ASKING_SEC = 20.0
"""For LSF to say how much time is left; on many sites compute nodes cannot ask."""


def job_id(environment: Mapping[str, str]) -> str | None:
    """Id of the batch job that an environment belongs to; None outside of one."""
    return next((environment[name] for name in JOB_IDS if environment.get(name)), None)


def node_name(environment: Mapping[str, str]) -> str | None:
    """What the scheduler calls the host that a job's own command runs on; None outside of a job."""
    if slurm := environment.get("SLURMD_NODENAME"):
        return slurm
    return next(iter(environment.get("LSB_HOSTS", environment.get("LSB_MCPU_HOSTS", "")).split()), None)


def job_ends(environment: Mapping[str, str], walltime_min: float | None) -> float | None:
    """Unix time at which the scheduler kills this job; None outside of a job, or where it has no limit."""
    if told := environment.get("SLURM_JOB_END_TIME"):
        return float(told)
    if not walltime_min or job_id(environment) is None:
        return None
    asked, left = _job_began(environment) + 60 * walltime_min, _minutes_left(environment)
    if left is None or asked < time.time() + 60 * (left + 1):  # whole minutes are told
        return asked
    return time.time() + 60 * left


def _minutes_left(environment: Mapping[str, str]) -> int | None:
    """Minutes until LSF ends this job; None where it does not say, or the scheduler is another one."""
    job = environment.get("LSB_JOBID")
    _, said = answer(["bjobs", "-noheader", "-o", "time_left", job], timeout_sec=ASKING_SEC) if job else (0, "")
    found = re.search(r"^(\d+):(\d+)(?::\d+)? *L\s*$", said, re.MULTILINE)  # X and E: of an estimate, which ends no job
    return 60 * int(found[1]) + int(found[2]) if found else None


def _job_began(environment: Mapping[str, str]) -> float:
    name = next(name for name in JOB_IDS if environment.get(name))
    mark = f"{name}={environment[name]}".encode()
    pid, began = os.getpid(), _start_time(os.getpid())
    while (parent := _parent(pid)) and mark in _environment_of(parent):
        pid, began = parent, _start_time(parent)
    return began


def _parent(pid: int) -> int:
    """0 for the first process, and where /proc does not tell."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # another user's: the scheduler's own
        return []


def _start_time(pid: int) -> float:
    """Unix time at which a process began."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    booted = next(line.split()[1] for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    return int(booted) + ticks / os.sysconf("SC_CLK_TCK")
