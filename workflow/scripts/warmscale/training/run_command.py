"""The command line of the program that carries one run out. Standard library only."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ..cluster.launchers import LaunchPlan
from ..cluster.walltime import job_ends
from ..records import StateFolder
from .launch import Launch, carry_out
from .processes import Ranks
from .signals import Stop


def carry_out_as_told(stop: Stop, ranks_of: Callable[[LaunchPlan], Ranks | None] = lambda plan: None) -> int:
    """Parse the command line and carry out the run; `ranks_of` knows of ranks that need not be started cold."""
    parser = argparse.ArgumentParser(description="Carry out one run on this machine.")
    parser.add_argument("--run", required=True, help="run id")
    parser.add_argument("--content", required=True, type=json.loads, help="content of the run, as JSON")
    parser.add_argument("--state", required=True, type=Path, help="private folder of the run")
    parser.add_argument("--published", required=True, type=Path, help="folder of the run's published files")
    parser.add_argument("--index", required=True, type=Path, help="index of the data set")
    parser.add_argument("--root", required=True, type=Path, help="folder of the data set")
    parser.add_argument("--plan", required=True, type=_read_plan, help="how the ranks are started, as JSON")
    parser.add_argument("--settings", required=True, type=json.loads, help="what the trainer is told, as JSON")
    parser.add_argument("--walltime-min", type=float, default=0, help="of the batch job that this is in; 0: none")
    parser.add_argument("--margin-sec", type=float, default=120, help="to have paused before the walltime")
    given = vars(parser.parse_args())
    names = {"run_id": given.pop("run"), "state": StateFolder(given.pop("state"))}
    ends = job_ends(os.environ, given.pop("walltime_min"))
    launch = Launch(**names, **given, ends=ends)
    ranks = ranks_of(launch.plan)  # before this process has a thread
    try:
        return carry_out(launch, stop, ranks)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1


def _read_plan(text: str) -> LaunchPlan:
    return LaunchPlan.from_json(json.loads(text))
