"""The closing lines that LSF puts behind a job's output."""

from __future__ import annotations

import time

from .environment import user
from .job import REASONS, SUBMIT_HOST, Job, exec_host
from .store import Store

LINE = "-" * 60


def closing_report(store: Store, job: Job) -> str:
    """Of a job that ended: its exit code, reason and times are those of the last run."""
    settings = store.settings
    seconds = (job.ended or 0) - (job.started or 0)
    where = exec_host(job.hosts).replace(":", ">\n                            <")
    return f"""
{LINE}
Sender: LSF System <lsfadmin@{job.hosts[0]}>
Subject: Job {job.id}: <{job.name}> in cluster <{settings.cluster}> {"Exited" if job.exit_code else "Done"}

Job <{job.name}> was submitted from host <{SUBMIT_HOST}> by user <{user()}> in cluster <{settings.cluster}> \
at {_date(job.submitted)}
Job was executed on host(s) <{where}>, in queue <{job.request.queue}>, as user <{user()}> \
in cluster <{settings.cluster}> at {_date(job.started)}
<{job.request.cwd}> was used as the working directory.
Started at {_date(job.started)}
Terminated at {_date(job.ended)}
Results reported at {_date(time.time())}

Your job looked like:

{LINE}
# LSBATCH: User input
{job.request.command}
{LINE}

{outcome(job)}

Resource usage summary:

    Run time :                                   {seconds:.0f} sec.
    Turnaround time :                            {(job.ended or 0) - job.submitted:.0f} sec.

The output (if any) is above this job summary.

"""


def outcome(job: Job) -> str:
    """Why and how a job ended."""
    if not job.exit_code:
        return "Successfully completed."
    reason = f"{job.reason}: {REASONS[job.reason]}.\n" if job.reason else ""
    return f"{reason}Exited with exit code {job.exit_code}."


def _date(seconds: float | None) -> str:
    return time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(seconds))
