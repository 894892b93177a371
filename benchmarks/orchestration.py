"""What the workflow costs at 100, 1,000 and 10,000 runs, against a bare Snakefile. Writes orchestration.csv.

- dry run: `snakemake -n` of our whole workflow, against the bare one.
- dispatch: all training jobs, with the same trivial program in both; the warm process is off, it would train nothing.
- dry run, all runs there: the same as the first, up to the training jobs, after the dispatch.
- batch job: the Snakemake inside the job of one run, as executors start it.
- load: validation and expansion of a config, in one process; no rival.
- tables, claims, figures, report: of as many runs of 90 epochs, each in a process of its own, as the rules make them.

The two take turns, each first in every other one; each row has medians, and of the ratios the median with the extremes.
CPU seconds are of a process and all that it started. Growth is the CPU time relative to that of a tenth of the runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common import PYTHON, environment, write_results
from costs import Cost, alone, compared, cost_of
from large_study import GRIDS, large_config, publish_all
from workflow_pair import batch_job, dispatch, dry_run, leave_traces, make_pair

TARGETS = {"dry run": 1.3, "dispatch": 1.3, "dry run, all runs there": 1.3}
"""{measure: most CPU and wall seconds relative to the bare workflow's}."""
FEWER = {"dry run": 2, "there": 1, "dispatch": 1, "tables": 2}
"""{measure: repeats} with the most runs."""
BATCH_JOB_TARGET_SEC = 0.3
LOAD_TARGET_SEC, TABLES_TARGET_SEC, TABLES_TARGET_MIB = 2.0, 20.0, 2048
LOAD = """
import json, sys, time
from warmscale.study import load_study
config = json.load(sys.stdin)
wall, cpu = time.monotonic(), time.process_time()
study = load_study(config)
print(json.dumps([time.monotonic() - wall, time.process_time() - cpu, len(study.runs)]))
"""


def load(config: Mapping[str, Any], repeats: int) -> list[Cost]:
    """Validation and expansion of a config, imports aside."""
    costs = []
    for _ in range(repeats):
        words, given = [PYTHON, "-c", LOAD], json.dumps(config)
        variables = environment(PYTHONPATH=_scripts())
        done = subprocess.run(words, input=given, env=variables, capture_output=True, text=True, check=True)
        wall_sec, cpu_sec, runs = json.loads(done.stdout)
        assert runs in GRIDS
        costs.append(Cost(wall_sec, cpu_sec, 0.0))
    return costs


def without_seeds(runs: int) -> dict[str, Any]:
    """A study of as many runs of which no two share a recipe."""
    config = large_config(runs)
    (experiment,), (_, warmups, seeds) = config["experiments"], GRIDS[runs]
    levels = [0.1875 * number for number in range(warmups * seeds)]  # up to 75 epochs, steps apart with every size
    grid = experiment["grid"] | {"warmup_epochs": levels}
    return config | {"seeds": 1, "experiments": [experiment | {"grid": grid}]}


BEHIND = """
import json, sys
from pathlib import Path
from warmscale.study import load_study
study, results, what = load_study(json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]), sys.argv[3]
if what == "tables":
    from warmscale.analysis.tables import make_tables
    make_tables(study, results)
    sys.exit()
from warmscale.analysis.tables import read_tables
if what == "claims":
    from warmscale.analysis.verdicts import make_verdicts
    make_verdicts(study, read_tables(results / "tables"), results)
if what == "figures":
    from warmscale.analysis.figures import draw_all
    draw_all(study, read_tables(results / "tables"), results / "figures")
if what == "report":
    from write_report import write_report
    write_report(study, results, Path(sys.argv[4]))
"""


def behind(folder: Path, runs: int, repeats: int) -> list[dict[str, Any]]:
    """Rows for what is made of published runs, interpreter and imports included."""
    config, results = folder / f"behind-{runs}.json", folder / f"results-{runs}"
    config.write_text(json.dumps(large_config(runs)))
    publish_all(large_config(runs), results)
    template = Path(_scripts()).parent / "report/index.html.j2"
    rows = []
    for what in ("tables", "claims", "figures", "report"):
        words = [PYTHON, "-c", BEHIND, str(config), str(results), what, str(template)]
        times = repeats if what == "tables" else 1
        rows.append(alone(what, runs, [cost_of(words, folder, PYTHONPATH=_scripts()) for _ in range(times)]))
    shutil.rmtree(results)
    return rows


def _scripts() -> str:
    return str(Path(__file__).resolve().parents[1] / "workflow/scripts")


def measured(folder: Path, runs: int, repeats: Callable[[str, int], int]) -> Iterator[dict[str, Any]]:
    """The rows of one size."""
    pair = make_pair(folder, runs)
    yield compared("dry run", runs, *dry_run(pair, repeats("dry run", runs)))
    yield compared("batch job", runs, *batch_job(pair, repeats("batch job", runs)))
    yield compared("dispatch", runs, *dispatch(pair, repeats("dispatch", runs)))
    leave_traces(pair)
    there = dry_run(pair, repeats("there", runs), "--until", "train")
    yield compared("dry run, all runs there", runs, *there)
    for left in (pair.ours, pair.bare):
        shutil.rmtree(left)
    yield alone("load, several seeds", runs, load(large_config(runs), repeats("load", runs)))
    yield alone("load, one seed", runs, load(without_seeds(runs), repeats("load", runs)))
    yield from behind(folder, runs, repeats("tables", runs))


def with_growth_and_target(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with CPU time relative to that of a tenth of the runs, and what was wanted."""
    known = {(row["measure"], row["runs"]): row for row in rows}
    found = []
    for row in rows:
        before = known.get((row["measure"], row["runs"] // 10), {})
        growth = {
            f"growth_{who}": row[f"{who}_cpu_sec"] / before[f"{who}_cpu_sec"]
            for who in ("ours", "bare")
            if f"{who}_cpu_sec" in row and f"{who}_cpu_sec" in before
        }
        found.append({**row, **growth, "target": target_of(row["measure"], row["runs"])})
    return found


def target_of(measure: str, runs: int) -> str:
    """What the project wants of a row, in words."""
    if measure in TARGETS:
        return f"ratios at most {TARGETS[measure]}, growth no worse"
    if measure == "batch job":
        return f"at most {BATCH_JOB_TARGET_SEC} s more"
    if runs == max(GRIDS) and measure.startswith("load"):
        return f"under {LOAD_TARGET_SEC:g} s"
    if runs == max(GRIDS) and measure == "tables":
        return f"under {TABLES_TARGET_SEC:g} s and {TABLES_TARGET_MIB} MiB"
    return ""


COLUMNS = (
    "measure", "runs", "repeats",
    "ours_wall_sec", "bare_wall_sec", "more_wall_sec", "wall_ratio", "wall_ratio_min", "wall_ratio_max",
    "ours_cpu_sec", "bare_cpu_sec", "cpu_ratio", "cpu_ratio_min", "cpu_ratio_max", "growth_ours", "growth_bare",
    "ours_peak_mib", "bare_peak_mib", "target",
)  # fmt: skip


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the file."""
    digits = {name: 0 if name.endswith("mib") else 2 for name in COLUMNS}
    return {
        name: f"{value:.{digits[name]}f}" if isinstance(value := row.get(name, ""), float) else value
        for name in COLUMNS
    }


def main() -> None:
    """Measure, and write orchestration.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--repeats", type=int, default=3, help="of what takes seconds; fewer of what takes minutes")
    parser.add_argument("--quick", action="store_true", help="100 runs, each once, and write no file")
    given = parser.parse_args()

    def repeats(measure: str, runs: int) -> int:
        most = FEWER.get(measure, given.repeats) if runs == max(GRIDS) else given.repeats
        return 1 if given.quick else min(given.repeats, most)

    with tempfile.TemporaryDirectory(prefix="warmscale-orchestration-") as temporary:
        rows = []
        for runs in [100] if given.quick else sorted(given.runs):
            for row in measured(Path(temporary), runs, repeats):
                rows.append(row)
                print({name: value for name, value in shown(row).items() if value != ""}, file=sys.stderr, flush=True)
    rows = [shown(row) for row in with_growth_and_target(rows)]
    if not given.quick:
        write_results("orchestration", rows)


if __name__ == "__main__":
    main()
