"""Accuracy over epochs, an experiment a figure. Frame -> Figure; nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import Bbox

from . import canvas, style
from .statistics import cells
from .style import Look

Window = tuple[tuple[float, float] | None, tuple[float, float] | None]
"""Epochs and percent, each None where all is shown."""


def curves(
    frame: pd.DataFrame,
    *,
    names: Sequence[str],
    metric: str,
    title: str,
    target: float | None = None,
    zoom: Window | None = None,
    note: str = "",
    mark: str = "",
) -> Figure:
    """Accuracy over epochs: a line a seed, the mean and its interval a cell; beside it the zoomed window, if any.

    frame: as `frames.curves_frame` makes it; names: the factors that tell its cells apart.
    """
    width_in = style.FULL_WIDTH_IN if zoom else style.SINGLE_WIDTH_IN
    figure = canvas.new_figure(width_in, style.HEIGHT_IN, title, note, mark)
    data = frame.dropna(subset=["epoch"])
    if data.empty:
        return canvas.say(figure.subplots(), canvas.why_empty(frame))
    axes = figure.subplots(1, 2 if zoom else 1, squeeze=False)[0]
    looks = style.looks(frame, names)
    for axis in axes:
        _draw_curves(axis, data, metric, looks, clip=axis is not axes[0])
        if target is not None:
            axis.axhline(target, **style.TARGET_LINE)
        axis.set_ylabel(style.metric_label(metric) if axis is axes[0] else "")
    _set_windows(axes, data["epoch"].max(), max(data[metric].max(), target or 0.0), zoom)
    handles = [*_cell_handles(frame, names, metric, looks), *_curve_keys(data, target)]
    canvas.legend(axes[-1], handles, style.factors_label(names))
    return figure


def _draw_curves(axis: Axes, data: pd.DataFrame, metric: str, looks: Mapping[str, Look], *, clip: bool) -> None:
    axis.set_autoscale_on(False)  # the windows are set later; done after each band, it grows with their number squared
    measured = data[data["measured"]]
    stops = data[~data["measured"]].drop_duplicates(["level", "seed"])
    seeds = pd.concat([measured, stops]).sort_values("epoch", kind="stable")
    palette = {level: look.color for level, look in looks.items()}
    lines = {"x": "epoch", "y": metric, "hue": "level", "units": "seed", "palette": palette}
    sns.lineplot(seeds, ax=axis, estimator=None, legend=False, **lines, **style.SEED_LINE)
    means = data.drop_duplicates(["level", "epoch"]).sort_values("epoch", kind="stable")
    every = max(1, round(data["epoch"].max() / 6))
    for index, (level, look) in enumerate(looks.items()):
        marks = (index * every // len(looks), every)  # side by side, not on top of each other
        _draw_mean(axis, means[means["level"] == level], look, marks)
    for level, epoch, value in stops[["level", "epoch", metric]].itertuples(index=False):
        axis.plot([epoch], [value], color=looks[level].color, zorder=5, clip_on=clip, **style.DIVERGED_MARK)


def _draw_mean(axis: Axes, mean: pd.DataFrame, look: Look, marks: tuple[int, int]) -> None:
    # a t-interval means nothing for runs of which one stands at chance level
    banded = mean[mean["diverged"] == 0]
    axis.fill_between(banded["epoch"], banded["ci_low"], banded["ci_high"], color=look.color, **style.BAND)
    line = {"color": look.color, "linestyle": look.linestyle, "marker": look.marker, "markevery": marks}
    axis.plot(mean["epoch"], mean["mean"], **line, **style.MEAN_LINE)


def _set_windows(axes: Sequence[Axes], last_epoch: float, highest: float, zoom: Window | None) -> None:
    """All epochs from 0 percent up on the left; on the right the zoomed window, framed on the left."""
    full, top = axes[0], min(100.0, highest * 1.04)
    canvas.epochs_axis(full, 0, last_epoch)
    full.set_ylim(0, top)
    if not zoom:
        return
    epochs, percent = zoom[0] or full.get_xlim(), zoom[1] or full.get_ylim()
    canvas.epochs_axis(axes[1], *epochs)
    axes[1].set_ylim(percent)
    frame = Bbox.intersection(full.viewLim, Bbox([*zip(epochs, percent, strict=True)]))
    if frame is not None:
        full.add_patch(Rectangle(frame.p0, frame.width, frame.height, clip_on=False, **style.ZOOM_FRAME))
    axes[1].spines[:].set(visible=True, color=style.MID)


def _cell_handles(frame: pd.DataFrame, names: Sequence[str], metric: str, looks: Mapping[str, Look]) -> list[Line2D]:
    runs = frame.sort_values("epoch", kind="stable").drop_duplicates(["level", "seed"], keep="last").sort_index()
    counts = cells(runs, ["level", *names], metric).to_dict("records")
    handles = []
    for row in counts:
        look, label = looks[row["level"]], style.plain(f"{row['level']} ({style.seeds_label(row)})")
        line = {"color": look.color, "linestyle": look.linestyle, "marker": look.marker, "label": label}
        handles.append(Line2D([], [], **line, **style.MEAN_LINE))
    return handles


def _curve_keys(data: pd.DataFrame, target: float | None) -> list:
    keys = [Line2D([], [], color=style.MID, label="one seed", **style.SEED_LINE)]
    if data["ci_low"].notna().any():
        keys.append(Patch(color=style.MID, label="95 % t-interval\nof the mean", **style.BAND))
    return keys + canvas.mark_keys(not data["measured"].all(), target)
