"""Check one rank: what launchers start for `warmscale doctor`, where they start train.py for a run."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from train import write_output_to
from warmscale.cluster.discovery import DiscoveryError, Rank, discover
from warmscale.diagnosis.on_nodes import CheckFolder
from warmscale.diagnosis.on_rank import Facts, meet
from warmscale.diagnosis.some_steps import SomeSteps, train
from warmscale.records import read_json
from warmscale.training.exits import exit_as
from warmscale.training.signals import STOP_SIGNALS, end_with_launcher


def main() -> int:
    """Parse the command line and check; exit code 0 when all went well."""
    end_with_launcher()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phase", required=True, choices=["meet", "train"], help="what to check")
    parser.add_argument("--folder", required=True, type=Path, help="of the check, with check.json")
    parser.add_argument("--run", help="run id")
    parser.add_argument("--index", type=Path, help="index of the data set")
    parser.add_argument("--root", type=Path, help="folder of the data set")
    parser.add_argument("--settings", type=json.loads, help="placement, as JSON")
    arguments = parser.parse_args()
    folder = CheckFolder(arguments.folder)
    try:
        rank = discover(os.environ)
    except DiscoveryError as error:
        Facts(folder).note("discovery", error=str(error))
        return 1
    write_output_to(folder.state(arguments.phase).log(rank.rank))
    check = read_json(folder.check)
    if check["settings"]["device"] == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"  # DeepSpeed chooses when it is imported
    if arguments.phase == "meet":
        return meet(folder, rank, check["settings"]["device"])
    return train_steps(folder, rank, check, arguments)


def train_steps(folder: CheckFolder, rank: Rank, check: dict, given: argparse.Namespace) -> int:
    """Train as many steps as check.json says."""
    stop = SomeSteps(steps=check["steps"], seconds=check["steps_sec"], file=folder.state("train").stop)
    for number in STOP_SIGNALS:
        signal.signal(number, stop.request)
    return train(folder, rank, stop, run_id=given.run, settings=given.settings, index=given.index, root=given.root)


if __name__ == "__main__":
    exit_as(main)
