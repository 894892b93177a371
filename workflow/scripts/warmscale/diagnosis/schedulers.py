"""The batch system as far as it can be asked without a submission, and the launcher. Standard library only."""

from __future__ import annotations

import getpass
import re
import shutil
from typing import TYPE_CHECKING

from ..cluster.ask import SchedulerSilentError
from ..cluster.batch import SPEECH
from .findings import ANSWER_SEC, Lines, ask, counted, fail, first_line, ok, warn

if TYPE_CHECKING:
    from ..cluster.site import Site

COMMANDS = {"lsf": ("bsub", "bjobs", "bkill"), "slurm": ("sbatch", "squeue", "scancel")}
VERSION = {"lsf": ("bsub", "-V"), "slurm": ("sbatch", "--version")}


def scheduler(site: Site) -> Lines:
    """Lines about a site's batch system; nothing where there is none."""
    if site.scheduler == "local":
        return
    missing = [name for name in COMMANDS[site.scheduler] if not shutil.which(name)]
    if missing:
        load = "source LSF's profile.lsf" if site.scheduler == "lsf" else "load Slurm's module"
        yield fail(
            "scheduler", f"{', '.join(missing)}: not on the PATH of this host; {load}, or type this on a login node"
        )
        return
    yield from _answers(site.scheduler)
    yield from _lsf_queue(site) if site.scheduler == "lsf" else _slurm_partition(site)


def _answers(kind: str) -> Lines:
    speech, version = SPEECH[kind], ask(VERSION[kind])
    try:
        states = speech.own_states(ANSWER_SEC)
    except SchedulerSilentError as error:
        yield fail("scheduler", f"{error}; ask the site whether {kind.upper()} is up")
        return
    number = sum(state not in speech.OVER for state in states.values())
    said = first_line(version.text) if version.code == 0 and version.text else "its version is not known"
    yield ok("scheduler", f"{said}; answers, you have {counted(number, 'job')} there")


def _lsf_queue(site: Site) -> Lines:
    if not shutil.which("bqueues"):
        if site.queue:
            yield warn("queue", f"{site.queue}: not looked up, bqueues is not on the PATH; the job tells")
        return
    answer = ask(["bqueues", "-l", *([site.queue] if site.queue else [])])
    if answer.code or "No such queue" in answer.text:
        yield fail("queue", f"queue: {site.queue}: {first_line(answer.text)}; `bqueues` lists those that there are")
        return
    limit = run_limit_min(answer.text) if site.queue else None
    yield from _limit(site, site.queue or "the default one", limit)
    status = re.search(r"^ *\S+ +-?\d+ +\d+ +(\w+:\w+)", answer.text, re.MULTILINE)
    if site.queue and status and not status[1].startswith("Open:Active"):
        yield warn("queue", f"{site.queue} is {status[1]}: jobs wait there")


def run_limit_min(text: str) -> float | None:
    """The hard run limit in `bqueues -l`; None where it has none."""
    hard = text.partition("MAXIMUM LIMITS:")[2] or text
    found = re.search(r"RUNLIMIT\s*\n\s*([\d.]+) min", hard)
    return float(found[1]) if found else None


def _slurm_partition(site: Site) -> Lines:
    words = ["sinfo", "--noheader", *(["--partition", site.queue] if site.queue else []), "--format=%P|%a|%l|%D"]
    answer = ask(words)
    rows = [line.split("|") for line in answer.text.splitlines() if line.count("|") == 3]
    rows = rows if site.queue else [row for row in rows if row[0].endswith("*")]
    if answer.code or not rows:
        said = f": {first_line(answer.text)}" if answer.code else ""
        named = f"queue: {site.queue} is no partition" if site.queue else "queue: null, and no partition is the default"
        yield fail("queue", f"{named}{said}; `sinfo` lists those that there are")
        return
    name, available = rows[0][0].rstrip("*"), rows[0][1]
    if available != "up":
        yield fail("queue", f"partition {name} is {available}; choose another one under `queue` in site.yaml")
    nodes = sum(int(row[3]) for row in rows)
    yield from _limit(site, f"{name}, {counted(nodes, 'node')}", slurm_minutes(rows[0][2]))
    if site.project and shutil.which("sacctmgr"):
        yield from _account(site.project)


def slurm_minutes(limit: str) -> float | None:
    """Minutes of `1-00:00:00`, `30:00` or `60`; None for infinite."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", limit):
        return None
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    # minutes, minutes:seconds, hours:minutes:seconds; with days the first one is always hours
    if len(parts) == 3 or days:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60
    return parts[0] + (parts[1] / 60 if parts[1:] else 0)


def _limit(site: Site, name: str, limit_min: float | None) -> Lines:
    longest = max((limit.minutes for limit in site.walltime), default=0)
    if limit_min is not None and longest > limit_min:
        yield fail(
            "queue", f"{name}: jobs may run {limit_min:g} min, and walltime in site.yaml asks for {longest}: lower it"
        )
    else:
        known = f"jobs may run {limit_min:g} min" if limit_min is not None else "its limit is not known here"
        yield ok("queue", f"{name}, {known}")


def _account(project: str) -> Lines:
    answer = ask(["sacctmgr", "-nP", "show", "assoc", f"user={getpass.getuser()}", "format=account"])
    accounts = sorted(set(answer.text.split()))
    if answer.code or not accounts:
        yield warn("project", f"{project}: not looked up, sacctmgr says: {first_line(answer.text)}")
    elif project not in accounts:
        yield fail("project", f"project: {project} is no account of yours; you have {', '.join(accounts)}")
    else:
        yield ok("project", project)


def launcher(site: Site) -> Lines:
    """Whether the launcher can be found after the site's `setup`, on this host."""
    shell = "\n".join(["set -e", *site.setup, f"command -v {site.launcher if site.launcher != 'local' else 'bash'}"])
    answer = ask(["bash", "-c", shell], 60)
    last = answer.text.rpartition("\n")[2]
    if site.launcher == "local":
        if answer.code:
            yield fail("launcher", f"setup: {last}; mend `setup` in site.yaml")
        else:
            yield ok("launcher", "local, no launcher: ranks are started on one node only")
    elif answer.code:
        said = f", whose setup says: {last}" if last else ""
        how = "add it to the PATH by a line under `setup` in site.yaml"
        yield warn("launcher", f"{site.launcher} is not on the PATH of this host{said}; if not on nodes either, {how}")
    else:
        yield ok("launcher", f"{site.launcher}, {last}")
