"""Learning rates over epochs, a panel an experiment: as planned, and as realised. Frame -> Figure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import canvas, style

COLUMNS = 2
PANEL_HEIGHT_IN = 2.1
FEW_STEPS = 40
"""Up to so many steps of a run are points: a line would say what the rate was between them."""
NO_DEVIATION = 1e-12
"""Relative; rounding of the last bits is none."""


def learning_rates(
    frame: pd.DataFrame, *, names: Mapping[str, Sequence[str]], title: str, note: str = "", mark: str = ""
) -> Figure:
    """The schedule of every cell in closed form.

    frame: as `rate_frames.schedules_frame` makes it; names: {experiment: factors that tell its cells apart}.
    """
    figure = _sheet(len(names), title, note, mark)
    for axis, experiment in _panels(figure, names):
        own = frame[frame["experiment"] == experiment]
        keys = _draw_lines(axis, own, "learning_rate", names[experiment], to_the_end=True)
        canvas.legend(axis, keys, style.factors_label(names[experiment], width=18))
        axis.set_ylabel("learning rate")
    return figure


def realised_rates(
    frame: pd.DataFrame, *, names: Mapping[str, Sequence[str]], title: str, note: str = "", mark: str = ""
) -> Figure:
    """What the optimizer used at the audited steps, over base_lr * scale_factor: an unscaled arm stands at 1 / k.

    frame: as `rate_frames.realised_frame` makes it; names: {experiment: factors that tell its cells apart}.
    """
    figure = _sheet(len(names), title, note, mark)
    for axis, experiment in _panels(figure, names):
        own = frame[frame["experiment"] == experiment]
        audited = own.dropna(subset=["step"])
        if audited.empty:
            canvas.say(axis, "No audited step yet")
            continue
        keys = _draw_lines(axis, own, "realised", names[experiment], to_the_end=False)
        for _, rows in audited.groupby("level", sort=False):
            apart = rows[rows["realised_max"] > rows["realised_min"]]
            axis.vlines(apart["epoch"], apart["realised_min"], apart["realised_max"], **style.RANGE)
            axis.plot(rows["epoch"], rows["expected"], clip_on=False, **_expected_look(rows))
        label = f"closed form\n({_deviation(audited['deviation'].max())})"
        first = audited[audited["level"] == audited["level"].iloc[0]]
        keys.append(Line2D([], [], label=label, **_expected_look(first)))
        canvas.legend(axis, keys, style.factors_label(names[experiment], width=18))
        axis.set_ylabel("realised / (base_lr · k)")
    return figure


def _sheet(panels: int, title: str, note: str, mark: str) -> Figure:
    width_in = style.FULL_WIDTH_IN if panels > 1 else style.SINGLE_WIDTH_IN
    return canvas.new_figure(width_in, -(-panels // COLUMNS) * PANEL_HEIGHT_IN + 0.3, title, note, mark)


def _panels(figure: Figure, experiments: Iterable[str]) -> Iterator[tuple[Axes, str]]:
    """Axes for every experiment, with its name."""
    titles = list(experiments)
    columns = min(COLUMNS, len(titles))
    axes = figure.subplots(-(-len(titles) // columns), columns, squeeze=False).ravel()
    for axis in axes[len(titles) :]:
        axis.set_visible(False)
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(style.plain(title))
        yield axis, title


def _draw_lines(axis: Axes, own: pd.DataFrame, value: str, names: Sequence[str], *, to_the_end: bool) -> list[Line2D]:
    """A line a cell, the first ones wider: a line on top of another hides none. Returns legend entries.

    to_the_end: the rate of the last step holds until training ends.
    """
    looks = style.looks(own, names)  # a cell without a step keeps its place among them
    widths = np.linspace(3.0, 1.0, len(looks)) if len(looks) > 1 else [1.5]
    keys = []
    for (level, look), width in zip(looks.items(), widths, strict=True):
        rows = own[own["level"] == level]
        line = {"color": look.color, "linestyle": look.linestyle, "linewidth": width, "drawstyle": "steps-post"}
        if len(rows) <= FEW_STEPS:
            line = {"color": look.color, "marker": look.marker, **style.SEED_POINT}
        elif to_the_end:
            rows = pd.concat([rows, rows.tail(1).assign(epoch=lambda end: end["total_epochs"])])
        axis.plot(rows["epoch"], rows[value], clip_on=False, **line)
        none_yet = " (no step yet)" if rows["step"].isna().all() else ""
        keys.append(Line2D([], [], label=style.plain(f"{level}{none_yet}"), **line))
    axis.set_yscale("log", nonpositive="mask")
    canvas.epochs_axis(axis, 0, own["total_epochs"].max())
    return keys


def _expected_look(rows: pd.DataFrame) -> dict:
    return style.EXPECTED_POINT if len(rows) <= FEW_STEPS else style.EXPECTED_LINE


def _deviation(relative: float) -> str:
    return f"off by up to {relative:.2g}" if relative > NO_DEVIATION else "no deviation"
