"""How far runs on one and two ranks drift apart in fp32, beside the spread over seeds. Writes ranks.csv.

The two are the same training up to the order of floating-point sums; training amplifies that. In fp64 the difference
is tested to be under 1e-8 (tests/training/test_ranks.py).
"""

from __future__ import annotations

import copy
import statistics
import tempfile
from pathlib import Path

import yaml
from common import PYTHON, REPOSITORY, make_checkout, run, write_results

SEEDS = 5


def study(ranks: int) -> dict:
    """The linear run at mini-batch 640 of the embedded study, in fp32, on so many ranks."""
    raw = copy.deepcopy(yaml.safe_load((REPOSITORY / "config/digits.yaml").read_text()))
    point = {"mini_batch_size": 640, "workers": 20, "precision": "fp32"}
    return raw | {
        "study": f"ranks{ranks}",
        "seeds": SEEDS,
        "placement": {"ranks_per_node": ranks},
        "experiments": [{"name": "ranks", "extra": [{"point": point}]}],
    }


def main() -> None:
    """Train, compare, and write ranks.csv: a row an epoch."""
    import pandas as pd

    with tempfile.TemporaryDirectory(prefix="warmscale-ranks-") as temporary:
        folder = make_checkout(Path(temporary) / "checkout")
        frames = []
        for ranks in (1, 2):
            (folder / "config/ranks.yaml").write_text(yaml.safe_dump(study(ranks)))
            words = ("--profile", "profiles/local", "--cores", "1", "--configfile", "config/ranks.yaml")
            run(PYTHON, "-m", "snakemake", *words, folder=folder)
            frames.append(pd.read_csv(folder / f"results/ranks{ranks}/tables/epochs.csv"))
    one, two = (frame.set_index(["run_id", "epoch"]) for frame in frames)
    drift = (two - one)[["train_loss", "top1"]].abs()
    rows = [
        {
            "epoch": epoch,
            "loss_difference_median": f"{drift.train_loss.xs(epoch, level='epoch').median():.2g}",
            "loss_difference_max": f"{drift.train_loss.xs(epoch, level='epoch').max():.2g}",
            "loss_sd_over_seeds": f"{statistics.stdev(one.train_loss.xs(epoch, level='epoch')):.2g}",
            "top1_difference_median": f"{drift.top1.xs(epoch, level='epoch').median():.2g}",
            "top1_difference_max": f"{drift.top1.xs(epoch, level='epoch').max():.2g}",
            "top1_sd_over_seeds": f"{statistics.stdev(one.top1.xs(epoch, level='epoch')):.2g}",
        }
        for epoch in sorted(set(one.index.get_level_values("epoch")))
    ]
    write_results("ranks", rows)


if __name__ == "__main__":
    main()
