"""Train one run on one rank: the only program that launchers start. The content is in the state folder."""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.cluster.discovery import DiscoveryError, discover
from warmscale.records import StateFolder, read_json
from warmscale.training.signals import end_with_launcher, stop_on_file, stop_on_signals


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
    attempt = read_json(state.attempt) or {"number": 0}  # nobody started us, and nobody else can
    lease = Path(attempt["lease"]) if "lease" in attempt else None
    stop.deadline.at = attempt.get("deadline")
    if rank.is_first and lease:
        stop_on_file(stop, state.stop, lease)

    if attempt.get("gpus") and arguments.settings["device"] == "auto":
        arguments.settings["device"] = "cuda"  # a node whose GPUs have vanished is no reason to train on its CPUs
    if arguments.settings["device"] == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"  # DeepSpeed chooses when it is imported
    os.environ["LOCAL_RANK"] = str(rank.local_rank)  # DeepSpeed compares it with mpirun's
    from warmscale.training.rank_main import train_rank

    place = {"state": state, "lease": lease, "index": arguments.index, "root": arguments.root}
    return train_rank(arguments.run, arguments.settings, stop, rank=rank, attempt=attempt["number"], **place)


def write_output_to(log: Path) -> None:
    """Send standard output and error of this process and its libraries to a file, whatever launcher it has."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    sys.exit(main())
