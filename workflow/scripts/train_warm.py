"""Import once what every rank imports, and carry runs out in forks: what a Snakemake starts beside itself."""

import argparse
import json
import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.training.warm.surroundings import surroundings


def main() -> int:
    """Parse the command line and serve; standard input ends with the process that this one is for."""
    inherited = surroundings()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listener", required=True, type=int, help="socket that is listened on already")
    parser.add_argument("--plan", required=True, type=json.loads, help="how ranks are started, as JSON")
    arguments = parser.parse_args()
    from warmscale.cluster.launchers import LaunchPlan
    from warmscale.training.warm.origin import script_of
    from warmscale.training.warm.server import serve

    lifeline = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    listener = socket.socket(fileno=arguments.listener)
    return serve(listener, lifeline, script_of(LaunchPlan.from_json(arguments.plan)), inherited)


if __name__ == "__main__":
    sys.exit(main())
