"""What all figures share: a sheet with a title and the study's note, axes, and files that are the same every time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from . import style
from .catalogue import FORMATS

NOTE_LINE_IN = 0.12
"""Height of a line of the note, inches."""
POSITION_DIGITS = 6
"""Of a position in a figure, in parts of its width and height."""
LABEL_WIDTH = 0.16
"""Of the width of the axes, what the label of a size needs."""
SEEN = 2.5
"""Times the largest mean, and parts of the smallest, an axis of logs goes along with intervals."""
ROUND = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9))
"""Round numbers of a decade, ever closer."""
LETTER_IN = 0.065
"""Width of a figure of a label, inches."""
METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
"""No dates: the same table gives the same bytes."""


def new_figure(width_in: float, height_in: float, title: str, note: str, mark: str = "") -> Figure:
    """An empty sheet with the title above, below the note and what is missing; add axes with `figure.subplots`."""
    texts = {
        style.plain(text, int(width_in * 19)): look
        for text, look in ((note, style.NOTE), (mark, style.PARTIAL_MARK))
        if text
    }
    lines = sum(text.count("\n") + 1 for text in texts)
    height_in += lines * NOTE_LINE_IN
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    figure.suptitle(style.plain(title, int(width_in * 13)), x=0.01, ha="left")
    if lines:
        bottom = (lines * NOTE_LINE_IN + 0.06) / height_in
        figure.get_layout_engine().set(rect=(0, bottom, 1, 1 - bottom))
    below_in = 0.04
    for text, look in texts.items():
        figure.text(0.01, below_in / height_in, text, va="bottom", **look)
        below_in += (text.count("\n") + 1) * NOTE_LINE_IN
    return figure


def legend(axis: Axes, handles: Sequence, title: str) -> None:
    """A legend to the right of the axes, outside the data."""
    place = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.02), "borderaxespad": 0}
    axis.legend(handles=list(handles), title=title or None, alignment="left", **place)


def epochs_axis(axis: Axes, first: float, last: float) -> None:
    """An axis of epochs with round ticks."""
    axis.set_xlim(first, last)
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 1.5, 2, 3, 5, 10], integer=True))


def size_ticks(axis: Axes, sizes: Iterable[float], width_in: float) -> None:
    """A horizontal axis of logs with a tick at each of these sizes, and their labels where they have room.

    width_in: about how wide the axes will be, inches.
    """
    ticks = sorted(set(sizes))
    labels = [style.level_label(size) for size in ticks]
    margin = max((ticks[-1] / ticks[0]) ** 0.06, 1.1)
    axis.set_xscale("log")
    axis.set_xlim(ticks[0] / margin, ticks[-1] * margin)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(ticks, labels)
    hide_crowded(axis, ticks, (max(map(len, labels)) + 1.5) * LETTER_IN / width_in)


def hide_crowded(axis: Axes, sizes: Sequence[float], label_width: float = LABEL_WIDTH) -> None:
    """Leave out the labels of sizes that stand too near to the one before."""
    first, last = np.log(axis.get_xlim())
    shown = -math.inf
    for size, label in zip(sizes, axis.get_xticklabels(), strict=True):
        place = (math.log(size) - first) / (last - first)
        label.set_visible(place - shown > label_width)
        shown = place if label.get_visible() else shown


def show_means(axis: Axis, rows: pd.DataFrame, names: tuple[str, str, str]) -> None:
    """An axis of logs that shows all means, and of intervals no more than SEEN times beyond: some reach below 0.

    names: columns of the mean and of the ends of its interval.
    """
    mean, low, high = (rows[name].astype(float) for name in names)
    bottom = np.nanmin([mean.min(), max(low.min(), mean.min() / SEEN)])
    top = np.nanmax([mean.max(), min(high.max(), mean.max() * SEEN)])
    margin = max((top / bottom) ** 0.05, 1.05)
    axis.set_view_interval(bottom / margin, top * margin, ignore=True)


def round_ticks(axis: Axis) -> None:
    """An axis of logs with round numbers, closer where it is short: two at least."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    wanted = 2 if decades < 1 else 1 if decades < 3 else 0
    subs = next((own for own in ROUND[wanted:] if _ticks_within(low, high, own) > 1), None)
    axis.set_major_locator(LogLocator(subs=subs) if subs else MaxNLocator(nbins=4, min_n_ticks=2))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"))


def _ticks_within(low: float, high: float, subs: Sequence[float]) -> int:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return sum(low <= sub * 10.0**power <= high for power in powers for sub in subs)


def mark_keys(diverged: bool, target: float | None, label: str = "diverged") -> list[Line2D]:
    """Entries of a legend for what stands in a figure only now and then."""
    keys = [Line2D([], [], color="white", label=label, **style.DIVERGED_MARK)] if diverged else []
    if target is not None:
        keys.append(Line2D([], [], label=f"target, {target:g} %", **style.TARGET_LINE))
    return keys


def why_empty(frame: pd.DataFrame) -> str:
    """Why a frame of points has no results: how many runs are in which state."""
    states = frame.drop_duplicates(["level", "seed"])["state"].value_counts(sort=False)
    return "No run has a result yet: " + ", ".join(f"{count} {state}" for state, count in states.items())


def say(axis: Axes, text: str) -> Figure:
    """Axes without data that say why; returns their figure."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.text(0.5, 0.5, style.plain(text, 44), transform=axis.transAxes, ha="center", va="center", color=style.MID)
    return axis.figure


def save(figure: Figure, stem: Path) -> None:
    """Write <stem>.svg, .png and .pdf."""
    _settle(figure)
    for suffix in FORMATS:
        figure.savefig(stem.with_name(f"{stem.name}.{suffix}"), metadata=METADATA[suffix])


def _settle(figure: Figure) -> None:
    """Lay the figure out once: the last bits of the solver's answer, another every time, would name parts of an SVG."""
    figure.set_dpi(mpl.rcParams["savefig.dpi"])  # letters of a coarser grid are narrower
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes:
        axis.set_position([round(edge, POSITION_DIGITS) for edge in axis.get_position().bounds])
