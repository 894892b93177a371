"""What a job finds in its environment: the submission's, as -env says, and LSF's own variables."""

from __future__ import annotations

import getpass
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from .job import SUBMIT_HOST, Job, host_counts
from .processes import LAUNCHER, SUPERVISOR
from .store import Store

TRAPPED = "15 10 12 2 1"
"""Signals that the job file's shell survives, so that the command's own exit code counts: TERM USR1 USR2 INT HUP."""


def submission_environment(option: str, environment: Mapping[str, str]) -> dict[str, str]:
    """-env "all", "none", "all, ~A, B=1" or "A, B": without the variables of a job that bsub itself runs in."""
    outside = {
        name: value
        for name, value in environment.items()
        if not name.startswith(("LSB_", "LS_")) and name not in (LAUNCHER, SUPERVISOR)
    }
    entries = [entry.strip() for entry in option.split(",")]
    chosen = dict(outside) if "all" in entries else {"PATH": "/usr/bin:/bin", "HOME": outside.get("HOME", "/")}
    for entry in entries:
        if entry.startswith("~"):
            chosen.pop(entry[1:], None)
        elif "=" in entry:
            name, _, value = entry.partition("=")
            chosen[name] = value
        elif entry in outside:
            chosen[entry] = outside[entry]
    return chosen


def job_environment(store: Store, job: Job, submitted: Mapping[str, str]) -> dict[str, str]:
    """Of a run of a job on its hosts. Writes the host file."""
    folder = store.job_folder(job.id)
    host_file = folder / "hostfile"
    host_file.write_text("".join(f"{host}\n" for host in job.hosts))
    return {
        **submitted,
        "PATH": _with_commands(store.folder / "bin", submitted.get("PATH", "/usr/bin:/bin")),
        "LSF_DOUBLE": str(store.folder),
        "LSF_ENVDIR": str(store.folder / "conf"),
        "LSF_BINDIR": str(store.folder / "bin"),
        "LSB_JOBID": str(job.id),
        "LSB_BATCH_JID": str(job.id),
        "LSB_JOBINDEX": "0",
        "LSB_JOBNAME": job.name,
        "LSB_QUEUE": job.request.queue,
        "LSB_PROJECT_NAME": job.request.project,
        "LSB_HOSTS": " ".join(job.hosts),
        "LSB_MCPU_HOSTS": " ".join(f"{host} {count}" for host, count in host_counts(job.hosts).items()),
        "LSB_DJOB_HOSTFILE": str(host_file),
        "LSB_DJOB_NUMPROC": str(len(job.hosts)),
        "LSB_MAX_NUM_PROCESSORS": str(len(job.hosts)),
        "LSB_SUB_HOST": SUBMIT_HOST,
        "LSB_SUB_USER": user(),
        "LSB_JOBFILENAME": str(folder / "jobfile"),
        "LSB_OUTPUTFILE": job.log,
        "LSB_ERRORFILE": str(error_file(job) or ""),
        "LSB_TRAPSIGS": f"trap # {TRAPPED}",
        "LS_SUBCWD": job.request.submitted_from,
        "LS_EXEC_T": "START",
        "LSF_DOUBLE_HOST": job.hosts[0],
    }


def write_job_file(store: Store, job: Job) -> Path:
    """The shell script that LSF makes of a command: it outlives signals, and ends with the command's exit code."""
    folder = store.job_folder(job.id)
    command = job.request.command
    if command.startswith("#!") and "\n" in command:
        script = folder / "script"
        script.write_text(command)
        command = f"{command.splitlines()[0][2:].strip()} {shlex.quote(str(script))}"
    path = folder / "jobfile"
    path.write_text(f"$LSB_TRAPSIGS\n# LSBATCH: User input\n{command}\nExitStat=$?\nwait\nexit $ExitStat\n")
    return path


def output_file(store: Store, job: Job) -> Path:
    """Of standard output; without -o the mail."""
    return _path(job, job.request.out) or store.job_folder(job.id) / "mail"


def error_file(job: Job) -> Path | None:
    """Of standard error; None: where standard output goes."""
    return _path(job, job.request.err)


def user() -> str:
    """Whoever runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _path(job: Job, name: str) -> Path | None:
    return Path(job.request.cwd, name.replace("%J", str(job.id)).replace("%I", "0")) if name else None


def _with_commands(commands: Path, path: str) -> str:
    return path if str(commands) in path.split(":") else f"{commands}:{path}"
