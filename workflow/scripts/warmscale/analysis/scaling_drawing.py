"""What figures of scaling share: their axes, the looks of lines, points with intervals, entries of legends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from . import style
from .scaling_frames import one_place
from .style import Look

WIDE_IN = 4.2
"""About how wide axes are beside a legend, inches."""
DODGED = 0.035
"""Of the length of an axis, over how much the points of one place are spread."""


def source_of(frame: pd.DataFrame) -> str:
    """What a figure by placement is of: trainings, or measurements, beside which trainings may stand."""
    return "trainings" if frame["source"].eq("trainings").all() else "measurements"


def over(frame: pd.DataFrame) -> str:
    """What means are taken over."""
    return "runs" if source_of(frame) == "trainings" else "repeats"


def why_nothing(frame: pd.DataFrame) -> str:
    """Why there is nothing to draw by placement; nothing where there is."""
    if source_of(frame) == "trainings":
        return one_place(frame)
    return nothing_measured(frame) if frame["images_per_sec"].isna().all() else ""


def nothing_measured(frame: pd.DataFrame) -> str:
    """What is missing where nothing is measured."""
    own = frame.drop_duplicates([name for name in frame if name in ("nodes", "ranks", "workers", "worker_batch_size")])
    counts = {name: int(own[name].sum()) for name in ("failed", "pending") if name in own}
    return "No measurement yet: " + (", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none")


def places_axis(frame: pd.DataFrame) -> tuple[str, str]:
    """What placements are shown by: nodes where they differ in these alone, else ranks; and its label."""
    a_node = frame["ranks_per_node"].unique()
    if frame["nodes"].nunique() > 1 and len(a_node) == 1:
        each = f" of {a_node[0]:g} ranks" if a_node[0] > 1 else ""
        return "nodes", f"nodes{each}"
    return "ranks", "ranks"


def series_looks(frame: pd.DataFrame) -> dict[str, Look]:
    """A look for every line: by its batch or by its ranks, whatever tells them apart; dashes are of no measurement."""
    rows = frame.drop_duplicates("series").assign(level=lambda own: own["series"])
    found = style.looks(rows.sort_values("order", kind="stable"), ["order"])
    return {series: replace(look, linestyle="-") for series, look in found.items()}


def dodged(frame: pd.DataFrame, x: str) -> pd.DataFrame:
    """The same with the lines a little beside each other, where intervals would lie on each other; x in logs."""
    lines = frame["order"].rank(method="dense")
    span = math.log(frame[x].max() / frame[x].min()) or 1.0
    shift = DODGED * span * ((lines - 0.5) / lines.max() - 0.5)
    return frame.assign(**{x: frame[x] * shift.map(math.exp)})


def draw_points(
    axis: Axes, rows: pd.DataFrame, columns: tuple[str, str, str, str], look: Look, hollow: bool = False
) -> None:
    """The means of a line with their intervals; hollow: points alone, of trainings beside measurements.

    Where a place has several points they are of several lines, and none is drawn.
    """
    x, y, low, high = columns
    there = rows[rows[y].notna()].sort_values(x, kind="stable")
    if there.empty:
        return
    ends = there[there[low].notna()]
    axis.vlines(ends[x], ends[low], ends[high], color=look.color, **style.INTERVAL_LINE)
    if hollow:
        axis.plot(there[x], there[y], color=look.color, marker=look.marker, **style.SEED_POINT)
    else:
        shown = {"color": look.color, "linestyle": look.linestyle, "marker": look.marker}
        if there[x].duplicated().any():
            shown["linestyle"] = "none"
        axis.plot(there[x], there[y], clip_on=False, **shown, **style.THIN_MEAN_LINE)


def draw_absent(axis: Axes, rows: pd.DataFrame, x: str, look: Look) -> None:
    """Crosses at the lower edge, in the colour of the line, where a placement has no measurement."""
    absent = rows[rows["n"] == 0]
    mark = {**style.ABSENT_MARK, "color": look.color}
    if len(absent):
        axis.plot(absent[x], [0.03] * len(absent), transform=axis.get_xaxis_transform(), clip_on=False, **mark)


def absent_keys(frame: pd.DataFrame) -> list[Line2D]:
    """The entry of a legend for those crosses, where there are any."""
    return [Line2D([], [], label="no measurement", **style.ABSENT_MARK)] if frame["n"].eq(0).any() else []


def base_text(frame: pd.DataFrame) -> str:
    """What the ideal is of: the ranks of the smallest placement of each line that was measured."""
    counts = sorted(frame["base_ranks"].dropna().unique())
    shown = f"{counts[0]:,.0f}" if len(counts) == 1 else f"{counts[0]:,.0f} to {counts[-1]:,.0f}"
    return f"measured, {shown} {'rank' if counts == [1] else 'ranks'}"


def series_keys(looks: Mapping[str, Look]) -> list[Line2D]:
    """A legend entry for every line."""
    return [
        Line2D(
            [], [], color=look.color, linestyle=look.linestyle, marker=look.marker, label=series, **style.THIN_MEAN_LINE
        )
        for series, look in looks.items()
    ]


def interval_keys(low: pd.Series, label: str) -> list[Line2D]:
    """The entry of a legend for intervals, where there are any. low: their lower ends."""
    shown: dict[str, Any] = {**style.MEAN_LINE, **style.INTERVAL_LINE, "marker": "o"}
    return [Line2D([], [], color=style.MID, label=label, **shown)] if low.notna().any() else []


def mean_keys(low: pd.Series, what: str) -> list[Line2D]:
    """The same of geometric means. what: what they are taken over."""
    return interval_keys(low, f"geometric mean and 95 %\nt-interval over {what}")
