"""Train one run on one rank: the only program that launchers start. The content is in the state folder."""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.cluster.discovery import DiscoveryError, Rank, discover, is_launched
from warmscale.cluster.hosts import own_host
from warmscale.records import StateFolder, read_json, write_first
from warmscale.training.exits import exit_as
from warmscale.training.signals import end_when_replaced, end_with_launcher, stop_on_file, stop_on_signals

ATTEMPT_SEC = float(os.environ.get("WARMSCALE_ATTEMPT_SEC", 60.0))
"""For a shared file system to show what the parent wrote on another host."""


def main() -> int:
    """Parse the command line and train; exit code 0 with an outcome, 75 when paused, 1 on failure."""
    stop = stop_on_signals()
    end_with_launcher()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, help="run id")
    parser.add_argument("--state", required=True, type=Path, help="private folder of the run, with content.json")
    parser.add_argument("--index", required=True, type=Path, help="index of the data set")
    parser.add_argument("--root", required=True, type=Path, help="folder of the data set")
    parser.add_argument("--settings", required=True, type=json.loads, help="placement, as JSON")
    arguments = parser.parse_args()
    try:
        state, rank = StateFolder(arguments.state), discover(os.environ)
    except DiscoveryError as error:
        sys.exit(str(error))
    write_output_to(state.log(rank.rank))
    attempt = attempt_of(state, rank) if is_launched(os.environ) else {"number": 0}
    lease = Path(attempt["lease"]) if "lease" in attempt else None
    stop.deadline.at = attempt.get("deadline")
    if rank.is_first and lease:
        stop_on_file(stop, state.stop, lease)
    elif lease:
        end_when_replaced(lease)

    if attempt.get("gpus") and arguments.settings["device"] == "auto":
        arguments.settings["device"] = "cuda"  # a node whose GPUs have vanished is no reason to train on its CPUs
    if arguments.settings["device"] == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"  # DeepSpeed chooses when it is imported
    os.environ["LOCAL_RANK"] = str(rank.local_rank)  # DeepSpeed compares it with mpirun's
    from warmscale.training.rank_main import train_rank

    place = {"state": state, "lease": lease, "index": arguments.index, "root": arguments.root}
    return train_rank(arguments.run, arguments.settings, stop, rank=rank, attempt=attempt["number"], **place)


def attempt_of(state: StateFolder, rank: Rank) -> Mapping[str, Any]:
    """What the parent wrote before it started the ranks; where it does not appear, leaves the reason and exits."""
    give_up = time.monotonic() + ATTEMPT_SEC
    while (attempt := read_json(state.attempt)) is None:
        if time.monotonic() > give_up:
            host = own_host(os.environ)
            why = f"{host} does not see {state.attempt}: is that file system mounted there?"
            write_first(state.failure, {"failure_class": "node", "failure": why, "rank": rank.rank, "host": host})
            sys.exit(why)
        time.sleep(1)
        os.listdir(state.path)  # opening the folder makes NFS ask the server
    return attempt


def write_output_to(log: Path) -> None:
    """Send standard output and error of this process and its libraries to a file, whatever launcher it has."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    exit_as(main)
