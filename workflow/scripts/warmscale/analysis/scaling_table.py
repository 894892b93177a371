"""The table of scaling: a row a placement and batch, of measurements and of trainings."""

from __future__ import annotations

import pandas as pd

from ..study import Study
from .scaling import predicted_placements_of
from .scaling_costs import bytes_sent
from .scaling_frames import DEVICE, PLACE, RATIO, SAME, families
from .scaling_model import PREDICTED
from .scaling_trainings import predicted_placements_of_trainings
from .tables import Tables

SCALING_COLUMNS = (
    "source", "experiment", *SAME, DEVICE, *PLACE, "n", "failed", "pending",
    "images_per_sec", "ci_low", "ci_high", "ideal", "weak_efficiency", "weak_low", "weak_high",
    "strong_efficiency", "strong_low", "strong_high", "step_sec", "computation_sec", "communication_sec", "exposed_sec",
    "overlap", "data_wait_sec", RATIO, "ratio_low", "ratio_high",
    "updates_per_epoch", "bytes_per_epoch", "epoch_sec", *PREDICTED,
)  # fmt: skip
"""Each update has one all-reduce of all gradients, in as many buckets as the table of throughput has all_reduces; bytes
are what a rank sends; epoch_sec is training alone."""


def scaling_table(study: Study, tables: Tables) -> pd.DataFrame:
    """Throughput, efficiency, communication and predictions of every placement: SCALING_COLUMNS.

    source: measurements or trainings, which are of no experiment.
    """
    parts = [
        _with_families(predicted_placements_of(study, tables, one.name)).assign(
            source="measurements", experiment=one.name
        )
        for one in study.config.throughputs
    ]
    if study.runs:
        own = _with_families(predicted_placements_of_trainings(study, tables))
        parts.append(own.assign(source="trainings", experiment=None))
    columns = list(SCALING_COLUMNS)
    parts = [_with_costs(part).reindex(columns=columns) for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _with_families(found: pd.DataFrame) -> pd.DataFrame:
    """Placements with the ideal, that of weak scaling where there is one, and both efficiencies."""
    keys, lines = [*SAME, DEVICE, *PLACE], families(found)
    for scaling in ("weak", "strong"):
        own = lines[lines["scaling"] == scaling].drop_duplicates(keys)
        names = {"efficiency": f"{scaling}_efficiency", "efficiency_low": f"{scaling}_low"}
        names |= {"efficiency_high": f"{scaling}_high", "ideal": f"{scaling}_ideal"}
        found = found.merge(own[[*keys, *names]].rename(columns=names), on=keys, how="left", sort=False)
    return found.assign(ideal=found["weak_ideal"].fillna(found["strong_ideal"]))


def _with_costs(found: pd.DataFrame) -> pd.DataFrame:
    return found.assign(
        updates_per_epoch=found["updates"],
        bytes_per_epoch=found["updates"] * bytes_sent(found["ranks"], found["gradient_bytes"]),
        epoch_sec=found["updates"] * found["step_sec"],
    )
