"""Carry out one run on this machine: start its ranks, survive them, publish what came out."""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.cluster.launchers import LaunchPlan
from warmscale.cluster.walltime import job_ends
from warmscale.records import StateFolder
from warmscale.training.launch import Launch, carry_out
from warmscale.training.signals import stop_on_signals


def main() -> int:
    """Parse the command line and carry out the run."""
    stop = stop_on_signals()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, help="run id")
    parser.add_argument("--content", required=True, type=json.loads, help="content of the run, as JSON")
    parser.add_argument("--state", required=True, type=Path, help="private folder of the run")
    parser.add_argument("--published", required=True, type=Path, help="folder of the run's published files")
    parser.add_argument("--index", required=True, type=Path, help="index of the data set")
    parser.add_argument("--root", required=True, type=Path, help="folder of the data set")
    parser.add_argument("--plan", required=True, type=read_plan, help="how the ranks are started, as JSON")
    parser.add_argument("--settings", required=True, type=json.loads, help="what the trainer is told, as JSON")
    parser.add_argument("--walltime-min", type=float, default=0, help="of the batch job that this is in; 0: none")
    parser.add_argument("--margin-sec", type=float, default=120, help="to have paused before the walltime")
    given = vars(parser.parse_args())
    names = {"run_id": given.pop("run"), "state": StateFolder(given.pop("state"))}
    ends = job_ends(os.environ, given.pop("walltime_min"))
    try:
        return carry_out(Launch(**names, **given, ends=ends), stop)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1


def read_plan(text: str) -> LaunchPlan:
    """A plan from its JSON."""
    return LaunchPlan.from_json(json.loads(text))


if __name__ == "__main__":
    sys.exit(main())
