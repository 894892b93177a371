"""Make tables, verdicts, figures and report of the runs that are there, at the end of a call that could not.

Some runs left nothing then, and Snakemake runs no rule whose inputs are not all there: its `onerror:` calls this.
Everything goes where the rules put it, but for the Parquet tables, the bundle and the mark of a complete study: these
are taken away before the first file is replaced. As they are outputs that the rules miss, the next call makes
everything again, verdicts among it, whatever the time stamps say: a partial result is never taken for the whole one.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.analysis.unpublished import is_measured, is_published
from warmscale.study import Study, load_study
from warmscale.study.planned import with_plan

TEMPLATE = Path(__file__).resolve().parents[1] / "report" / "index.html.j2"
ONLY_WHOLE = ("complete", "report.zip", "tables/*.parquet")
"""What a study has only when no run is missing, relative to results/<study>."""
SCRATCH = ".partial-"


def partial_report(study: Study, results: Path, template: Path = TEMPLATE) -> str:
    """Make what can be made of results/<study>, unless the rules did; returns a line that says what there is now."""
    if study.is_replayed:
        return f"{results}: a study of replayed results has no runs that could be missing"
    page, records = results / "report" / "index.html", _records(study, results)
    there = [record for record, is_there in records.items() if is_there]
    what = "run or measurement" if study.measurements else "run"
    if not there and not page.exists():
        return f"{results}: no {what} of {len(records)} is published yet, so there is nothing to report"
    if len(there) == len(records) and _is_newer([page, results / "report.zip"], there):
        return f"{page} has all {len(records)} runs{' and measurements' * bool(study.measurements)}"
    for left in results.glob(f"{SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=results) as scratch:
        said = _make(study, results, Path(scratch), template)
        _put(Path(scratch), results)
    return f"{page}: {said}"


def _records(study: Study, results: Path) -> dict[Path, bool]:
    """{record: whether it is published with all that belongs to it} of the study's runs and measurements."""
    runs, measured = results / "runs", results / "throughput"
    wanted = [run_id for run_id in study.runs if run_id not in study.left_out]
    published = {runs / one / "run.json": is_published(runs / one) for one in wanted}
    awaited = [one for one in study.measurements if one not in study.not_here]
    return published | {measured / one / "measurement.json": is_measured(measured / one) for one in awaited}


def _is_newer(made: list[Path], sources: list[Path]) -> bool:
    """Whether files are there that were made after all their sources."""
    if not all(path.exists() for path in made):
        return False
    return min(path.stat().st_mtime_ns for path in made) > max(path.stat().st_mtime_ns for path in sources)


def _make(study: Study, results: Path, scratch: Path, template: Path) -> str:
    """Make tables, verdicts, figures and page in a folder aside; returns what there is and what is missing."""
    from warmscale.analysis.figures import draw_all
    from warmscale.analysis.missing import awaited_states, missing_text
    from warmscale.analysis.published import read_records
    from warmscale.analysis.report import page
    from warmscale.analysis.tables import make_tables, read_tables
    from warmscale.analysis.verdicts import make_verdicts

    now, records = time.time(), read_records(study.runs, results)
    make_tables(study, results, records, scratch / "tables")
    tables = read_tables(scratch / "tables")
    make_verdicts(study, tables, results, folder=scratch / "tables")
    draw_all(study, tables, scratch / "figures")
    (scratch / "report").mkdir()
    html = page(study, tables, records, scratch, template, as_of=now)
    (scratch / "report" / "index.html").write_text(html)
    number = len(study.runs) - len(study.left_out)
    return missing_text(awaited_states(tables.runs, study)) or f"all {number} runs; the same command makes it whole"


def _put(scratch: Path, results: Path) -> None:
    """Put what was made where the rules put it, after all that only a whole study has is gone."""
    from warmscale.analysis.figures import delete_others

    for path in (found for pattern in ONLY_WHOLE for found in results.glob(pattern)):
        path.unlink()
    made = [path for pattern in ("tables/*.csv", "figures/*", "report/*") for path in sorted(scratch.glob(pattern))]
    for path in made:
        target = results / path.relative_to(scratch)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    delete_others(results / "figures", {path.stem for path in made if path.parent.name == "figures"})


def missing_lines(study: Study, results: Path) -> list[str]:
    """What failed or is missing, why, and the command that runs only that; none where all runs are published.

    The last rule says it then.
    """
    from warmscale.monitoring.failures import failure_lines
    from warmscale.monitoring.studies import read_study

    if all(_records(study, results).values()):
        return []
    wanted = {run_id: run for run_id, run in study.runs.items() if run_id not in study.left_out}
    planned = {run_id: {"epochs": run.recipe.epochs} for run_id, run in wanted.items()}
    awaited = {one: each for one, each in study.measurements.items() if one not in study.not_here}
    planned |= {one: {"total_steps": each.total_steps} for one, each in awaited.items()}
    status = read_study(str(results), planned, None, time.time())
    return failure_lines(str(results), status.runs, status.command)


def main() -> int:
    """Read the study as written, JSON on standard input; say what became of it in a line, and what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", required=True, type=Path, help="folder of the study; its config comes on stdin")
    given = parser.parse_args()
    study = with_plan(load_study(json.load(sys.stdin)), given.results)
    print(partial_report(study, given.results), *missing_lines(study, given.results), sep="\n", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
