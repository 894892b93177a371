"""`warmscale doctor`: what is wrong on this machine or cluster, one line each."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

EXPLANATION = """\
First what can be seen from here, then one small job, submitted as a run would be, whose ranks find each other, add up,
and train 20 steps of one run in results/<study>/doctor/: no run is touched. Ends with 1 if anything is wrong.
Interrupted, it kills that job. What it found is in results/<study>/doctor/report.json as well.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `warmscale`."""
    parser = commands.add_parser(
        "doctor",
        help="say what is wrong on this machine or cluster, with one small job",
        description="Say what is wrong on this machine or cluster, one line each.",
        epilog=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    config = Path("config/config.yaml")
    parser.add_argument(
        "--configfile", type=Path, default=config, metavar="FILE", help=f"config of the study ({config})"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--profile", metavar="NAME", help="profile whose site.yaml is meant; default: this machine")
    which.add_argument("--site", type=Path, metavar="FILE", help="the site file itself")
    parser.add_argument("--nodes", type=int, metavar="N", help="nodes of the job; default: 2 where runs have as many")
    parser.add_argument(
        "--run", metavar="RUN", help="run that is tried, or the beginning of its id; default: the first"
    )
    parser.add_argument("--here", action="store_true", help="submit nothing: in an interactive job, or on one node")
    parser.add_argument("--no-job", action="store_true", help="only what can be seen without starting anything")
    parser.add_argument("--full", action="store_true", help="count every file of the data set, however long that takes")
    parser.add_argument("--wait", type=float, default=60, metavar="MIN", help="for the job to end; default: 60")
    parser.add_argument("--patience", type=float, default=180, metavar="SEC", help="for ranks to meet; default: 180")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print all lines; 0 if nothing is wrong."""
    from ..cli import UserError
    from ..diagnosis.examination import examine
    from ..diagnosis.findings import Findings

    if arguments.nodes is not None and arguments.nodes < 1:
        raise UserError(f"--nodes is {arguments.nodes}, must be at least 1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both kill the job that was submitted
    findings = Findings()
    try:
        examine(arguments, findings)
    except KeyboardInterrupt:
        print("warmscale: interrupted", file=sys.stderr)
        return 130
    number = findings.failed
    print(f"{number} of {len(findings.lines)} lines say what is wrong" if number else "nothing is wrong")
    return 1 if number else 0
