"""How long `warmscale status` takes for 10,000 runs: the real command, start of Python included. Writes status.csv.

The state folders have the files and sizes that training leaves; they were written just before, so they are in the
machine's cache. The calls with and without `--all` (a row for every run) take turns.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import PYTHON, environment, write_results

EPOCHS, STEPS = 90, 15_030
STATES = {"finished": 8_900, "diverged": 300, "failed": 100, "paused": 50, "running": 100, "queued": 50, "pending": 500}
"""Runs in each state, of 10,000."""
CALLS = {"status": (), "status --all": ("--all",), "status --failed": ("--failed",)}


def make_study(study: Path, runs: int) -> None:
    """Write results/<study> as a workflow in the middle of `runs` runs leaves it."""
    from warmscale.monitoring.manifest import write_manifest

    share = runs / sum(STATES.values())
    states = [state for state, number in STATES.items() for _ in range(round(number * share))]
    random.Random(1).shuffle(states)
    names = {
        f"mb{256 * (1 + number % 120)}-w240-lr12-up409-s{number % 5 + 1}-{number:012x}": state
        for number, state in enumerate(states)
    }
    planned = {"epochs": EPOCHS, "total_steps": STEPS}
    write_manifest(study, dict.fromkeys(names, planned), "snakemake --profile lsf", ["config/config.yaml"])
    for number, (run_id, state) in enumerate(names.items()):
        if state != "pending":
            _write(study, run_id, state, job_id=str(100_000 + number))


def _write(study: Path, run_id: str, state: str, job_id: str) -> None:
    """The folders of one run."""
    now, folder = time.time(), study / "state" / run_id
    (folder / "logs").mkdir(parents=True)
    files: dict[str, Any] = {
        "content.json": {"epochs": EPOCHS, "schedule": [[number, 0.1] for number in range(60)]},
        "job.json": {"scheduler": "lsf", "job_id": job_id, "submitted": now - 7200, "log": f"{folder}/logs/job.log"},
    }
    if state != "queued":
        attempt = _attempt(state, job_id, now)
        steps = attempt["steps_done"]
        epoch = steps * EPOCHS // STEPS
        files["progress.json"] = {"state": "running", "step": steps, "total_steps": STEPS, "epoch": epoch, "time": now,
                                  "images_per_sec": 31_234.5}  # fmt: skip
        files["environment.json"] = {"versions": {f"package{number}": "1.2.3" for number in range(12)}}
        (folder / "epochs.csv").write_text(_table(run_id, epoch))
        (folder / "steps.csv").write_text("run_id,step\n" + f"{run_id},1,0.1,0.1,7680,6.9,1e-7,0\n" * 200)
        (folder / "logs/rank0.log").write_text("step 12/90, 31234 images/s, 3.2 min left\n" * 100)
        if state == "running":
            files["attempt.json"] = attempt
            (folder / "lease").mkdir()
            files["lease/000001.json"] = {"host": "node1", "pid": 1}
        else:
            (folder / "attempts.jsonl").write_text(json.dumps(attempt) + "\n")
            _publish(study / "runs" / run_id, files, attempt)
    if state in ("finished", "diverged"):
        files["outcome.json"] = {"state": state, "epochs_done": EPOCHS, "steps_done": STEPS, "images_seen": 115_000_000}
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, indent=2))


def _attempt(state: str, job_id: str, now: float) -> dict[str, Any]:
    steps = STEPS if state == "finished" else STEPS // 3
    attempt = {"number": 1, "started": now - 7000, "host": "node1", "pid": 1, "job_id": job_id, "nodes": 40,
               "world_size": 240, "steps_before": 0, "steps_done": steps}  # fmt: skip
    if state == "running":
        return attempt
    reason = {"failure_class": "out_of_memory", "failure": "CUDA out of memory", "rank": 0} if state == "failed" else {}
    return attempt | {"ended": now, "state": state, "failure_class": None, "failure": None} | reason


def _publish(folder: Path, files: dict[str, Any], attempt: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    record = {"state": attempt["state"], "content": files["content.json"], "attempts": [attempt]}
    (folder / "run.json").write_text(json.dumps(record, indent=2))


def _table(run_id: str, epochs: int) -> str:
    from warmscale.records import EPOCH_COLUMNS

    row = ",".join(f"{0.123456789 * place:.15f}" for place in range(2, len(EPOCH_COLUMNS)))
    rows = [f"{run_id},{epoch},{row}" for epoch in range(1, epochs + 1)]
    return "\n".join([",".join(EPOCH_COLUMNS), *rows]) + "\n"


def seconds_of(words: tuple[str, ...], results: Path) -> float:
    """Wall time of one call."""
    command = [str(Path(PYTHON).parent / "warmscale"), "status", "--results", str(results), *words]
    started = time.monotonic()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode != 1 or "10,000 runs" not in done.stdout:  # 1: some runs of this study failed
        sys.exit(done.stdout[-2000:] + done.stderr)
    return seconds


def main() -> None:
    """Measure, and write status.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5)
    calls = parser.parse_args().calls
    with tempfile.TemporaryDirectory(prefix="warmscale-status-") as temporary:
        results = Path(temporary) / "results"
        make_study(results / "large", 10_000)
        rounds = [{name: seconds_of(words, results) for name, words in CALLS.items()} for _ in range(calls)]
    rows = []
    for name in CALLS:
        seconds = [measured[name] for measured in rounds]
        rows.append({"command": name, "runs": 10_000, "calls": calls, "median_sec": f"{statistics.median(seconds):.2f}",
                     "max_sec": f"{max(seconds):.2f}"})  # fmt: skip
    write_results("status", rows)


if __name__ == "__main__":
    main()
