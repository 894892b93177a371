"""Tell LSF whether to run a job again by itself: exit code 75 for a run that goes on, 1 otherwise.

For sites that submit with `-Q 75`. The exit code of the job's own command, Snakemake, is 1 whatever happened in it.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.cluster.walltime import job_id
from warmscale.records import StateFolder, read_lines
from warmscale.training.policy import was_asked_to_stop
from warmscale.training.signals import PAUSED_EXIT_CODE


def main() -> int:
    """Parse the command line and read the last attempt of the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", required=True, type=Path, help="private folder of the run")
    attempts = read_lines(StateFolder(parser.parse_args().state).attempts)
    last = attempts[-1] if attempts else {"state": "pending"}
    goes_on = last["state"] == "paused" and last["job_id"] == job_id(os.environ) and not was_asked_to_stop(last)
    return PAUSED_EXIT_CODE if goes_on else 1


if __name__ == "__main__":
    sys.exit(main())
