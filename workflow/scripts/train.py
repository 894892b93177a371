"""Train one run on one rank: the only program that launchers start. The content is in the state folder."""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.training.signals import end_with_launcher, stop_on_signals


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

    if arguments.settings["device"] == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"  # DeepSpeed chooses when it is imported
    from warmscale.training.rank_main import train_rank

    return train_rank(
        arguments.run, arguments.settings, stop, state=arguments.state, index=arguments.index, root=arguments.root
    )


if __name__ == "__main__":
    sys.exit(main())
