"""The one number of a run, from its epochs."""

from __future__ import annotations

import math

import pandas as pd

from ..study import Study
from ..study.metric import LAST_EPOCHS


def run_metrics(epochs: pd.DataFrame) -> pd.DataFrame:
    """Both metrics of every run, and its speed.

    epochs (rows: run, epoch): run_id, epoch, top1, top5, images_per_sec
    -> (index run_id): top1_last, top5_last, top1_median_last_5, top5_median_last_5 in percent, images_per_sec.
    A run of fewer than five epochs has the median of those it has.
    """
    ordered = epochs.sort_values(["run_id", "epoch"], kind="stable")
    runs = ordered.groupby("run_id", sort=False)
    last = runs.tail(1).set_index("run_id")[["top1", "top5"]]
    median = runs.tail(LAST_EPOCHS).groupby("run_id", sort=False)[["top1", "top5"]].median()
    return last.add_suffix("_last").join(
        [median.add_suffix(f"_median_last_{LAST_EPOCHS}"), runs["images_per_sec"].median()]
    )


def chance_of(study: Study) -> float:
    """Chance level of the study's metric; NaN where it is not known, as of most replayed results."""
    if study.is_replayed:
        return math.nan if study.config.replay.chance is None else study.config.replay.chance
    return chance_level(study.config.metric.name, study.config.dataset.num_classes)


def chance_level(metric: str, num_classes: int) -> float:
    """Percent that guessing gets right: the metric of a diverged run, whatever epoch it stopped at."""
    guesses = {"top1": 1, "top5": 5}[metric]
    return min(100.0, 100.0 * guesses / num_classes)
