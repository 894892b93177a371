"""The `warmscale` command: what Snakemake has no word for."""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .study import Study

SCHEMA = Path(__file__).parents[2] / "schemas/config.schema.json"
REFERENCE = Path(__file__).parents[3] / "docs/config.md"


class UserError(Exception):
    """Something that the user can mend, said in one line."""


def main(words: list[str] | None = None) -> int:
    """Run a command line and return the exit code."""
    arguments = _parser().parse_args(words)
    try:
        return arguments.command(arguments)
    except UserError as error:
        print(f"warmscale: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `| head` has seen enough; what is still to be flushed goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    from .commands import doctor, explain, pack, status, submit

    parser = argparse.ArgumentParser(prog="warmscale", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="say what is wrong with a config file, or what it would train")
    check.add_argument("configs", nargs="+", type=Path, metavar="CONFIG", help="config files, a study each")
    check.set_defaults(command=_check)
    status.add_parser(commands)
    explain.add_parser(commands)
    doctor.add_parser(commands)
    submit.add_parser(commands)
    pack.add_parser(commands)
    forget = commands.add_parser("forget", help="delete what runs have trained, so that they are trained anew")
    forget.add_argument("runs", nargs="+", metavar="RUN", help="run ids")
    forget.add_argument("--results", type=Path, default=Path("results"), help="folder of all studies")
    forget.add_argument("--study", help="only in this study; default: in every study that has the run")
    forget.set_defaults(command=_forget)
    schema = commands.add_parser("schema", help="print the JSON schema of config files")
    schema.add_argument("--check", action="store_true", help="fail if schema and docs/config.md are not fresh")
    schema.add_argument("--write", action="store_true", help="renew both")
    schema.set_defaults(command=_schema)
    return parser


def _check(arguments: argparse.Namespace) -> int:
    from .config_files import read_config
    from .replay import ReplayError
    from .study import StudyError, load_study

    wrong = 0
    for path in arguments.configs:
        try:
            study = load_study(read_config(path))
            rows = _rows(study)
        except (StudyError, ReplayError) as error:
            wrong += 1
            print("\n".join(f"{path}: {line}" for line in error.lines), file=sys.stderr)
        else:
            names = [experiment.name for experiment in study.config.experiments]
            print(f"{path}: study {study.name}, {rows} for the experiments {', '.join(names)}")
    return 1 if wrong else 0


def _rows(study: Study) -> str:
    """What a study would train, or replays: its sources are read; raises ReplayError."""
    if not study.is_replayed:
        return f"{len(study.runs)} runs" + f" and {len(study.measurements)} measurements" * bool(study.measurements)
    from .replay import read_replayed

    found = read_replayed(study)
    return f"{len(found.runs.rows)} replayed runs and {len(found.cells.rows)} summarised cells"


def _forget(arguments: argparse.Namespace) -> int:
    folders = [folder for run_id in arguments.runs for folder in find_run(arguments.results, run_id, arguments.study)]
    for folder in dict.fromkeys(folders):
        shutil.rmtree(folder)
        print(f"deleted {folder}")
    return 0


def find_run(results: Path, run_id: str, study: str | None = None) -> list[Path]:
    """State and published folders of a run, or of a measurement; raises UserError where there are none."""
    kinds = ("state", "runs", "throughput")
    known = [path for kind in kinds for path in sorted(results.glob(f"{study or '*'}/{kind}/*"))]
    found = [path for path in known if path.name == run_id]
    if not found:
        close = difflib.get_close_matches(run_id, {path.name for path in known}, n=1, cutoff=0.0)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"{run_id} is no run under {results / (study or '')}{hint}")
    return found


def _schema(arguments: argparse.Namespace) -> int:
    from .study.reference import reference_text
    from .study.schema import schema_text

    files = {SCHEMA: schema_text(), REFERENCE: reference_text()}
    if arguments.write:
        for path, text in files.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    elif arguments.check:
        if stale := [path.name for path, text in files.items() if not path.exists() or path.read_text() != text]:
            raise UserError(f"{', '.join(stale)}: not what the models say; run `warmscale schema --write` and commit")
    else:
        print(files[SCHEMA], end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
