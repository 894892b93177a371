"""The job of the check, on its first host: starts ranks as a run does, once to meet and once to train some steps.

Everything it has to know is in check.json of its folder, all it finds goes to files there. Standard library only.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cluster.launchers import LaunchError, LaunchPlan
from ..cluster.lsf import hosts_of_job
from ..cluster.walltime import job_ends, job_id
from ..records import StateFolder, read_json, write_json
from ..training.processes import run_ranks
from ..training.signals import Stop
from . import first_host

RANK_PROGRAM = Path(__file__).resolve().parents[2] / "check_rank.py"
MARGIN_SEC = 30.0
"""To be over so long before the job's walltime."""


@dataclasses.dataclass(frozen=True)
class CheckFolder:
    """The files of one check."""

    path: Path

    @property
    def check(self) -> Path:
        """What is to be checked, written before the job is submitted."""
        return self.path / "check.json"

    @property
    def parent(self) -> Path:
        """Where the job runs, written as soon as it does."""
        return self.path / "parent.json"

    @property
    def first_host(self) -> Path:
        """What the host of the job's own command has for it."""
        return self.path / "first_host.json"

    @property
    def done(self) -> Path:
        """There when the job has nothing more to tell."""
        return self.path / "done.json"

    @property
    def started(self) -> Path:
        """Folder with a file for each shell that the launcher started: its host and process."""
        return self.path / "started"

    @property
    def ranks(self) -> Path:
        """Folder with a file for each process that our program became."""
        return self.path / "ranks"

    def state(self, phase: str) -> StateFolder:
        """State folder of a phase, meet or train."""
        return StateFolder(self.path / phase)

    def end(self, phase: str) -> Path:
        """How the processes of a phase ended."""
        return self.path / f"{phase}.json"


def check_nodes(path: Path) -> int:
    """Carry out the check of a folder on this host and those that belong to it."""
    folder = CheckFolder(path)
    check = read_json(folder.check)
    if check is None:
        print(f"{folder.check} is not there on {socket.gethostname()}: is that file system mounted on this node?")
        return 1
    plan = LaunchPlan.from_json(check["plan"])
    facts = {"host": socket.gethostname(), "pid": os.getpid(), "job_id": job_id(os.environ), "began": time.time()}
    write_json(folder.parent, {**facts, "hosts": hosts_of_job(os.environ)})
    write_json(folder.first_host, first_host.look(check["scheduler"], folder.path))
    folder.started.mkdir(exist_ok=True)
    # each shell leaves its name: a host on which none starts is what launchers are silent about
    mark = f'[ ! -f "$0" ] || : > {shlex.quote(str(folder.started))}/"$HOSTNAME-$$"'
    met = _phase(folder, "meet", check, dataclasses.replace(plan, setup=(*plan.setup, mark)))
    if met and check["index"] and _all_met(folder, plan):
        _phase(folder, "train", check, plan)
        checkpoints = folder.state("train").checkpoints
        newest = checkpoints / (read_json(checkpoints / "latest.json") or {"tag": "none"})["tag"]
        written = sum(file.stat().st_size for file in newest.rglob("*") if file.is_file())
        write_json(folder.path / "checkpoint.json", {"bytes": written})
        shutil.rmtree(checkpoints, ignore_errors=True)
    write_json(folder.done, {"ended": time.time()})
    return 0


def _all_met(folder: CheckFolder, plan: LaunchPlan) -> bool:
    """Each rank is one of the same group: else several would train over each other."""
    facts = [read_json(path) for path in folder.ranks.glob("[!.]*.json")]
    numbers = sorted(fact["rank"] for fact in facts if fact["stage"] == "done" and fact["world_size"] == plan.ranks)
    return numbers == list(range(plan.ranks))


def _phase(folder: CheckFolder, phase: str, check: Mapping[str, Any], plan: LaunchPlan) -> bool:
    """Start the ranks for one thing, note how they ended, and return whether all did well."""
    words = [str(RANK_PROGRAM), "--phase", phase, "--folder", str(folder.path)]
    if phase == "train":
        words += ["--index", check["index"], "--root", check["root"], "--run", check["run_id"]]
        words += ["--settings", json.dumps(check["settings"])]
    ends = job_ends(os.environ, check["walltime_min"])
    kill_at = min(time.time() + check[f"{phase}_sec"], ends - MARGIN_SEC if ends else float("inf"))
    began, end = time.time(), {"codes": [], "died": {}, "timed_out": False, "error": None}
    try:
        exited = run_ranks(plan, words, folder.state(phase), stop=Stop(), kill_at=kill_at)
        end["error"] = (read_json(folder.state(phase).failure) or {}).get("failure") if not exited.codes else None
        end |= {"codes": list(exited.codes), "died": dict(exited.died), "timed_out": exited.timed_out}
    except LaunchError as error:
        end["error"] = str(error)
    except OSError as error:
        end["error"] = f"{error.filename}: {error.strerror}; is it on the PATH of {socket.gethostname()}?"
    write_json(folder.end(phase), {**end, "sec": time.time() - began})
    return not end["error"] and not any(end["codes"])
