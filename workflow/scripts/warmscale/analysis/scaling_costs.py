"""What an epoch and the target cost: all-reduces, bytes, time and node-hours by mini-batch size. Frame -> frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from .scaling_frames import DEVICE, SAME, place_label, with_series
from .statistics import geometric_summary, summary

COST_PLACE = ("nodes", "ranks", "workers", "mini_batch_size")
"""Where an epoch is trained, and by which mini-batch."""
COST_KEYS = (*SAME, DEVICE, *COST_PLACE)
"""What tells the points of a figure of costs an epoch apart."""
COST_COLUMNS = ("run_id", *COST_KEYS, "updates", "bytes", "epoch_sec")


def training_rows(runs: pd.DataFrame, image_size: int) -> pd.DataFrame:
    """The finished trainings of which it is known where they ran, as measurements of throughput.

    runs: the table -> (rows: runs): columns of the table of throughput, as far as trainings have them.
    """
    done = runs[(runs["state"] == "finished") & runs["nodes"].notna() & runs["images_per_sec"].notna()]
    return done.assign(
        image_size=image_size,
        data="dataset",
        precision=_precision(done),
        ranks_per_node=done["ranks"] // done["nodes"],
        workers_per_rank=done["workers"] // done["ranks"],
        step_sec=done["mini_batch_size"] / done["images_per_sec"],
    )


def _precision(runs: pd.DataFrame) -> pd.Series:
    """As measurements have it: tf32 where fp32 may use it."""
    return runs["precision"].mask(runs["tf32"].eq(True) & runs["precision"].eq("fp32"), "tf32")


def bytes_sent(ranks: pd.Series, gradient_bytes: pd.Series) -> pd.Series:
    """Bytes that a rank sends to average gradients once, in a ring: 2 (R - 1) / R of them (Patarasuk & Yuan 2009)."""
    return 2 * (ranks - 1) / ranks * gradient_bytes


def epochs_of_trainings(runs: pd.DataFrame, epochs: pd.DataFrame, gradient_bytes: Mapping[str, float]) -> pd.DataFrame:
    """An epoch of every finished training: COST_COLUMNS, bytes of a rank; what runs do not have is empty.

    epoch_sec is the median over its epochs, training alone; gradient_bytes: {run_id: bytes}, as far as known.
    """
    done = runs[(runs["state"] == "finished") & runs["nodes"].notna() & runs["total_steps"].notna()]
    seconds = epochs.groupby("run_id", sort=False)["train_sec"].median().rename("epoch_sec")
    rows = done.merge(seconds, left_on="run_id", right_index=True, how="inner", sort=False)
    rows = rows.assign(updates=rows["total_steps"] / rows["total_epochs"])
    known = rows["run_id"].map(dict(gradient_bytes)).astype(float)
    rows["bytes"] = rows["updates"] * bytes_sent(rows["ranks"], known)
    rows = rows.reindex(columns=[*COST_COLUMNS, "tf32"])
    return rows.assign(precision=_precision(rows))[list(COST_COLUMNS)].reset_index(drop=True)


def epochs_of_measurements(throughput: pd.DataFrame, num_train_images: int) -> pd.DataFrame:
    """The same of every finished measurement: what an epoch would be at its speed, the last images left out."""
    rows = throughput[throughput["state"] == "finished"]
    rows = rows.assign(updates=num_train_images // rows["mini_batch_size"]).astype({"updates": float})
    rows["bytes"] = rows["updates"] * bytes_sent(rows["ranks"], rows["gradient_bytes"])
    rows["epoch_sec"] = rows["updates"] * rows["step_sec"]
    rows = rows[rows["updates"] > 0].rename(columns={"measurement_id": "run_id"})
    return rows[list(COST_COLUMNS)].reset_index(drop=True)


def epoch_costs(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """Costs of an epoch by placement and mini-batch size.

    rows: as one of the two functions above makes them
    -> (rows: placements): source, COST_KEYS, n, updates, bytes, epoch_sec (geometric mean over n) with ci_low and
    ci_high (t-intervals on logarithms).
    """
    keys = list(COST_KEYS)
    rows = rows.reindex(columns=list(COST_COLUMNS))
    found = geometric_summary(rows, keys, "epoch_sec").rename(columns={"mean": "epoch_sec"}).drop(columns="sd")
    counts = rows.groupby(keys, sort=False, dropna=False)[["updates", "bytes"]].mean().reset_index()
    found = found.merge(counts, on=keys, how="left").sort_values(["ranks", "workers", "mini_batch_size"], kind="stable")
    found.insert(0, "source", source)
    return found[["source", *keys, "n", "updates", "bytes", "epoch_sec", "ci_low", "ci_high"]].reset_index(drop=True)


def target_frame(
    points: pd.DataFrame,
    runs: pd.DataFrame,
    epochs: pd.DataFrame,
    names: Sequence[str],
    metric: str,
    target: float,
) -> pd.DataFrame:
    """Time and node-hours of training until the metric first reaches the target, of every point of an experiment.

    points (rows: points of the experiment), as `levels.level_points` makes them
    -> (rows: points): level, factors, seed, run_id, state, mini_batch_size, reached (0 or 1; empty without a result),
    epoch (the first that reaches it), hours and node_hours until then or, where it is not reached, of all its training,
    n (runs of the cell with a result), reached_of_n, and mean, ci_low, ci_high of hours, node_mean, node_low and
    node_high of node-hours. A cell has these only if all of its runs reached the target, as a mean over those that did
    would praise the others, and did so on the same nodes and ranks. A run that diverged before it has no hours: they
    say nothing of how long the target takes.
    """
    columns = ["run_id", "state", "mini_batch_size", "nodes", "ranks"]
    frame = points[["level", *names, "seed", "run_id"]].merge(
        runs[["run_id", *(name for name in columns[1:] if name not in names)]], on="run_id", how="left", sort=False
    )
    frame = frame.merge(_until(epochs, metric, target), on="run_id", how="left", sort=False)
    has_result = frame["state"].isin(["finished", "diverged"]) & frame["hours"].notna()
    frame.loc[~has_result, ["reached", "epoch", "hours"]] = None
    frame.loc[frame["state"].eq("diverged") & frame["reached"].eq(0), "hours"] = None
    frame["node_hours"] = frame["hours"] * frame["nodes"]
    return _with_cells(frame, ["level", *names]).drop(columns=["nodes", "ranks"])


def _until(epochs: pd.DataFrame, metric: str, target: float) -> pd.DataFrame:
    """(rows: runs): run_id, reached, epoch, hours."""
    ordered = epochs.sort_values(["run_id", "epoch"], kind="stable")
    ordered = ordered.assign(hours=ordered.groupby("run_id", sort=False)["train_sec"].cumsum() / 3600)
    last = ordered.groupby("run_id", sort=False).tail(1)[["run_id", "hours"]].assign(reached=0.0, epoch=None)
    first = ordered[ordered[metric] >= target].groupby("run_id", sort=False).head(1)
    first = first[["run_id", "epoch", "hours"]].assign(reached=1.0)
    rows = pd.concat([first, last[~last["run_id"].isin(first["run_id"])]], ignore_index=True)
    return rows.astype({"epoch": float})


def _with_cells(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    counts = frame.groupby(keys, sort=False, dropna=False)["reached"].agg(n="count", reached_of_n="sum").reset_index()
    frame = frame.merge(counts, on=keys, how="left", sort=False)
    there = frame[frame["hours"].notna()]
    placed = there.groupby(keys, sort=False, dropna=False)[["nodes", "ranks"]].nunique(dropna=False).eq(1).all(axis=1)
    known = there.groupby(keys, sort=False, dropna=False)["nodes"].count().gt(0)  # empty: it moved between placements
    alike = (placed & known).rename("alike").reset_index()
    frame = frame.merge(alike, on=keys, how="left", sort=False)
    is_whole = (frame["reached_of_n"] == frame["n"]) & frame["alike"].eq(True)
    frame = frame.drop(columns="alike")
    whole = frame[is_whole & frame["hours"].notna()]
    hours = summary(whole, keys, "hours").drop(columns=["n", "sd"])
    node_hours = summary(whole, keys, "node_hours").drop(columns=["n", "sd"])
    node_hours = node_hours.rename(columns={"mean": "node_mean", "ci_low": "node_low", "ci_high": "node_high"})
    return frame.merge(hours, on=keys, how="left", sort=False).merge(node_hours, on=keys, how="left", sort=False)


def costs_frame(costs: pd.DataFrame) -> pd.DataFrame:
    """What the figure of costs an epoch is drawn from: `epoch_costs` with series, a placement's label, and order.

    Workers tell lines apart unless all points of a placement have as many, or as many images a worker.
    """
    batch = costs["mini_batch_size"] / costs["workers"]
    counts = costs.assign(batch=batch).groupby(["nodes", "ranks"])[["workers", "batch"]].nunique()
    workers = ["workers"] if counts.gt(1).all(axis=1).any() else []
    frame = with_series(costs.assign(workers_per_rank=1), place_label, [*SAME, DEVICE, *workers])
    return frame.drop(columns="workers_per_rank")
