"""What a job's first host has for the Snakemake in it: a cache, the scheduler's commands, the user's quota.

`look` runs in the job, the lines are made where the doctor was typed. Standard library only.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cluster.ask import SchedulerSilentError
from ..cluster.batch import SPEECH
from ..cluster.walltime import job_id
from .findings import Lines, fail, ok, warn
from .quota import quotas_on
from .schedulers import COMMANDS
from .storage import why_not_writable

ANSWER_SEC = 10.0


def look(scheduler: str, results: Path) -> dict[str, Any]:
    """Facts of this host; `results` is a folder on the file system of the results."""
    cache = snakemake_cache(os.environ)
    return {
        "host": socket.gethostname(),
        "in_job": job_id(os.environ) is not None,
        "cache": str(cache),
        "cache_error": why_not_writable(cache),
        "no_submission": why_no_submission(scheduler) if scheduler in COMMANDS else None,
        "quotas": [dataclasses.asdict(found) for found in quotas_on(results)],
    }


def snakemake_cache(environment: Mapping[str, str]) -> Path:
    """Folder without which no Snakemake starts."""
    return Path(environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "snakemake"


def why_no_submission(scheduler: str) -> str | None:
    """Why nothing can be submitted from this host; None where it can."""
    if missing := [name for name in COMMANDS[scheduler] if not shutil.which(name)]:
        return f"{', '.join(missing)} not on the PATH"
    try:
        SPEECH[scheduler].own_states(ANSWER_SEC)
    except SchedulerSilentError as error:
        return str(error)
    return None


def first_host_lines(found: Mapping[str, Any], scheduler: str) -> Lines:
    """Lines from what a job noted of its first host."""
    host = found["host"]
    if found["cache_error"]:
        yield fail(
            "cache",
            f"{found['cache']} cannot be written on {host} ({found['cache_error']}), and Snakemake does not start "
            "there without it; `export XDG_CACHE_HOME=FOLDER`, one that all nodes can write to, before the command",
        )
    else:
        yield ok("cache", f"{found['cache']} can be written on {host}")
    if scheduler not in COMMANDS or not found["in_job"]:
        return
    if found["no_submission"]:
        yield warn(
            "submit",
            f"{found['no_submission']} on {host}, so a job cannot submit jobs, as `warmscale submit` has to; ask the "
            "site whether nodes may submit, or type snakemake in tmux on a login node",
        )
    else:
        yield ok("submit", f"jobs can be submitted from {host}, so `warmscale submit` can be used")
