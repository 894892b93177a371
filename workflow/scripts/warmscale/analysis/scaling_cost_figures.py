"""What an epoch and the target cost by mini-batch size. Frame -> Figure; nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import canvas, style
from .scaling_drawing import dodged, draw_points, mean_keys, over, series_keys, series_looks
from .style import Look

BESIDE = 1.06
"""Times a mini-batch size, where its mean stands."""
PANEL_HEIGHT_IN = 2.3
PANEL_WIDTH_IN = 2.3
"""About, where two stand beside each other."""
SIZE = "mini_batch_size"
ALL_REDUCES = "all-reduces of all gradients\nan epoch (one an update)"


def communication_figure(frame: pd.DataFrame, *, title: str, note: str = "", mark: str = "") -> Figure:
    """All-reduces, bytes and time of an epoch by mini-batch size, all in logs; updates where one rank did all.

    frame: as `scaling_costs.costs_frame` makes it.
    """
    if frame.empty:
        figure = canvas.new_figure(style.FULL_WIDTH_IN, style.HEIGHT_IN, title, note, mark)
        return canvas.say(figure.subplots(), "No finished training or measurement yet")
    unit, size = style.byte_unit(frame["bytes"].max())
    averages = frame["ranks"] > 1
    shown = frame.assign(
        updates=frame["updates"].where(averages | ~averages.any()),
        sent=(frame["bytes"] / size).where(frame["bytes"] > 0),
    )
    updates = ALL_REDUCES if averages.any() else "updates an epoch"
    columns = {"updates": updates, "sent": f"{unit} a rank sends an epoch", "epoch_sec": "seconds an epoch"}
    names = [name for name in columns if shown[name].notna().any()]
    figure = _sheet(len(names), title, note, mark)
    axes, beside = _panels(figure, len(names))
    looks = series_looks(frame)
    for axis, name in zip(axes, names, strict=True):
        for series, own in dodged(shown, SIZE).groupby("series", sort=False):
            columns_of = (SIZE, name, "ci_low", "ci_high") if name == "epoch_sec" else (SIZE, name, "none", "none")
            draw_points(axis, own.assign(none=float("nan")), columns_of, looks[series])
        axis.set(xscale="log", yscale="log", xlabel=style.factor_label(SIZE), ylabel=columns[name])
        canvas.show_means(axis.yaxis, shown.assign(none=float("nan")), columns_of[1:])
        canvas.size_ticks(axis, frame[SIZE], PANEL_WIDTH_IN)
        canvas.round_ticks(axis.yaxis)
    _legend(axes, beside, [*series_keys(looks), *mean_keys(frame["ci_low"], over(frame))])
    return figure


def _sheet(panels: int, title: str, note: str, mark: str) -> Figure:
    return canvas.new_figure(style.FULL_WIDTH_IN, -(-panels // 2) * PANEL_HEIGHT_IN + 0.3, title, note, mark)


def _panels(figure: Figure, count: int) -> tuple[list[Axes], Axes | None]:
    """So many axes, two a row, and the place that is left, if one is."""
    axes = list(figure.subplots(-(-count // 2), 2 if count > 1 else 1, squeeze=False).ravel())
    return axes[:count], axes[count] if len(axes) > count else None


def _legend(axes: Sequence[Axes], beside: Axes | None, keys: Sequence) -> None:
    """The legend in the place of a panel that is left, else right of the last one."""
    if beside is None:
        return canvas.legend(axes[-1], keys, "")
    beside.set_axis_off()
    beside.legend(handles=list(keys), loc="upper left", alignment="left")


def target_figure(
    frame: pd.DataFrame,
    *,
    names: Sequence[str],
    metric: str,
    target: float,
    title: str,
    note: str = "",
    mark: str = "",
) -> Figure:
    """Hours and node-hours of training until the target by mini-batch size; triangles: it was not reached.

    frame: as `scaling_costs.target_frame` makes it; names: the factors that tell its cells apart.
    """
    figure = canvas.new_figure(style.FULL_WIDTH_IN, style.HEIGHT_IN, title, note, mark)
    frame = frame[frame[SIZE].notna()]  # of a cell that was imported as a summary there are no epochs
    lost = frame["state"].eq("diverged") & frame["hours"].isna()
    own = frame[frame["hours"].notna() | lost]
    if own["hours"].isna().all():
        said = f"No run has reached the target: {lost.sum()} diverged" if lost.any() else canvas.why_empty(frame)
        return canvas.say(figure.subplots(), said)
    axes = figure.subplots(1, 2)
    others = [name for name in names if name != SIZE]
    looks = style.looks(frame.assign(all=1), others or ["all"])
    for axis, value, bounds in (
        (axes[0], "hours", ("mean", "ci_low", "ci_high")),
        (axes[1], "node_hours", ("node_mean", "node_low", "node_high")),
    ):
        for level, rows in own.groupby("level", sort=False):
            _draw_cell(axis, rows, value, bounds, looks[level])
        axis.set(xscale="log", yscale="log", xlabel=style.factor_label(SIZE))
        canvas.show_means(axis.yaxis, own, (value, *bounds[1:]))
        canvas.size_ticks(axis, frame[SIZE], PANEL_WIDTH_IN)
        canvas.round_ticks(axis.yaxis)
    name = style.metric_label(metric).partition(" (")[0]
    axes[0].set_ylabel("hours of training")
    axes[1].set_ylabel("node-hours of training")
    canvas.legend(axes[1], _target_keys(own, looks, others), f"until {target:g} %\n{name}")
    return figure


def _draw_cell(axis: Axes, rows: pd.DataFrame, value: str, bounds: Sequence[str], look: Look) -> None:
    """The runs of a cell: until the target, or all they took without reaching it; and the mean where all reached it."""
    reached, lost = rows["reached"] == 1, rows["hours"].isna()
    for own, mark in (
        (rows[reached], {**style.SEED_POINT, "marker": look.marker}),
        (rows[~reached & ~lost], style.NOT_REACHED_MARK),
    ):
        if len(own):
            axis.plot(own[SIZE], own[value], color=look.color, clip_on=False, **mark)
    if lost.any():  # however long they are trained
        edge = axis.get_xaxis_transform()
        axis.plot(rows[SIZE].iloc[:1], [1.0], color=look.color, clip_on=False, transform=edge, **style.DIVERGED_MARK)
    first = rows.iloc[0]
    if first["n"] > 1 and pd.notna(first[bounds[0]]):
        beside = first[SIZE] * BESIDE
        low = max(first[bounds[1]], first[bounds[0]] / 100)  # a scale of logs has no end at 0
        axis.vlines(beside, low, first[bounds[2]], color=look.color, **style.INTERVAL_LINE)
        axis.plot([beside], [first[bounds[0]]], color=look.color, **style.MEAN_POINT)


def _target_keys(own: pd.DataFrame, looks: Mapping[str, Look], others: Sequence[str]) -> list[Line2D]:
    keys = []
    if others:
        labels = {style.cell_label(row, others): looks[row["level"]] for row in own.to_dict("records")}
        keys = [
            Line2D([], [], color=look.color, marker=look.marker, label=style.plain(label), **style.SEED_POINT)
            for label, look in labels.items()
        ]
    if (own["reached"] == 1).any():
        keys.append(Line2D([], [], color=style.MID, marker="o", label="one seed", **style.SEED_POINT))
    if ((own["reached"] == 0) & own["hours"].notna()).any():
        keys.append(Line2D([], [], color=style.MID, label="not reached after\nso long", **style.NOT_REACHED_MARK))
    if own["hours"].isna().any():
        keys += canvas.mark_keys(True, None, "diverged: never")
    if own["ci_low"].notna().any():
        looked = {**style.MEAN_POINT, **style.INTERVAL_LINE}
        keys.append(Line2D([], [], color=style.MID, label="mean and 95 %\nt-interval of it", **looked))
    return keys
