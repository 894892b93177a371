"""Throughput by placement: means over repeats, the ideal line, and how much of it is reached. Frame -> frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from .scaling_series import line_label, place_label, with_series
from .statistics import CONFIDENCE, geometric_summary

SAME = ("model", "image_size", "precision", "data", "engine", "zero_stage")
"""Columns that have to be the same for two placements to be compared, beside the type of device. Other options of a
step are those of the study's placement, and what the trainer makes of them belongs to how fast a placement is."""
DEVICE = "device_name"
PLACE = ("nodes", "ranks_per_node", "ranks", "workers", "workers_per_rank", "worker_batch_size", "mini_batch_size")
"""Columns that say how much is done where."""
FAMILIES = {"weak": ("worker_batch_size", "workers_per_rank"), "strong": ("workers", "mini_batch_size")}
"""{kind of scaling: what is held while ranks are added}."""
MEANS = (
    "step_sec", "computation_sec", "communication_sec", "exposed_sec", "data_wait_sec", "updates", "gradient_bytes",
    "workers_per_pass",
)  # fmt: skip
"""Columns of which the mean over repeats is enough."""
RATIO = "computation_to_communication"


def placements(throughput: pd.DataFrame) -> pd.DataFrame:
    """Throughput of every placement and batch, over its repeats.

    throughput (rows: measurements): the table, or as much of it as there is
    -> (rows: placements, by ranks and batch): SAME, DEVICE, PLACE, n, failed, pending, images_per_sec (geometric mean
    over repeats) with sd of logarithms, ci_low and ci_high (t-intervals on logarithms), MEANS, overlap (of the
    means: the repeats that communicate least would count most in a mean of ratios), and RATIO with ratio_low and
    ratio_high as images_per_sec. A placement without a finished measurement has no device and no numbers.
    """
    keys = [*SAME, *PLACE]
    rows = throughput.reindex(columns=list(dict.fromkeys([*throughput, *keys, DEVICE, *MEANS, RATIO])))
    done = rows[rows["state"] == "finished"]
    measured = geometric_summary(done, [*keys, DEVICE], "images_per_sec").rename(columns={"mean": "images_per_sec"})
    ratio = geometric_summary(done, [*keys, DEVICE], RATIO).drop(columns=["n", "sd"])
    ratio = ratio.rename(columns={"mean": RATIO, "ci_low": "ratio_low", "ci_high": "ratio_high"})
    means = done.groupby([*keys, DEVICE], dropna=False, sort=False)[list(MEANS)].mean().reset_index()
    means["overlap"] = 1 - means["exposed_sec"] / means["communication_sec"]
    found = rows[keys].drop_duplicates().merge(_missing(rows, keys), on=keys, how="left")
    for part in (measured, means, ratio):
        found = found.merge(part, on=[name for name in part if name in found], how="left")
    found["n"] = found["n"].fillna(0).astype(int)
    order = ["ranks", "nodes", "workers", "worker_batch_size", DEVICE]
    return found.sort_values(order, kind="stable").reset_index(drop=True)


def _missing(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """How many measurements of a placement failed, and how many are still to be made."""
    marks = rows[list(keys)].assign(
        failed=(rows["state"] == "failed").astype(int),
        pending=(~rows["state"].isin(["finished", "failed"])).astype(int),
    )
    return marks.groupby(list(keys), dropna=False, sort=False).sum().reset_index()


def families(found: pd.DataFrame) -> pd.DataFrame:
    """The placements that scaling can be read from, with the ideal and the share of it that is reached.

    found (rows: placements): as `placements` makes it
    -> (rows: placements of each family of FAMILIES that has two or more numbers of ranks): scaling, the columns of
    found, line_device (that of the family), base_ranks, base_n, ideal (images a second: those of the smallest measured
    placement, the base, times the ranks it has more), efficiency (the share of the ideal, of the base and of more
    ranks), efficiency_low, efficiency_high.
    """
    parts = [_family(own, scaling) for scaling in FAMILIES for own in _groups(found, scaling)]
    empty = found.iloc[:0].assign(scaling="", line_device="", base_ranks=0.0, base_n=0, ideal=0.0, efficiency=0.0)
    parts = parts or [empty.assign(efficiency_low=0.0, efficiency_high=0.0)]
    frame = pd.concat(parts, ignore_index=True)
    return frame[["scaling", *(name for name in frame if name != "scaling")]]


def _groups(found: pd.DataFrame, scaling: str) -> list[pd.DataFrame]:
    """Families with a measured placement and at least two numbers of ranks; missing placements belong to each."""
    keys = [*SAME, *FAMILIES[scaling]]
    groups = []
    for _, own in found.groupby(keys, dropna=False, sort=False):
        devices = own.loc[own["n"] > 0, DEVICE].unique()
        for device in devices:
            one = own[(own["n"] == 0) | own[DEVICE].eq(device) | (own[DEVICE].isna() & pd.isna(device))]
            if one["ranks"].nunique() > 1:
                groups.append(one.sort_values(["ranks", "nodes"], kind="stable"))
    return groups


def _family(own: pd.DataFrame, scaling: str) -> pd.DataFrame:
    base = own[own["n"] > 0].iloc[0]
    ideal = base["images_per_sec"] * own["ranks"] / base["ranks"]
    low, high = _ratio_interval(own, base)
    is_base = own.index == base.name  # its share of itself is 1, without an interval
    efficiency = (own["images_per_sec"] / ideal).where(is_base | (own["ranks"] > base["ranks"]))
    return own.assign(
        scaling=scaling,
        line_device=base[DEVICE],
        base_ranks=base["ranks"],
        base_n=base["n"],
        ideal=ideal,
        efficiency=efficiency,
        efficiency_low=np.where(is_base, np.nan, efficiency * low),
        efficiency_high=np.where(is_base, np.nan, efficiency * high),
    )


def _ratio_interval(own: pd.DataFrame, base: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Factors from a ratio of geometric means to the ends of its interval; NaN where one of them has one repeat.

    Welch's interval of the difference of two means of logarithms.
    """
    errors, df = [], []
    for part in (own, base):
        n = np.asarray(part["n"], dtype=float)
        many = np.where(n > 1, n, np.nan)
        errors.append(np.asarray(part["sd"], dtype=float) ** 2 / many)
        df.append(many - 1)
    total = errors[0] + errors[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.where(total > 0, total**2 / (errors[0] ** 2 / df[0] + errors[1] ** 2 / df[1]), df[0] + df[1])
    half = stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(total)
    return np.exp(-half), np.exp(half)


def throughput_frame(found: pd.DataFrame, trained: pd.DataFrame | None = None) -> pd.DataFrame:
    """What figures of throughput are drawn from: the families, placements of none, and trainings that belong beside.

    found, trained (rows: placements of measurements, of trainings): as `placements` makes them
    -> (rows: placements of each line): source (measurements, trainings), series (the label of the line), order, the
    columns of `families`; scaling is "alone" for a placement of no family, which has no ideal.
    """
    frame = _lines(found).assign(source="measurements")
    if trained is not None and len(trained):
        frame = pd.concat([frame, *_beside(frame, trained)], ignore_index=True)
    # where nodes differ as well, as many ranks stand on nodes in several ways
    a_node = ["ranks_per_node"] if frame["nodes"].nunique() > 1 else []
    return with_series(frame, line_label, [*a_node, "line_device"])


def trainings_frame(trained: pd.DataFrame) -> pd.DataFrame:
    """What figures of the throughput of trainings are drawn from: the same of their placements.

    Nobody asked for their ranks a node, which follow from their workers: these tell lines apart only where as many
    ranks stood on nodes in several ways.
    """
    frame = _lines(trained).assign(source="trainings")
    is_several = frame.groupby("ranks")["nodes"].nunique().gt(1).any()
    a_node = ["ranks_per_node"] if is_several else []
    return with_series(frame, line_label, ["model", "precision", *a_node, "line_device"])


def one_place(frame: pd.DataFrame) -> str:
    """Why trainings have nothing to compare by placement; nothing where they have. frame: placements, or more."""
    counts = frame["ranks"].unique()
    if len(counts) > 1:
        return ""
    if not len(counts):
        return "No training has finished on one placement yet"
    return (
        f"All trainings stood on {counts[0]:,.0f} {'rank' if counts[0] == 1 else 'ranks'}: no two placements to compare"
    )


def _lines(found: pd.DataFrame) -> pd.DataFrame:
    """The placements of all families, and those of none."""
    keys, lines = [*SAME, DEVICE, *PLACE], families(found)
    alone = found.merge(lines[keys].drop_duplicates(), on=keys, how="left", indicator=True)
    alone = alone[alone["_merge"] == "left_only"].drop(columns="_merge").assign(scaling="alone")
    return pd.concat([lines, alone.assign(line_device=alone[DEVICE])], ignore_index=True)


def _beside(frame: pd.DataFrame, trained: pd.DataFrame) -> list[pd.DataFrame]:
    """The trainings that were of the same model on lines of the frame."""
    parts = []
    for scaling, held in FAMILIES.items():
        keys = ["model", "image_size", "precision", DEVICE, *held]
        lines = frame.loc[frame["scaling"] == scaling, keys].drop_duplicates()
        parts.append(
            trained.merge(lines, on=keys, how="inner").assign(
                scaling=scaling, source="trainings", line_device=lambda own: own[DEVICE]
            )
        )
    return [part for part in parts if len(part)]


def ratio_frame(found: pd.DataFrame) -> pd.DataFrame:
    """What the figure of computation over communication is drawn from: the placements of several ranks.

    found: as `placements` makes it -> the same with series (the label of a placement) and order. A placement
    without a measurement has no device, and stands in the lines of all.
    """
    frame = found[found["ranks"] > 1]
    devices = frame[DEVICE].dropna().unique()
    parts = [frame[frame[DEVICE].isna() | (frame[DEVICE] == device)].assign(line_device=device) for device in devices]
    frame = pd.concat(parts, ignore_index=True) if parts else frame.assign(line_device=None)
    return with_series(frame, place_label, ["line_device"])
