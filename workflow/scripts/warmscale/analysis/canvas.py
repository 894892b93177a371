"""What all figures share: a sheet with a title and the study's note, axes, and files that are the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from . import style
from .catalogue import FORMATS

NOTE_LINE_IN = 0.12
"""Height of a line of the note, inches."""
POSITION_DIGITS = 6
"""Of a position in a figure, in parts of its width and height."""
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
