"""What all figures share: a sheet with a title and the study's note, axes, and files that are the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from . import style
from .catalogue import FORMATS

NOTE_LINE_IN = 0.12
"""Height of a line of the note, inches."""
METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
"""No dates: the same table gives the same bytes."""


def new_figure(width_in: float, height_in: float, title: str, note: str) -> Figure:
    """An empty sheet with the title above and the note below; add axes with `figure.subplots`."""
    lines = style.plain(note, int(width_in * 19)).count("\n") + 1 if note else 0
    height_in += lines * NOTE_LINE_IN
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    figure.suptitle(style.plain(title, int(width_in * 13)), x=0.01, ha="left")
    if note:
        bottom = (lines * NOTE_LINE_IN + 0.06) / height_in
        figure.get_layout_engine().set(rect=(0, bottom, 1, 1 - bottom))
        text = style.plain(note, int(width_in * 19))
        figure.text(0.01, 0.04 / height_in, text, fontsize=6, color=style.MID, va="bottom")
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
    for suffix in FORMATS:
        figure.savefig(stem.with_name(f"{stem.name}.{suffix}"), metadata=METADATA[suffix])
