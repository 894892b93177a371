"""Tell LSF whether to run a job again by itself: exit code 75 for a run whose time was up, 1 otherwise.

For sites that submit with `-Q 75`. LSF runs the same words again; a run that was lost to a host or a network is for
Snakemake to submit, which keeps its next job from the host. The exit code of the job's own command, the inner
Snakemake, is 1 whatever happened in it.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.cluster.walltime import job_id
from warmscale.records import StateFolder, read_lines
from warmscale.training.signals import PAUSED_EXIT_CODE


def main() -> int:
    """Parse the command line and read the last attempt of the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", required=True, type=Path, help="private folder of the run")
    attempts = read_lines(StateFolder(parser.parse_args().state).attempts)
    last = attempts[-1] if attempts else {"state": "pending"}
    is_own = last["state"] == "paused" and last["job_id"] == job_id(os.environ)
    return PAUSED_EXIT_CODE if is_own and last["failure_class"] == "walltime" else 1


if __name__ == "__main__":
    sys.exit(main())
