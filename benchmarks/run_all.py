"""Run every benchmark, one after the other, and renew the tables of the documents."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = (
    "demo",
    "loader",
    "step",
    "epoch_costs",
    "gradients",
    "orchestration",
    "plan",
    "ranks",
    "status",
    "calibration_claims",
    "calibration_optimum",
    "suite",
    "readme",
)
"""All but gpu.py, which needs one."""

if __name__ == "__main__":
    for name in BENCHMARKS:
        subprocess.run([sys.executable, str(Path(__file__).parent / f"{name}.py")], check=True)
