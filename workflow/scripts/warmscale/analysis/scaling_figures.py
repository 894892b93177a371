"""Throughput by nodes or ranks, how much of the ideal it is, and computation over communication. Frame -> Figure."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import canvas, style
from .scaling_drawing import (
    WIDE_IN,
    absent_keys,
    base_text,
    dodged,
    draw_absent,
    draw_points,
    interval_keys,
    mean_keys,
    nothing_measured,
    over,
    places_axis,
    series_keys,
    series_looks,
    source_of,
    why_nothing,
)
from .scaling_frames import RATIO

PANEL_TITLES = {"weak": "weak: the same batch a worker", "strong": "strong: the same mini-batch"}
LOWEST_PERCENT = 80.0
"""An axis of efficiency begins there at the latest."""


def throughput_figure(frame: pd.DataFrame, *, title: str, note: str = "", mark: str = "") -> Figure:
    """Images a second of every placement, both in logs, with the ideal line of each family.

    frame: as `scaling_frames.throughput_frame` or `trainings_frame` makes it; trainings are hollow beside measurements.
    """
    figure = canvas.new_figure(style.FULL_WIDTH_IN, style.HEIGHT_IN, title, note, mark)
    axis = figure.subplots()
    if said := why_nothing(frame):
        return canvas.say(axis, said)
    x, label = places_axis(frame)
    looks, main = series_looks(frame), source_of(frame)
    for (series, _), own in frame.groupby(["series", "scaling"], sort=False):
        line = own[own["ideal"].notna()]
        axis.plot(line[x], line["ideal"], color=looks[series].color, **style.IDEAL_LINE)
        for source, rows in own.groupby("source", sort=False):
            draw_points(axis, rows, (x, "images_per_sec", "ci_low", "ci_high"), looks[series], hollow=source != main)
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

    frame: as `scaling_frames.throughput_frame` or `trainings_frame` makes it.
    """
    figure = canvas.new_figure(style.FULL_WIDTH_IN, style.HEIGHT_IN, title, note, mark)
    own = frame[frame["scaling"].isin(PANEL_TITLES) & frame["source"].eq(source_of(frame))]
    if own["efficiency"].isna().all():
        return canvas.say(figure.subplots(), why_nothing(frame) or "No two placements differ in their ranks alone")
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
    interval = f"95 % interval of the ratio\nof two means over {over(own)}"
    keys += [*interval_keys(percent["efficiency_low"], interval), *absent_keys(own)]
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
    canvas.legend(axis, [*keys, *mean_keys(frame["ratio_low"], "repeats"), *absent_keys(frame)], "")
    return figure


def _percent_range(percent: pd.DataFrame) -> tuple[float, float]:
    """All means, intervals up to twice the ideal, and from a round number on."""
    ends = percent[["efficiency", "efficiency_low", "efficiency_high"]]
    low = min(LOWEST_PERCENT, 10 * (ends.min().min() // 10))
    return max(low, 0.0), max(104.0, 1.02 * ends["efficiency"].max(), min(1.02 * ends.max().max(), 200.0))


def _show_one(axis: Axes) -> None:
    """The line where both take as long, with room around it where it is the edge."""
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, 0.8), max(high, 1.25))
    axis.axhline(1, color=style.MID, **style.IDEAL_LINE)


def _throughput_keys(frame: pd.DataFrame) -> list[Line2D]:
    keys = []
    if frame["ideal"].notna().any():
        label = f"ideal: of the smallest\n{base_text(frame)}"
        keys.append(Line2D([], [], color=style.MID, label=label, **style.IDEAL_LINE))
    keys += mean_keys(frame["ci_low"], over(frame))
    if frame["source"].ne(source_of(frame)).any():
        keys.append(Line2D([], [], color=style.MID, marker="o", label="trainings", **style.SEED_POINT))
    if (frame["n"].eq(0) & frame["ideal"].notna()).any():
        keys.append(Line2D([], [], label="no measurement", **style.ABSENT_MARK))
    return keys
