"""Carrying out runs through the program that the train rule calls, and disturbing them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from warmscale.cluster.launchers import LaunchPlan
from warmscale.records import TIMING_COLUMNS, StateFolder, read_json, read_rows
from warmscale.study import Run

from .conftest import SCRIPTS, SETTINGS


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Wait until a file is there; fails where the process ends without making it."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, f"ended with {process.returncode}, without {path}"
        assert time.monotonic() < deadline, path
        time.sleep(0.002)


def plan_of(ranks: int) -> str:
    """Ranks on this machine, without a launcher in between."""
    return json.dumps(LaunchPlan(ranks_per_node=ranks, python=sys.executable).to_json())


class Started:
    """One run in a folder: start it, disturb it, look at what it left."""

    def __init__(self, folder: Path, lab: Path, run: Run, *, ranks: int = 1, **settings: Any):
        self.run, self.lab, self.ranks, self.settings = run, lab, ranks, SETTINGS | settings
        self.state = StateFolder(folder / "state" / run.run_id)
        self.published = folder / "runs" / run.run_id

    def command(self, **changed: Any) -> list[str]:
        """Command line of the run."""
        options = {
            "run": self.run.run_id,
            "content": self.run.content_json(),
            "state": self.state.path,
            "published": self.published,
            "index": self.lab / "index.tsv",
            "root": self.lab / "tree",
            "plan": plan_of(self.ranks),
            "settings": json.dumps(self.settings),
        }
        words = [str(word) for name, value in (options | changed).items() for word in (f"--{name}", value)]
        return [sys.executable, str(SCRIPTS / "train_run.py"), *words]

    def finish(self, **changed: Any) -> subprocess.CompletedProcess:
        """Carry the run out, undisturbed."""
        return subprocess.run(self.command(**changed), capture_output=True, text=True, timeout=300, check=False)

    def disturb(self, number: signal.Signals, *, at_step: int, **changed: Any) -> int:
        """Start the run, send it a signal once a checkpoint of that step is there, and return the exit code."""
        process = subprocess.Popen(self.command(**changed), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + 120
        while self.checkpoint_step() < at_step:
            assert process.poll() is None, process.communicate()[0] + self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.002)
        process.send_signal(number)
        process.communicate(timeout=120)
        return process.returncode

    def checkpoint_step(self) -> int:
        """Step of the newest checkpoint."""
        return (read_json(self.state.checkpoints / "latest.json") or {"step": -1})["step"]

    def log(self) -> str:
        """What the first rank said."""
        return self.state.log(0).read_text() if self.state.log(0).exists() else ""

    def record(self) -> dict[str, Any]:
        """The published run.json."""
        return read_json(self.published / "run.json")

    def rows(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Published epochs and steps, without what is measured in seconds or bytes."""
        epochs = read_rows(self.published / "epochs.csv")
        timeless = [{name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in epochs]
        return timeless, read_rows(self.published / "steps.csv")
