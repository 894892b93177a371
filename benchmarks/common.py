"""What all benchmarks share: a checkout to measure in, and results with machine and commit."""

from __future__ import annotations

import csv
import datetime
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks/results"
PYTHON = sys.executable

sys.path.insert(0, str(REPOSITORY / "workflow/scripts"))


def make_checkout(folder: Path) -> Path:
    """A copy of the workflow in which a study can be run without touching this one's results."""
    for name in ("workflow", "config", "profiles"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "Snakefile", folder)
    return folder


def environment(**more: str) -> dict[str, str]:
    """One thread a process, and our Python first on the PATH."""
    path = f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path, **more}


def machine() -> str:
    """Processor, cores and memory of this machine."""
    from warmscale.training.provenance import processor

    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{processor()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, Python {platform.python_version()}"


def commit() -> str:
    """Commit that is measured; with a plus where files were changed since."""
    from warmscale.training.provenance import source_commit

    source = source_commit()
    return f"{(source['hash'] or 'unknown')[:12]}{'+' if source['dirty'] else ''}"


def write_results(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write benchmarks/results/<name>.csv, every row with machine, commit and date, and show it."""
    where = {"machine": machine(), "commit": commit(), "date": datetime.date.today().isoformat()}
    rows = [{**row, **where} for row in rows]
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print((RESULTS / f"{name}.csv").read_text())


def run(*words: str, folder: Path) -> None:
    """Run a command in a folder; its output is shown only if it fails."""
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}\n{done.stderr}")
