"""Carry out one run on this machine: start its ranks, survive them, publish what came out."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.records import StateFolder
from warmscale.training.launch import Launch, carry_out


def main() -> int:
    """Parse the command line and carry out the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, help="run id")
    parser.add_argument("--content", required=True, type=json.loads, help="content of the run, as JSON")
    parser.add_argument("--state", required=True, type=Path, help="private folder of the run")
    parser.add_argument("--published", required=True, type=Path, help="folder of the run's published files")
    parser.add_argument("--index", required=True, type=Path, help="index of the data set")
    parser.add_argument("--root", required=True, type=Path, help="folder of the data set")
    parser.add_argument("--ranks", required=True, type=int, help="processes, each with one device")
    parser.add_argument("--threads", required=True, type=int, help="threads of a process")
    parser.add_argument("--settings", required=True, type=json.loads, help="placement, as JSON")
    given = vars(parser.parse_args())
    try:
        return carry_out(Launch(run_id=given.pop("run"), state=StateFolder(given.pop("state")), **given))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
