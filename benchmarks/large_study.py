"""Studies of 100 to 10,000 runs: their configs, and published files as training leaves them, made without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import common  # noqa: F401  puts our package on the path

GRIDS = {100: (5, 4, 5), 1_000: (10, 10, 10), 10_000: (25, 40, 10)}
"""{runs: (mini-batch sizes, warmups, seeds)}."""
WORKERS = 240
EPOCHS = 90
GRADIENTS = "0.512345678,0.123456789,0.001234567,0.012345678,12.34567891"
"""What a measured step, or an epoch, has in the columns of gradients."""
STATES = ("finished",) * 28 + ("diverged", "failed")
"""What becomes of runs, in turn: one of thirty diverges, one fails."""


def large_config(runs: int) -> dict[str, Any]:
    """A study of ImageNet of so many runs."""
    sizes, warmups, seeds = GRIDS[runs]
    grid = {
        "mini_batch_size": [3840 + 1200 * number for number in range(sizes)],
        "warmup_epochs": [0.5 * number for number in range(warmups)],
    }
    claim = {"id": "some-warmup-is-best", "statement": "One epoch and a half of warmup is best.", "kind": "best"}
    claim |= {"experiment": "grid", "factor": "warmup_epochs", "level": 1.5}
    return {
        "study": "large",
        "dataset": {
            "name": "imagenet",
            "root": "data/imagenet",
            "num_train_images": 1_281_167,
            "num_val_images": 50_000,
            "num_classes": 1000,
        },
        "recipe": {"epochs": EPOCHS, "workers": WORKERS, "base_lr": 0.0125},
        "seeds": seeds,
        "experiments": [{"name": "grid", "grid": grid, "figures": ["curves", "final"]}],
        "claims": [claim],
    }


def publish_all(config: dict[str, Any], results: Path, audit_every: int = 50) -> None:
    """Write run.json, epochs.csv and steps.csv of every run of a study."""
    from warmscale.study import load_study

    for number, (run_id, run) in enumerate(load_study(config).runs.items()):
        folder, state = results / "runs" / run_id, STATES[number % len(STATES)]
        folder.mkdir(parents=True)
        epochs = {"finished": EPOCHS, "diverged": 7, "failed": 20}[state]
        steps = run.total_steps * epochs // EPOCHS
        (folder / "epochs.csv").write_text(_epochs(run_id, number, epochs, run.total_steps // EPOCHS))
        (folder / "steps.csv").write_text(_steps(run_id, number, range(0, steps, audit_every), run.peak_lr))
        (folder / "run.json").write_text(json.dumps(_record(run, state, epochs, steps), indent=2, sort_keys=True))


def _epochs(run_id: str, number: int, epochs: int, steps: int) -> str:
    from warmscale.records import EPOCH_COLUMNS

    top1 = [75.0 * (1 - 0.93**epoch) + (number * 7919 + epoch * 104729) % 1000 / 1000 for epoch in range(1, epochs + 1)]
    rows = [
        f"{run_id},{epoch},{epoch * steps},{epoch * 1281167},0.4166666666666667,{3.0 - value / 40!r},{value - 2!r},"
        f"{2.9 - value / 40!r},{value!r},{50 + value / 2!r},31234.567891234,38.123456789,1.987654321,0.123456789,15360,"
        f"{GRADIENTS},{10 + number % 7!r}"
        for epoch, value in enumerate(top1, start=1)
    ]
    return "\n".join([",".join(EPOCH_COLUMNS), *rows, ""])


def _steps(run_id: str, number: int, steps: range, peak_lr: float) -> str:
    from warmscale.records import STEP_COLUMNS

    rate = f"{peak_lr!r},{peak_lr!r},30720"
    rows = [
        f"{run_id},{step},{rate},{2.5 + (number + step) % 997 / 997!r},1.2345678e-07,0,{GRADIENTS}" for step in steps
    ]
    return "\n".join([",".join(STEP_COLUMNS), *rows, ""])


def _record(run: Any, state: str, epochs: int, steps: int) -> dict[str, Any]:
    """What run.json has."""
    attempt = {"number": 1, "started": 1767323045.5, "ended": 1767326645.5, "state": state, "failure_class": None,
               "host": "node1", "world_size": 240, "steps_done": steps}  # fmt: skip
    failed = state == "failed"
    return {
        "run_id": run.run_id,
        "content": dict(run.content),
        "state": state,
        "failure_class": "node" if failed else None,
        "failure": "the node went away" if failed else None,
        "diverged_step": steps if state == "diverged" else None,
        "epochs_done": epochs,
        "steps_done": steps,
        "images_seen": steps * run.recipe.mini_batch_size,
        "world_size": 240,
        "zero_stage": 0,
        "deterministic": True,
        "device": "cuda",
        "device_name": "a GPU",
        "versions": {"torch": "2.14.1", "deepspeed": "0.19.8"},
        "commit": {"hash": "0123abc", "dirty": False},
        "attempts": [attempt],
        "node_hours": 40.0,
    }
