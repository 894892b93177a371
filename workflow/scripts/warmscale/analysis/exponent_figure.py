"""The best warmup by mini-batch size: optima with intervals, the fitted power law, its rivals. Frame -> Figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from . import canvas, style
from .inference.exponent import RIVALS, Exponent

COLUMNS = ["kind", "size", "optimum", "low", "high", "bracketed", "exponent", "exponent_low", "exponent_high",
           "confidence", "reason"]  # fmt: skip
MARGIN = 1.35
"""Factor between the outermost data and the frame."""
POINTS = 41
"""Sizes at which the law and its band are drawn."""
COLOR = style.WORD_COLORS[0]


def exponent_frame(result: Exponent, rivals: Sequence[float] = RIVALS) -> pd.DataFrame:
    """What the figure shows.

    -> rows of kind "optimum" (one a size), "fit" (the law and its band along sizes) and "rival" (two ends of the line
    of each through the centre of the optima), the last two none where the exponent is refused: `COLUMNS`.
    Open ends of intervals are 0 and inf.
    """
    rows = [
        {"kind": "optimum", "size": size, "optimum": own.value, "low": own.low, "high": own.high,
         "bracketed": own.bracketed}
        for size, own in zip(result.sizes, result.optima, strict=True)
    ]  # fmt: skip
    if not result.refused:
        sizes = np.geomspace(result.sizes[0] / MARGIN, result.sizes[-1] * MARGIN, POINTS)
        rows += [*_fit_rows(result, sizes), *_rival_rows(result, rivals, (sizes[0], sizes[-1]))]
    reason = result.refused or ("" if result.fits else "no power law passes through the intervals of all optima")
    return pd.DataFrame(rows, columns=COLUMNS).assign(confidence=result.confidence, reason=reason)


def _fit_rows(result: Exponent, sizes: Sequence[float]) -> list[dict[str, Any]]:
    law = {"kind": "fit", "exponent": result.p, "exponent_low": result.low, "exponent_high": result.high}
    lines = ((size, result.line(size)) for size in sizes if result.fits)
    return [{**law, "size": size, "optimum": mid, "low": low, "high": high} for size, (mid, low, high) in lines]


def _rival_rows(result: Exponent, rivals: Sequence[float], sizes: Sequence[float]) -> list[dict[str, Any]]:
    centre = math.exp(np.mean(np.log(result.sizes)))
    level = math.exp(np.mean(np.log([own.value for own in result.optima])))
    return [
        {"kind": "rival", "size": size, "optimum": level * (size / centre) ** rival, "exponent": rival}
        for rival in rivals
        for size in sizes
    ]


def exponent_figure(frame: pd.DataFrame, *, title: str, note: str = "", mark: str = "") -> Figure:
    """Best warmup against mini-batch size, both in logs; an arrow is an open end.

    frame: as `exponent_frame` makes it.
    """
    reason = frame["reason"].max() if len(frame) else ""
    notes = [f"No exponent: {reason}." if reason else "", note]
    figure = canvas.new_figure(style.SINGLE_WIDTH_IN, style.HEIGHT_IN, title, " ".join(filter(None, notes)), mark)
    axis = figure.subplots()
    optima, fit, rivals = (frame[frame["kind"] == kind] for kind in ("optimum", "fit", "rival"))
    optima = optima.dropna(subset=["optimum"])
    if optima.empty:
        return canvas.say(axis, "No run has a result yet.")
    draw_optima(axis, optima, fit)
    for index, (rival, line) in enumerate(rivals.groupby("exponent")):
        axis.plot(line["size"], line["optimum"], linestyle=style.LINE_STYLES[1 + index % 5], **_RIVAL)
        _name_rival(axis, line, f"{rival:g}")
    place = {"loc": "upper left", "bbox_to_anchor": (1.1, 1.02), "borderaxespad": 0, "alignment": "left"}
    keys = [*optima_keys(optima), *law_keys(fit), *_rival_keys(rivals)]
    axis.legend(handles=keys, title="no exponent: see below" if reason else None, **place)
    return figure


def draw_optima(axis: Axes, optima: pd.DataFrame, fit: pd.DataFrame) -> None:
    """The optima with their intervals, and the law with its band, on axes of logs; rows of the frame of these kinds."""
    axis.set(xscale="log", yscale="log", xlim=_around(optima["size"]), ylim=_level_range(optima))
    axis.fill_between(fit["size"], fit["low"], fit["high"], color=COLOR, **style.BAND)
    axis.plot(fit["size"], fit["optimum"], color=COLOR, linewidth=style.MEAN_LINE["linewidth"])
    for row in optima.to_dict("records"):
        _draw_optimum(axis, row)
    _label_axes(axis, optima)


_RIVAL = {"color": style.MID, "linewidth": style.RANGE["linewidth"], "zorder": 1.8}


def _around(values: pd.Series) -> tuple[float, float]:
    return values.min() / MARGIN, values.max() * MARGIN


def _level_range(optima: pd.DataFrame) -> tuple[float, float]:
    """All finite ends, and room for an arrow where one is open."""
    values = optima[["optimum", "low", "high"]].to_numpy(dtype=float)
    known = values[np.isfinite(values) & (values > 0)]
    low, high = (known.min(), known.max()) if known.size else (1.0, 1.0)
    return low / MARGIN ** (2 if (values == 0).any() else 1), high * MARGIN ** (2 if np.isinf(values).any() else 1)


def _draw_optimum(axis: Axes, row: Mapping[str, Any]) -> None:
    """A point with its interval: hollow where not bracketed; an end that is open points out of the axes."""
    bottom, top = axis.get_ylim()
    ends = (max(row["low"], bottom), min(row["high"], top))
    axis.vlines(row["size"], *ends, color=style.DARK, zorder=3, **style.INTERVAL_LINE)
    marks = [("v" if row["low"] <= 0 else "_", ends[0]), ("^" if math.isinf(row["high"]) else "_", ends[1])]
    for marker, end in marks if row["optimum"] > 0 else marks[1:]:
        axis.plot([row["size"]], [end], marker=marker, color=style.DARK, markersize=5, clip_on=False, zorder=3)
    face = style.DARK if row["bracketed"] else "white"
    point = {**style.SEED_POINT, "markerfacecolor": face, "zorder": 4}
    place = (row["size"], max(row["optimum"], bottom))
    axis.plot(*([value] for value in place), color=style.DARK, marker="o", clip_on=False, **point)
    if row["optimum"] <= 0:  # a scale of logs has no 0
        axis.annotate("0", place, (5, 3), textcoords="offset points", color=style.DARK)


def _name_rival(axis: Axes, line: pd.DataFrame, name: str) -> None:
    """The exponent where its line leaves the axes, outside of them."""
    (x0, x1), (y0, y1) = (np.log(line[column].to_numpy(dtype=float)) for column in ("size", "optimum"))
    right, (_, top) = math.log(axis.get_xlim()[1]), np.log(axis.get_ylim())
    slope = (y1 - y0) / (x1 - x0)
    end = y0 + slope * (right - x0)
    if end <= top:
        at, offset, align = (right, end), (3, 0), {"ha": "left", "va": "center"}
    else:
        at, offset, align = (x0 + (top - y0) / slope, top), (0, 2), {"ha": "center", "va": "bottom"}
    text = {"textcoords": "offset points", "annotation_clip": False, "color": style.MID}
    axis.annotate(name, np.exp(at), offset, fontsize=style.SETTINGS["xtick.labelsize"], **text, **align)


def _label_axes(axis: Axes, optima: pd.DataFrame) -> None:
    sizes = optima["size"].to_list()
    axis.set_xticks(sizes, [style.level_label(size) for size in sizes])
    canvas.hide_crowded(axis, sizes)
    bottom, top = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if top > 10 * bottom else (1, 1.5, 2, 3, 5, 7)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_minor_formatter(NullFormatter())
    axis.set_xlabel(style.factor_label("mini_batch_size"))
    axis.set_ylabel("best warmup (epochs)")


def optima_keys(optima: pd.DataFrame) -> list[Line2D]:
    """Legend entries for optima."""
    point = {"color": style.DARK, "marker": "o", **style.SEED_POINT, **style.INTERVAL_LINE}
    confidence = f"{100 * optima.iloc[0]['confidence']:g} %"
    keys = []
    if optima["bracketed"].any():
        label = f"optimum and its interval,\n{confidence} for each"
        keys.append(Line2D([], [], label=label, **{**point, "markerfacecolor": style.DARK}))
    if not optima["bracketed"].all():
        label = f"optimum, not bracketed,\n{confidence} for each;\nan arrow is an open end"
        keys.append(Line2D([], [], label=label, **point))
    return keys


def law_keys(fit: pd.DataFrame) -> list:
    """Legend entries for the fitted law, if there is one."""
    if fit.empty:
        return []
    law = fit.iloc[0]
    ends = f"{law['exponent_low']:.2f} to {law['exponent_high']:.2f}"
    label = f"fit: exponent {law['exponent']:.2f},\n{100 * law['confidence']:g} %: {ends}".replace("-", "−")
    return [
        Line2D([], [], label=label, color=COLOR, linewidth=style.MEAN_LINE["linewidth"]),
        Patch(label="of the fitted law,\nlikewise at each size", color=COLOR, **style.BAND),
    ]


def _rival_keys(rivals: pd.DataFrame) -> list[Line2D]:
    label = "other exponents, through\nthe centre of the optima"
    return [Line2D([], [], label=label, linestyle=style.LINE_STYLES[1], **_RIVAL)] if len(rivals) else []
