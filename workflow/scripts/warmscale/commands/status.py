"""`warmscale status`: where the runs of a study are, from files only."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

WATCH_SEC = 10.0
LISTED = 30
"""Failed and paused runs that are named unless --failed asks for all."""
EXPLANATION = """\
Where there are more runs than rows on the terminal (100 where there is none), running, failed, paused and queued runs
have their rows first; of the others the number is told, unless --all asks for all rows.
A running run whose heartbeat has been missing for 2 minutes is shown as `lost?`.
Pending runs are known from the config, or from what the workflow left in RESULTS/STUDY/study.json when it started.

exit code: 0 where no run failed, 1 where one did or where there is nothing to look at (said on standard error)
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `warmscale`."""
    parser = commands.add_parser(
        "status",
        help="show where all runs of a study are, and what failed",
        description="Show where all runs of a study are, what failed and why, and what to type; reads files only.",
        epilog=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--study", metavar="NAME", help="name of the study; default: every study under RESULTS")
    which.add_argument("--configfile", type=Path, metavar="FILE", help="config of the study")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--results", type=Path, default=Path("results"), help="folder of all studies (results)")
    where.add_argument("--profile", metavar="NAME", help="profile whose site.yaml says where that folder is")
    parser.add_argument("--all", action="store_true", help="a row for every run, however many there are")
    parser.add_argument(
        "--failed", action="store_true", help="only what failed or is missing, with the end of each log"
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=WATCH_SEC,
        metavar="SECONDS",
        help="show it again every so many seconds (10), until all runs have a result or Ctrl-C",
    )
    parser.set_defaults(command=run)


def _seconds(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError
    return value


def run(arguments: argparse.Namespace) -> int:
    """Show a study once, or until the user has seen enough."""
    from ..monitoring.terminal import write_lines

    if arguments.profile:
        arguments.results = _results_of(arguments.profile)
    try:
        if arguments.watch is None:
            lines, code, _ = _look(arguments, _planned(arguments))
            write_lines(lines)
            sys.stdout.flush()
            return code
        return _watch(arguments)
    except BrokenPipeError:  # `| head` has seen enough; what is still to be flushed goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _results_of(profile: str) -> Path:
    """Folder of all studies on the site of a profile; raises UserError where it has no valid one."""
    from ..cli import UserError
    from ..cluster.site import SiteError, load_site
    from ..diagnosis.places import find_site

    try:
        return Path(load_site(find_site(profile, None)).results)
    except SiteError as error:
        raise UserError("\n".join(error.lines)) from error


def _watch(arguments: argparse.Namespace) -> int:
    from ..monitoring.terminal import repaint, write_lines

    in_place = sys.stdout.isatty()
    code = 0
    try:
        planned = _planned(arguments)
        if in_place:
            sys.stdout.write("\x1b[2J")
        while True:
            lines, code, is_over = _look(arguments, planned)
            lines.append(time.strftime("%H:%M:%S") + ("" if is_over else f", every {arguments.watch:g} s; Ctrl-C ends"))
            if in_place:
                repaint(lines)
            else:
                write_lines([*lines, ""])
            sys.stdout.flush()
            if is_over:
                return code
            time.sleep(arguments.watch)
    except KeyboardInterrupt:
        print()
        return code


def _look(arguments: argparse.Namespace, planned: tuple[str, dict] | None) -> tuple[list[str], int, bool]:
    """All lines, the exit code, and whether every run has a result."""
    from ..monitoring.studies import read_study
    from ..records import OUTCOMES

    config = str(arguments.configfile) if arguments.configfile else None
    folders = [f"{arguments.results}/{planned[0]}"] if planned else _folders(arguments)
    now = time.time()
    studies = [read_study(folder, planned[1] if planned else None, config, now) for folder in folders]
    lines: list[str] = []
    for study in studies:
        lines += ([""] if lines else []) + _lines_of(study, arguments)
    has_failed = any(study.counts["failed"] for study in studies)
    is_over = all(study.is_complete and set(study.counts) <= set(OUTCOMES) for study in studies)
    return lines, int(has_failed), is_over


def _planned(arguments: argparse.Namespace) -> tuple[str, dict] | None:
    """Name, runs and measurements of the study of a config; raises UserError where it is none."""
    if not arguments.configfile:
        return None
    from ..cli import UserError
    from ..config_files import read_config
    from ..study import StudyError, load_study

    try:
        study = load_study(read_config(arguments.configfile))
    except StudyError as error:
        raise UserError("\n".join(f"{arguments.configfile}: {line}" for line in error.lines)) from error
    runs = {
        run_id: {"epochs": run.content["epochs"], "total_steps": run.total_steps} for run_id, run in study.runs.items()
    }
    return study.name, runs | _measured(study, arguments.results)


def _measured(study: Any, results: Path) -> dict[str, Any]:
    """Measurements as this machine would have them, until a call that knew the site has left word of them."""
    from ..monitoring.manifest import read_manifest

    if read_manifest(f"{results}/{study.name}"):
        return {}
    return {one: {"total_steps": each.total_steps} for one, each in study.measurements.items()}


def _folders(arguments: argparse.Namespace) -> list[str]:
    """Folders of the studies that are asked for; raises UserError where there are none."""
    import difflib

    from ..cli import UserError
    from ..monitoring.studies import study_folders

    found = study_folders(str(arguments.results))
    if arguments.study:
        names = [os.path.basename(folder) for folder in found]
        if arguments.study not in names:
            close = difflib.get_close_matches(arguments.study, names, n=1, cutoff=0.0)
            hint = f"; did you mean {close[0]}?" if close else "; name its config with --configfile"
            raise UserError(f"{arguments.study} is no study under {arguments.results}{hint}")
        return [f"{arguments.results}/{arguments.study}"]
    if not found:
        raise UserError(f"no study under {arguments.results} yet; name its config (--configfile) or site (--profile)")
    return found


def _lines_of(study: Any, arguments: argparse.Namespace) -> list[str]:
    from ..monitoring.failures import DETAILED, failure_lines
    from ..monitoring.table import summary_lines, table_lines
    from ..monitoring.terminal import rows_here, screen_here
    from ..monitoring.text import cut

    screen = screen_here()
    lines = summary_lines(study, screen)
    rows = None if arguments.all else rows_here()
    if not arguments.failed:
        lines += ["", *table_lines(study, screen, rows)]
    detailed, listed = (None, None) if arguments.failed else (DETAILED, LISTED)
    how = {"detailed": detailed, "listed": listed, "under_way": study.under_way}
    failures = failure_lines(study.folder, study.runs, study.command, **how)
    if failures:
        width = None if arguments.failed else screen.width
        # a line of a log is cut, a command never
        lines += [
            "",
            *(cut(line, width, blocks=screen.blocks) if line.startswith("    |") else line for line in failures),
        ]
    return lines
