"""The metric of all runs by level of a factor, an experiment a figure. Frame -> Figure; nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..study.metric import ACCURACIES
from . import canvas, style
from .statistics import cells
from .style import Look

MANY_LEVELS = 6
"""More have a figure as wide as a page, and their seeds once, beside the name of the factor, if they are the same."""
CELL_WIDTH = 0.8
"""Of the distance between two levels, what the cells of a level share."""


def final(
    frame: pd.DataFrame,
    *,
    names: Sequence[str],
    metric: str,
    title: str,
    target: float | None = None,
    note: str = "",
    mark: str = "",
) -> Figure:
    """The metric of every run by level of the first factor, and the mean of each cell with its interval.

    frame: as `frames.final_frame` makes it; names: the factors that tell its cells apart. Cells that differ in
    further factors stand side by side.
    """
    counts = cells(frame, ["level", *names], metric)
    many = len(set(_codes(counts[names[0]] if names else counts["level"]))) > MANY_LEVELS
    figure = canvas.new_figure(
        style.FULL_WIDTH_IN if many else style.SINGLE_WIDTH_IN, style.HEIGHT_IN, title, note, mark
    )
    axis = figure.subplots()
    if frame["mean"].isna().all():
        return canvas.say(axis, canvas.why_empty(frame))
    draw_final(axis, frame, names, metric, target)
    canvas.legend(axis, final_keys(frame, names, metric, target), style.factors_label(names[1:]))
    return figure


def draw_final(axis: Axes, frame: pd.DataFrame, names: Sequence[str], metric: str, target: float | None) -> None:
    """The runs and means of a frame that has some, on these axes."""
    axis.set_autoscale_on(False)  # limits are set below; done after each line, it grows with their number squared
    counts = cells(frame, ["level", *names], metric)
    places, width = _places(counts, names)
    looks = style.looks(frame, names[1:] or names)  # places tell the levels of the first factor apart
    for row, place in zip(counts.to_dict("records"), places, strict=True):
        own = frame[(frame["level"] == row["level"]) & frame[metric].notna()]
        _draw_seeds(axis, own, metric, place - 0.1 * width, 0.25 * width, looks[row["level"]])
        beside = 0.0 if row["summarised"] else 0.22 * width
        _draw_mean(axis, row, place + beside, looks[row["level"]])
    if target is not None:
        axis.axhline(target, **style.TARGET_LINE)
    _label_levels(axis, counts, names, places)
    axis.set_ylabel(style.metric_label(metric))
    axis.set_ylim(*_percent_range(frame, metric, target))


def final_keys(frame: pd.DataFrame, names: Sequence[str], metric: str, target: float | None) -> list[Line2D]:
    """Legend entries for what `draw_final` draws."""
    counts = cells(frame, ["level", *names], metric)
    looks = style.looks(frame, names[1:] or names)
    return [*_other_keys(counts, names, looks), *_mark_keys(frame, metric, target)]


def _places(counts: pd.DataFrame, names: Sequence[str]) -> tuple[np.ndarray, float]:
    """Position of every cell on the axis of levels, and the width it has."""
    first = _codes(counts[names[0]] if names else counts["level"])
    side = _codes(counts[list(names[1:])].apply(tuple, axis=1)) if len(names) > 1 else np.zeros(len(counts), int)
    width = CELL_WIDTH / (side.max() + 1)
    return first + (side - side.max() / 2) * width, width


def _codes(values: pd.Series) -> np.ndarray:
    return pd.factorize(values, use_na_sentinel=False)[0]


def _draw_seeds(axis: Axes, own: pd.DataFrame, metric: str, place: float, width: float, look: Look) -> None:
    """Every seed a point, side by side in the order of seeds."""
    spread = np.linspace(-0.5, 0.5, len(own)) * width if len(own) > 1 else np.zeros(1)
    diverged = (own["state"] == "diverged").to_numpy()
    x, y = place + spread[: len(own)], own[metric].to_numpy()
    if not diverged.all():
        point = {"color": look.color, "marker": look.marker, "clip_on": False}
        axis.plot(x[~diverged], y[~diverged], **point, **style.SEED_POINT)
    if diverged.any():
        axis.plot(x[diverged], y[diverged], color=look.color, zorder=5, clip_on=False, **style.DIVERGED_MARK)


def _draw_mean(axis: Axes, row: Mapping[str, Any], place: float, look: Look) -> None:
    if row["n"] > 1:
        axis.vlines(place, row["ci_low"], row["ci_high"], color=look.color, **style.INTERVAL_LINE)
    if row["n"] > 1 or row["summarised"]:
        axis.plot([place], [row["mean"]], color=look.color, **style.MEAN_POINT)


def _label_levels(axis: Axes, counts: pd.DataFrame, names: Sequence[str], places: np.ndarray) -> None:
    """Levels of the first factor under the axis, and below them how many seeds their cells have."""
    rows = counts.to_dict("records")
    first = [style.cell_label(row, names[:1]) for row in rows]
    others = [style.cell_label(row, names[1:]) if len(names) > 1 else "" for row in rows]
    seeds = [style.seeds_label(row) for row in rows]
    texts = pd.DataFrame({"first": first, "other": others, "seeds": seeds, "place": places})
    groups = texts.groupby("first", sort=False)
    once = len(groups) > MANY_LEVELS and len(set(seeds)) == 1
    labels = [style.plain(level if once else f"{level}\n{_seeds_text(own)}") for level, own in groups]
    axis.set_xticks(groups["place"].mean().to_list(), labels, linespacing=1.5)
    axis.set_xlim(-0.5, len(labels) - 0.5)
    factor = style.factor_label(names[0]) if names else ""
    axis.set_xlabel(f"{factor}; {seeds[0]} each" if once else factor)


def _seeds_text(own: pd.DataFrame) -> str:
    """The seeds of the cells at a level: once where they are the same."""
    if own["seeds"].nunique() == 1:
        return own["seeds"].iloc[0].replace(", ", "\n")
    return "\n".join(f"{other}: {seeds}" for other, seeds in zip(own["other"], own["seeds"], strict=True))


def _percent_range(frame: pd.DataFrame, metric: str, target: float | None) -> tuple[float, float]:
    """All runs, means, intervals and the target, but of accuracies nothing below 0 or above 100."""
    shown = [frame[column] for column in (metric, "mean", "ci_low", "ci_high")]
    values = pd.concat([*shown, pd.Series([target], dtype=float)]).dropna()
    margin = 0.06 * (max(values.max() - values.min(), 0.5) if metric in ACCURACIES else np.ptp(values) or 1.0)
    low, high = values.min() - margin, values.max() + margin
    return (max(low, 0.0), min(high, 100.0)) if metric in ACCURACIES else (low, high)


def _other_keys(counts: pd.DataFrame, names: Sequence[str], looks: Mapping[str, Look]) -> list[Line2D]:
    """Entries for the further factors."""
    if len(names) < 2:
        return []
    labels = [style.cell_label(row, names[1:]) for row in counts.to_dict("records")]
    of_label = {label: looks[level] for label, level in zip(labels, counts["level"], strict=True)}
    return [
        Line2D([], [], label=style.plain(label), color=look.color, marker=look.marker, **style.SEED_POINT)
        for label, look in of_label.items()
    ]


def _mark_keys(frame: pd.DataFrame, metric: str, target: float | None) -> list[Line2D]:
    one_seed = Line2D([], [], color=style.MID, marker="o", label="one seed", **style.SEED_POINT)
    keys = [one_seed] if (frame["state"] == "finished").any() else []
    if frame["ci_low"].notna().any():
        looks = {**style.MEAN_POINT, **style.INTERVAL_LINE}
        keys.append(Line2D([], [], color=style.MID, label="mean and 95 %\nt-interval of it", **looks))
    diverged = ((frame["state"] == "diverged") & frame[metric].notna()).any()
    return keys + canvas.mark_keys(diverged, target, "diverged,\nat chance level")
