"""Gradients over epochs by mini-batch size and warmup, all experiments together: frames -> frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ..records import OUTCOMES
from ..study.recipe import leaves
from . import style
from .levels import label_factors
from .observations import SEED_LEAVES
from .optima import SIZE, WARMUP
from .statistics import summary
from .tables import Tables

QUANTITIES = {"gradient_norm": True, "gradient_cosine": False, "update_to_weight": True}
"""{column: whether its logarithm is averaged and drawn}."""
WINDOWS = 16
"""Parts of a tenfold number of epochs: what a run measured in one of them is averaged."""
MOST_SHOWN = 8
"""Mini-batch sizes in the figure, and lines in a panel; its table has all."""
DENSE = 0.5
"""Of the rows of the first epoch, what an epoch needs to be shown step by step; else its mean stands for it."""


def run_cells(runs: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The runs that were trained here and have a result, and the factors of a cell besides its mini-batch size.

    runs (rows: runs) -> (rows: runs, by mini-batch size, warmup and seed): level, and the columns of `runs`.
    Runs of a cell differ in their seed alone; `level` is its label, the warmup first.
    """
    own = runs[runs["state"].isin(OUTCOMES) & runs["imported"].isna()]
    others = [leaf for leaf in leaves() if leaf not in (SIZE, WARMUP, *SEED_LEAVES)]
    told = label_factors(own, [SIZE, WARMUP, *others])
    names = (WARMUP, *(name for name in told if name not in (SIZE, WARMUP)))
    own = own.sort_values([SIZE, WARMUP, "seed"], kind="stable").reset_index(drop=True)
    own.insert(0, "level", [style.cell_label(row, names) for row in own.to_dict("records")])
    return own, names


def gradients_frame(tables: Tables) -> pd.DataFrame:
    """What gradients and updates did over the epochs of every cell.

    -> (rows: cell, quantity, window of epochs): mini_batch_size, level, factors, quantity, epoch (updates done, in
    epochs), n (runs), mean, ci_low, ci_high over seeds, of logarithms where QUANTITIES says so. In the first epochs
    single steps are averaged in a window, later the means of epochs.
    """
    cells, names = run_cells(tables.runs)
    keys = [SIZE, "level", *names]
    series = _series(cells, tables).melt(["run_id", "epoch", "window"], list(QUANTITIES), "quantity").dropna()
    is_log = series["quantity"].map(QUANTITIES).astype(bool)
    series = series[~is_log | (series["value"] > 0)]
    series["value"] = series["value"].where(~is_log, np.log(series["value"].where(is_log)))
    by_run = series.groupby(["run_id", "quantity", "window"], sort=False)[["epoch", "value"]].mean().reset_index()
    rows = cells[[*keys, "run_id"]].merge(by_run, on="run_id", sort=False)
    by = [*keys, "quantity", "window"]
    found = summary(rows, by, "value").merge(rows.groupby(by, dropna=False)["epoch"].mean().reset_index(), on=by)
    is_log = found["quantity"].map(QUANTITIES).astype(bool)
    for column in ("mean", "ci_low", "ci_high"):
        found[column] = found[column].where(~is_log, np.exp(found[column].where(is_log)))
    found = found.sort_values([WARMUP, *names[1:], SIZE, "quantity", "epoch"], kind="stable", ignore_index=True)
    return found[[*keys, "quantity", "epoch", "n", "mean", "ci_low", "ci_high"]]


def factors_in(frame: pd.DataFrame) -> list[str]:
    """The factors that tell the lines of a panel apart, of a frame of `gradients_frame`."""
    return list(frame.loc[:, "level":"quantity"])[1:-1]


def shown(values: Iterable[Any], most: int = MOST_SHOWN) -> list[Any]:
    """So many of the different values, evenly spaced in their order, the first and the last among them."""
    known = list(dict.fromkeys(values))
    places = np.linspace(0, len(known) - 1, most).round().astype(int) if len(known) > most else range(len(known))
    return [known[place] for place in places]


def _series(cells: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """(rows: run, measured step or epoch): run_id, epoch, window, QUANTITIES."""
    runs = cells[["run_id", "total_steps", "total_epochs"]]
    steps = tables.steps.dropna(subset=["gradient_norm"]).merge(runs, on="run_id", sort=False)
    epochs = tables.epochs.dropna(subset=["gradient_norm"]).merge(runs, on="run_id", sort=False)
    steps_an_epoch = steps["total_steps"] / steps["total_epochs"]
    steps["number"] = np.floor(steps["step"] / steps_an_epoch) + 1
    last = _last_dense_epoch(steps)
    early = steps["number"] <= steps["run_id"].map(last).astype(float)  # a type also where there is nothing
    late = epochs["epoch"] > epochs["run_id"].map(last).astype(float).fillna(0)
    steps = steps[early].assign(epoch=(steps["step"] + 1) / steps_an_epoch)
    epochs = epochs[late].assign(epoch=epochs["epoch"] - 0.5)  # the mean of an epoch stands in its middle
    series = pd.concat([part[["run_id", "epoch", *QUANTITIES]] for part in (steps, epochs)], ignore_index=True)
    return series.assign(window=np.floor(WINDOWS * np.log10(series["epoch"])))


def _last_dense_epoch(steps: pd.DataFrame) -> pd.Series:
    """{run_id: the last epoch, from the first on, in which measured steps have rows}: later ones have a few at most."""
    if steps.empty:  # groups of nothing have no type
        return pd.Series(dtype=float)
    rows = steps.groupby(["run_id", "number"]).size().rename("rows").reset_index()
    rows["first"] = rows.groupby("run_id")["rows"].transform("first")
    rows["place"] = rows.groupby("run_id").cumcount() + 1
    is_dense = (rows["number"] == rows["place"]) & (rows["rows"] >= DENSE * rows["first"])
    dense = rows[is_dense.groupby(rows["run_id"]).cummin()]
    return dense.groupby("run_id")["number"].max()
