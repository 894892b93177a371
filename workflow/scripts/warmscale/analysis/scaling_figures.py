"""Throughput by nodes or ranks, how much of the ideal it is, and computation over communication. Frame -> Figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import canvas, style
from .scaling_frames import RATIO
from .style import Look

PANEL_TITLES = {"weak": "weak: the same batch a worker", "strong": "strong: the same mini-batch"}
WIDE_IN = 4.2
"""About how wide axes are beside a legend, inches."""
LOWEST_PERCENT = 80.0
"""An axis of efficiency begins there at the latest."""
LEAST = 1e-3
"""Of a mean: an axis of logs has no place for ends of intervals at 0 and below, and does not reach down to this."""
INTERVAL_KEY = "geometric mean and 95 %\nt-interval over repeats"
DODGED = 0.035
"""Of the length of an axis, over how much the points of one place are spread."""


def throughput_figure(frame: pd.DataFrame, *, title: str, note: str = "", mark: str = "") -> Figure:
    """Images a second of every placement, both in logs, with the ideal line of each family.

    frame: as `scaling_frames.throughput_frame` makes it.
    """
    figure = canvas.new_figure(style.FULL_WIDTH_IN, style.HEIGHT_IN, title, note, mark)
    axis = figure.subplots()
    if frame["images_per_sec"].isna().all():
        return canvas.say(axis, nothing_measured(frame))
    x, label = places_axis(frame)
    looks = series_looks(frame)
    for (series, _), own in frame.groupby(["series", "scaling"], sort=False):
        line = own[own["ideal"].notna()]
        axis.plot(line[x], line["ideal"], color=looks[series].color, **style.IDEAL_LINE)
        for source, rows in own.groupby("source", sort=False):
            draw_points(axis, rows, (x, "images_per_sec", "ci_low", "ci_high"), looks[series], source == "trainings")
        absent = own[own["n"].eq(0) & own["ideal"].notna()]
        axis.plot(absent[x], absent["ideal"], **style.ABSENT_MARK)
    axis.set(xscale="log", yscale="log", xlabel=label, ylabel="images a second")
    shown = pd.concat([frame, frame.assign(images_per_sec=frame["ideal"], ci_low=None, ci_high=None)])
    canvas.show_means(axis.yaxis, shown, ("images_per_sec", "ci_low", "ci_high"))
    canvas.size_ticks(axis, frame[x], WIDE_IN)
    canvas.round_ticks(axis.yaxis)
    canvas.legend(axis, [*series_keys(looks), *_throughput_keys(frame)], "")
    return figure


def efficiency_figure(frame: pd.DataFrame, *, title: str, note: str = "", mark: str = "") -> Figure:
    """Share of the ideal throughput that is reached, a panel for each kind of scaling that there is.

    frame: as `scaling_frames.throughput_frame` makes it.
    """
    figure = canvas.new_figure(style.FULL_WIDTH_IN, style.HEIGHT_IN, title, note, mark)
    own = frame[frame["scaling"].isin(PANEL_TITLES) & (frame["source"] == "measurements")]
    if own["efficiency"].isna().all():
        text = nothing_measured(frame) if frame["n"].eq(0).all() else "No two placements differ in their ranks alone"
        return canvas.say(figure.subplots(), text)
    kinds = [kind for kind in PANEL_TITLES if (own["scaling"] == kind).any()]
    axes = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    x, label = places_axis(own)
    looks = series_looks(own)
    percent = own.assign(**{name: 100 * own[name] for name in ("efficiency", "efficiency_low", "efficiency_high")})
    for axis, kind in zip(axes, kinds, strict=True):
        axis.axhline(100, color=style.MID, **style.IDEAL_LINE)
        for series, rows in dodged(percent[percent["scaling"] == kind], x).groupby("series", sort=False):
            draw_points(axis, rows, (x, "efficiency", "efficiency_low", "efficiency_high"), looks[series])
            draw_absent(axis, rows, x, looks[series])
        axis.set(xscale="log", xlabel=label)
        axis.set_title(PANEL_TITLES[kind])
        canvas.size_ticks(axis, percent[x], WIDE_IN / len(kinds))
    axes[0].set(ylim=_percent_range(percent), ylabel="parallel efficiency (%)")
    base = f"ideal: the smallest\n{base_text(own)}"
    keys = [*series_keys(looks), Line2D([], [], color=style.MID, label=base, **style.IDEAL_LINE)]
    if percent["efficiency_low"].notna().any():
        keys.append(_interval_key("95 % interval of the ratio\nof two means over repeats"))
    keys += absent_keys(own)
    canvas.legend(axes[-1], keys, "")
    return figure


def ratio_figure(frame: pd.DataFrame, *, title: str, note: str = "", mark: str = "") -> Figure:
    """Time of computation over time of communication by worker batch size, a line a placement, both in logs.

    frame: as `scaling_frames.ratio_frame` makes it.
    """
    figure = canvas.new_figure(style.FULL_WIDTH_IN, style.HEIGHT_IN, title, note, mark)
    axis = figure.subplots()
    if frame[RATIO].isna().all():
        alone = len(frame) == 0
        return canvas.say(axis, "On one rank there is no communication" if alone else nothing_measured(frame))
    looks = series_looks(frame)
    for series, own in dodged(frame, "worker_batch_size").groupby("series", sort=False):
        draw_points(axis, own, ("worker_batch_size", RATIO, "ratio_low", "ratio_high"), looks[series])
        draw_absent(axis, own, "worker_batch_size", looks[series])
    axis.set(xscale="log", yscale="log", xlabel=style.factor_label("worker_batch_size"))
    axis.set_ylabel("computation / communication")
    canvas.show_means(axis.yaxis, frame, (RATIO, "ratio_low", "ratio_high"))
    _show_one(axis)
    canvas.size_ticks(axis, frame["worker_batch_size"], WIDE_IN)
    canvas.round_ticks(axis.yaxis)
    keys = [*series_keys(looks), Line2D([], [], color=style.MID, label="both take as long", **style.IDEAL_LINE)]
    intervals = [_interval_key()] if frame["ratio_low"].notna().any() else []
    canvas.legend(axis, [*keys, *intervals, *absent_keys(frame)], "")
    return figure


def _percent_range(percent: pd.DataFrame) -> tuple[float, float]:
    """All means and intervals, but no more than twice the ideal, and from a round number on."""
    ends = percent[["efficiency", "efficiency_low", "efficiency_high"]]
    low = min(LOWEST_PERCENT, 10 * (ends.min().min() // 10))
    return max(low, 0.0), max(104.0, min(1.02 * ends.max().max(), 200.0))


def _show_one(axis: Axes) -> None:
    """The line where both take as long, with room around it where it is the edge."""
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, 0.8), max(high, 1.25))
    axis.axhline(1, color=style.MID, **style.IDEAL_LINE)


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
    """The means of a line with their intervals; hollow: points alone, of trainings.

    Where a place has several points they are of several lines, and none is drawn.
    """
    x, y, low, high = columns
    there = rows[rows[y].notna()].sort_values(x, kind="stable")
    if there.empty:
        return
    ends = there[there[low].notna()]
    lows = ends[low].clip(lower=ends[y] * LEAST)
    axis.vlines(ends[x], lows, ends[high], color=look.color, **style.INTERVAL_LINE)
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


def nothing_measured(frame: pd.DataFrame) -> str:
    """Why there is nothing to draw."""
    own = frame.drop_duplicates([name for name in frame if name in ("nodes", "ranks", "workers", "worker_batch_size")])
    counts = {name: int(own[name].sum()) for name in ("failed", "pending") if name in own}
    return "No measurement yet: " + (", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none")


def _interval_key(label: str = INTERVAL_KEY) -> Line2D:
    shown: dict[str, Any] = {**style.MEAN_LINE, **style.INTERVAL_LINE, "marker": "o"}
    return Line2D([], [], color=style.MID, label=label, **shown)


def _throughput_keys(frame: pd.DataFrame) -> list[Line2D]:
    keys = []
    if frame["ideal"].notna().any():
        label = f"ideal: of the smallest\n{base_text(frame)}"
        keys.append(Line2D([], [], color=style.MID, label=label, **style.IDEAL_LINE))
    if frame["ci_low"].notna().any():
        keys.append(_interval_key())
    if (frame["source"] == "trainings").any():
        keys.append(Line2D([], [], color=style.MID, marker="o", label="trainings", **style.SEED_POINT))
    if (frame["n"].eq(0) & frame["ideal"].notna()).any():
        keys.append(Line2D([], [], label="no measurement", **style.ABSENT_MARK))
    return keys
