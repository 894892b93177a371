"""The embedded study through the workflow, against a bare loop that starts our own train.py on the same runs.

Both carry out the same runs, two at a time, one thread each, every train.py of the loop as a program of its own; the
workflow also makes data set, tables, figures and report. They alternate, and their results must be the same bit by bit.
Writes demo.csv (seconds and ratio of each round) and demo_accuracy.csv (what the study found).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from common import PYTHON, environment, make_checkout, run, write_results

AT_A_TIME = 2
CONFIG = "config/digits.yaml"
PROFILE = ("--profile", "profiles/local", "--cores", str(AT_A_TIME), "--configfile", CONFIG)
SNAKEMAKE = (PYTHON, "-m", "snakemake", *PROFILE)


def make_study(folder: Path, *, quick: bool) -> Path:
    """A checkout with the embedded study, or with a few of its runs."""
    make_checkout(folder)
    if quick:
        config = yaml.safe_load((folder / CONFIG).read_text())
        few = {"seeds": 1, "claims": [], "experiments": [config["experiments"][1] | {"seeds": 1}]}
        (folder / CONFIG).write_text(yaml.safe_dump(config | few, sort_keys=False))
    return folder


def measured(action: Callable[[], None]) -> dict[str, float]:
    """Wall time of an action, and processor time of all that it started."""
    started, before = time.monotonic(), _processor_sec()
    action()
    return {"wall": time.monotonic() - started, "cpu": _processor_sec() - before}


def _processor_sec() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_workflow(folder: Path) -> None:
    """What `make demo` runs after installation."""
    run(*SNAKEMAKE, folder=folder)


def run_bare_loop(folder: Path) -> None:
    """Train.py on every run of the study, two at a time, with the data set there already."""
    from warmscale.records import StateFolder, write_json
    from warmscale.study import load_study
    from warmscale.study.config import WHERE_FIELDS

    study = load_study(yaml.safe_load((folder / CONFIG).read_text()))
    settings = study.config.placement.model_dump(exclude=WHERE_FIELDS)
    (index,) = (folder / "results/digits/data").glob("*.tsv")

    def train(name: str) -> int:
        state = StateFolder(folder / "bare" / name)
        write_json(state.content, study.runs[name].content)
        words = {"run": name, "state": state.path, "index": index, "root": folder / "data/digits"}
        options = [str(word) for option, value in words.items() for word in (f"--{option}", value)]
        command = [PYTHON, str(folder / "workflow/scripts/train.py"), *options, "--settings", json.dumps(settings)]
        return subprocess.run(command, env=environment(), capture_output=True, check=False).returncode

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        codes = list(pool.map(train, study.runs))
    assert set(codes) == {0}, codes


def results_of(folder: Path) -> dict[str, Any]:
    """Rows of every run below a folder, without what differs between two runs of the same content."""
    from warmscale.records import TIMING_COLUMNS, read_rows

    return {
        f"{path.parent.name}/{path.name}": [
            {name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in read_rows(path)
        ]
        for path in folder.glob("*/*.csv")
    }


def measure_round(folder: Path, *, workflow_first: bool, quick: bool) -> dict[str, dict[str, float]]:
    """Both, one after the other, each in a checkout of its own; fails where their results differ."""
    ours, loop = (make_study(folder / name, quick=quick) for name in ("workflow", "loop"))
    run(*SNAKEMAKE, "--until", "index", folder=loop)
    actions = {"workflow": lambda: run_workflow(ours), "bare_loop": lambda: run_bare_loop(loop)}
    names = list(actions) if workflow_first else list(actions)[::-1]
    found = {name: measured(actions[name]) for name in names}
    published, bare = results_of(ours / "results/digits/runs"), results_of(loop / "bare")
    assert published and published == bare, "the results of workflow and loop differ"
    return found


def accuracy_rows(folder: Path) -> list[dict]:
    """Last-epoch top-1 of every cell of the study: mean and sd over seeds."""
    import pandas as pd

    runs = pd.read_csv(folder / "results/digits/tables/runs.csv")
    cell = ["mini_batch_size", "lr_scaling.rule", "warmup_epochs"]
    cells = runs.groupby(cell).top1.agg(["count", "mean", "std"]).reset_index()
    cells.columns = ["mini_batch_size", "lr_scaling", "warmup_epochs", "seeds", "top1_mean", "top1_sd"]
    return cells.round({"top1_mean": 1, "top1_sd": 1}).to_dict("records")


def main() -> None:
    """Measure, and write demo.csv and demo_accuracy.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="about four minutes each")
    parser.add_argument("--quick", action="store_true", help="one round of a few runs, nothing is written")
    arguments = parser.parse_args()
    rows = []
    for number in range(1, 2 if arguments.quick else arguments.rounds + 1):
        with tempfile.TemporaryDirectory(prefix="warmscale-demo-") as temporary:
            found = measure_round(Path(temporary), workflow_first=number % 2 == 1, quick=arguments.quick)
            accuracy = [] if arguments.quick else accuracy_rows(Path(temporary) / "workflow")
        rows.append({"round": number, **row_of(found)})
    if arguments.quick:
        print(rows[0])
        return
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0] if name != "round"}
    digits = {"round": 0, "ratio": 3, "cpu_ratio": 3}
    rows = [
        {name: round(value, digits.get(name, 1)) if isinstance(value, float) else value for name, value in row.items()}
        for row in [*rows, {"round": "median", **medians}]
    ]
    write_results("demo", rows)
    write_results("demo_accuracy", accuracy)


def row_of(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Seconds of both and their ratios: below 1 the workflow is faster."""
    ours, loop = found["workflow"], found["bare_loop"]
    return {
        "workflow_sec": ours["wall"],
        "bare_loop_sec": loop["wall"],
        "ratio": ours["wall"] / loop["wall"],
        "workflow_cpu_sec": ours["cpu"],
        "bare_loop_cpu_sec": loop["cpu"],
        "cpu_ratio": ours["cpu"] / loop["cpu"],
    }


if __name__ == "__main__":
    main()
