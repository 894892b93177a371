"""The embedded study through the workflow, against a bare loop that starts our own train.py on the same runs.

Both carry out the same runs, two at a time, one thread each; the workflow also makes data set, tables, figures and
report. They alternate. Writes demo.csv (seconds and ratio of each round) and demo_accuracy.csv (what the study found).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from common import PYTHON, REPOSITORY, environment, make_checkout, run, write_results

AT_A_TIME = 2


def seconds_of_workflow(folder: Path) -> float:
    """Wall time of what `make demo` runs after installation."""
    started = time.monotonic()
    words = ("--profile", "profiles/local", "--cores", str(AT_A_TIME), "--configfile", "config/digits.yaml")
    run(PYTHON, "-m", "snakemake", *words, folder=folder)
    return time.monotonic() - started


def seconds_of_bare_loop(folder: Path) -> float:
    """Wall time of train.py on every run of the study, two at a time, with the data set there already."""
    from warmscale.records import StateFolder, write_json
    from warmscale.study import load_study
    from warmscale.study.config import WHERE_FIELDS

    study = load_study(yaml.safe_load((REPOSITORY / "config/digits.yaml").read_text()))
    settings = study.config.placement.model_dump(exclude=WHERE_FIELDS)
    (index,) = (folder / "results/digits/data").glob("*.tsv")

    def train(name: str) -> int:
        state = StateFolder(folder / "bare" / name)
        write_json(state.content, study.runs[name].content)
        words = {"run": name, "state": state.path, "index": index, "root": folder / "data/digits"}
        options = [str(word) for option, value in words.items() for word in (f"--{option}", value)]
        command = [PYTHON, str(folder / "workflow/scripts/train.py"), *options, "--settings", json.dumps(settings)]
        return subprocess.run(command, env=environment(), capture_output=True, check=False).returncode

    started = time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        codes = list(pool.map(train, study.runs))
    assert set(codes) == {0}, codes
    return time.monotonic() - started


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
    parser.add_argument("--rounds", type=int, default=2)
    rows = []
    for number in range(1, parser.parse_args().rounds + 1):
        with tempfile.TemporaryDirectory(prefix="warmscale-demo-") as temporary:
            folder = make_checkout(Path(temporary) / "checkout")
            workflow = seconds_of_workflow(folder)
            bare = seconds_of_bare_loop(folder)
            accuracy = accuracy_rows(folder)
        seconds = {"workflow_sec": round(workflow, 1), "bare_loop_sec": round(bare, 1)}
        rows.append({"round": number, **seconds, "ratio": workflow / bare})
    medians = {key: statistics.median(row[key] for row in rows) for key in ("workflow_sec", "bare_loop_sec", "ratio")}
    digits = {"workflow_sec": 1, "bare_loop_sec": 1, "ratio": 3}
    rows = [
        {"round": row["round"], **{key: round(row[key], places) for key, places in digits.items()}}
        for row in [*rows, {"round": "median", **medians}]
    ]
    write_results("demo", rows)
    write_results("demo_accuracy", accuracy)


if __name__ == "__main__":
    main()
