"""Throughput as the cost model predicts it against what was measured. Frame -> Figure; nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import canvas, style
from .scaling_drawing import WIDE_IN, draw_points, places_axis, series_looks, source_of, why_nothing
from .scaling_frames import one_place
from .style import Look

MODEL_ALONE = "(from the model alone: nothing is measured yet)"
NOT_PREDICTED = "Nothing is predicted: how large the model is is not known"
MARKS = {name: style.MEAN_LINE[name] for name in ("markersize", "markeredgecolor", "markeredgewidth")}
ONE_PREDICTED = {"marker": "_", "markersize": 9, "markeredgewidth": 0.9, "linestyle": "none", "zorder": 1.7}
FROM_PRESET = {**ONE_PREDICTED, "marker": "d", "markersize": 5, "markerfacecolor": "white"}
"""How a prediction stands that no line joins to another: calibrated, or the preset's alone."""
FAINT = {"alpha": 0.3, "linewidth": 0.9}
SHARED = 0.7
"""Of the distance between two places, what the lines share."""


def model_figure(frame: pd.DataFrame, *, title: str, note: str = "", mark: str = "") -> Figure:
    """Images a second, measured and predicted; beside it measured over predicted, where anything was measured.

    frame: as `scaling_frames.throughput_frame` or `trainings_frame` makes it of placements with predictions.
    """
    own = frame[frame["source"].eq(source_of(frame)) & frame["predicted"].notna()]
    measured = own["images_per_sec"].notna()
    named = title if measured.any() or own.empty else f"{title} {MODEL_ALONE}"
    figure = canvas.new_figure(style.FULL_WIDTH_IN, style.HEIGHT_IN, named, note, mark)
    said = one_place(frame) if source_of(frame) == "trainings" else ""
    if own.empty or said:
        return canvas.say(figure.subplots(), said or why_nothing(frame) or NOT_PREDICTED)
    axes = figure.subplots(1, 2 if measured.any() else 1, squeeze=False)[0]
    x, label = places_axis(own)
    looks = series_looks(own)
    _draw_speed(axes[0], own, x, looks)
    axes[0].set(xscale="log", yscale="log", xlabel=label, ylabel="images a second")
    canvas.size_ticks(axes[0], own[x], WIDE_IN / len(axes))
    shown = pd.concat([own, own.assign(images_per_sec=own["predicted"], ci_low=own["predicted_low"])])
    canvas.show_means(axes[0].yaxis, shown, ("images_per_sec", "ci_low", "predicted_high"))
    canvas.round_ticks(axes[0].yaxis)
    if measured.any():
        _draw_ratio(axes[1], own[measured], x, looks)
        axes[1].set(xlabel=label, ylabel="measured / predicted (%)", yscale="log")
        canvas.round_ticks(axes[1].yaxis)
    canvas.legend(axes[-1], _keys(own, looks), "")
    return figure


def _draw_speed(axis: Axes, own: pd.DataFrame, x: str, looks: Mapping[str, Look]) -> None:
    """A line with its band for the model, points for measurements."""
    for series, rows in own.groupby("series", sort=False):
        color = looks[series].color
        ordered = rows.sort_values(x, kind="stable").drop_duplicates(x)
        is_preset = ordered["predicted_from"] == 0  # what was not calibrated is no part of the line of what was
        for line, alone in ((ordered[is_preset], FROM_PRESET), (ordered[~is_preset], ONE_PREDICTED)):
            axis.fill_between(line[x], line["predicted_low"], line["predicted_high"], color=color, **style.FAINT_BAND)
            axis.plot(line[x], line["predicted"], color=color, **style.IDEAL_LINE)
            if len(line) == 1:
                axis.vlines(line[x], line["predicted_low"], line["predicted_high"], color=color, **FAINT)
                axis.plot(line[x], line["predicted"], color=color, **alone)
        points = Look(color, "none", looks[series].marker)
        draw_points(axis, rows, (x, "images_per_sec", "ci_low", "ci_high"), points)


def _draw_ratio(axis: Axes, own: pd.DataFrame, x: str, looks: Mapping[str, Look]) -> None:
    """Measured over predicted, inside or outside of the prediction interval; lines side by side at each place."""
    places = sorted(own[x].unique())
    axis.axhline(100, color=style.MID, **style.IDEAL_LINE)
    for index, (series, look) in enumerate(looks.items()):
        rows = own[own["series"] == series]
        at = rows[x].map(places.index) + SHARED * ((index + 0.5) / len(looks) - 0.5)
        ends = (100 * rows[name] / rows["predicted"] for name in ("predicted_low", "predicted_high"))
        axis.vlines(at, *ends, color=look.color, alpha=0.45, **style.INTERVAL_LINE)
        for chosen, face in ((rows["predicted_from"] > 0, look.color), (rows["predicted_from"] == 0, "white")):
            shown = {**style.SEED_POINT, "color": look.color, "marker": look.marker, "markerfacecolor": face}
            axis.plot(at[chosen], 100 * (rows["images_per_sec"] / rows["predicted"])[chosen], **shown)
    axis.set_xlim(-0.5, len(places) - 0.5)
    axis.set_xticks(range(len(places)), [style.level_label(place) for place in places])


def _keys(own: pd.DataFrame, looks: Mapping[str, Look]) -> list:
    """Lines with markers where anything was measured, the dashes of the model, and what is hollow."""
    measured, alone = own["images_per_sec"].notna(), own["predicted_from"] == 0
    keys = []
    for series, look in looks.items():
        shown = {"linestyle": "none", "marker": look.marker, **MARKS} if measured.any() else style.IDEAL_LINE
        keys.append(Line2D([], [], label=series, color=look.color, **shown))
    label = "predicted from the\npreset of the machine" if alone.all() else "predicted from the\nsmaller placements"
    keys.append(Line2D([], [], color=style.MID, label=label, **style.IDEAL_LINE))
    keys.append(Patch(color=style.MID, label="95 % prediction\ninterval", **style.BAND))
    if alone.any() and not alone.all():
        label = "predicted from the\npreset of the machine"
        keys.append(Line2D([], [], color=style.MID, label=label, **FROM_PRESET))
    if (measured & alone).any() and not alone.all():
        label = "right: hollow where from\nthe machine's preset"
        keys.append(Line2D([], [], color=style.MID, marker="o", label=label, **style.SEED_POINT))
    return keys
