"""What gradients and updates do over epochs: a column a mini-batch size, a line a warmup. Frame -> Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from . import canvas, style
from .gradient_frames import QUANTITIES, factors_in, shown
from .optima import SIZE
from .style import Look

COLUMNS = 4
"""Mini-batch sizes side by side; more are drawn below."""
PANEL_HEIGHT_IN = 1.45
MARKERS_A_LINE = 5
MARGIN = 0.08
"""Of the range of means, above and below them: intervals of few seeds may reach far beyond."""


def gradients_figure(frame: pd.DataFrame, *, title: str, note: str = "", mark: str = "") -> Figure:
    """Gradient norm, cosine and update over weights by epoch; frame: as `gradients_frame` makes it."""
    names, sizes = factors_in(frame), shown(sorted(map(int, frame[SIZE].unique())))
    frame = frame[frame[SIZE].isin(sizes) & frame["level"].isin(shown(frame["level"]))]
    if not sizes:
        figure = canvas.new_figure(style.SINGLE_WIDTH_IN, style.HEIGHT_IN, title, note, mark)
        return canvas.say(figure.subplots(), "No step was measured: no run has a result, or placement.gradients is off")
    columns, blocks = min(COLUMNS, len(sizes)), -(-len(sizes) // COLUMNS)
    rows = blocks * len(QUANTITIES)
    width_in = style.FULL_WIDTH_IN if columns > 1 else style.SINGLE_WIDTH_IN
    figure = canvas.new_figure(width_in, rows * PANEL_HEIGHT_IN + 0.5, title, note, mark)
    axes = figure.subplots(rows, columns, squeeze=False)
    looks = style.looks(frame, names)
    for index, size in enumerate(sizes):
        block, column = divmod(index, COLUMNS)
        panels = axes[block * len(QUANTITIES) : (block + 1) * len(QUANTITIES), column]
        _draw_size(panels, frame[frame[SIZE] == size], looks, is_first=column == 0)
        panels[0].set_title(f"mini-batch {style.level_label(size)}")
    for axis in axes[-len(QUANTITIES) :, (len(sizes) - 1) % COLUMNS + 1 :].flat:
        axis.set_visible(False)
    _share_windows(axes, frame)
    # beside all panels: higher than one, it would push them apart
    keys, heading = _keys(frame, looks), style.factors_label(names, width=16)
    figure.legend(handles=keys, title=heading, loc="outside right upper", alignment="left")
    return figure


def _draw_size(panels: Sequence[Axes], own: pd.DataFrame, looks: Mapping[str, Look], *, is_first: bool) -> None:
    """The three panels of a mini-batch size."""
    for axis, (quantity, is_log) in zip(panels, QUANTITIES.items(), strict=True):
        if is_log:
            axis.set_yscale("log")
        else:
            axis.axhline(0, color=style.MID, linewidth=0.7)
        for level, rows in own[own["quantity"] == quantity].groupby("level", sort=False):
            _draw_line(axis, rows, looks[level])
        if is_first:
            axis.set_ylabel(style.GRADIENT_LABELS[quantity])
        else:
            axis.tick_params(labelleft=False)
        axis.tick_params(labelbottom=axis is panels[-1])
    panels[-1].set_xlabel("epoch")


def _draw_line(axis: Axes, rows: pd.DataFrame, look: Look) -> None:
    axis.fill_between(rows["epoch"], rows["ci_low"], rows["ci_high"], color=look.color, **style.BAND)
    every = max(1, len(rows) // MARKERS_A_LINE)
    line = {"color": look.color, "linestyle": look.linestyle, "marker": look.marker, "markevery": every}
    axis.plot(rows["epoch"], rows["mean"], **line, **style.THIN_MEAN_LINE)


def _share_windows(axes: np.ndarray, frame: pd.DataFrame) -> None:
    """The same epochs everywhere, and the same values of a quantity: those of means, not of wide intervals."""
    epochs = frame["epoch"].min() / 1.15, frame["epoch"].max() * 1.15
    for row, panels in enumerate(axes):
        quantity, is_log = list(QUANTITIES.items())[row % len(QUANTITIES)]
        means = frame.loc[frame["quantity"] == quantity, "mean"]
        low, high = (np.log(means) if is_log else means).agg(["min", "max"])
        margin = MARGIN * (high - low or 1.0)
        window = (low - margin, high + margin)
        for axis in panels:
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1,)))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_xlim(epochs)
            if len(means):
                axis.set_ylim(np.exp(window) if is_log else window)


def _keys(frame: pd.DataFrame, looks: Mapping[str, Look]) -> list:
    """Entries of the legend: cells in the order of their warmup, and what bands are."""
    keys = [
        Line2D([], [], label=style.plain(level), color=look.color, linestyle=look.linestyle, marker=look.marker,
               **style.THIN_MEAN_LINE)
        for level, look in looks.items()
    ]  # fmt: skip
    if frame["ci_low"].notna().any():
        keys.append(Patch(color=style.MID, label="95 % t-interval\nof the mean", **style.BAND))
    return keys
