"""The poster's comparison side by side: how the rate is scaled, and the best warmup by mini-batch. Frame -> Figure."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import canvas, style
from .exponent_figure import COLUMNS, draw_optima, law_keys, optima_keys
from .final_figures import draw_final, final_keys

SCALING, WARMUP = "scaling of the learning rate", "best warmup"
"""What the two panels show, column `panel` of the frame."""
NOTHING_YET = "No run has a result yet."


def comparison_frame(final: pd.DataFrame, optima: pd.DataFrame) -> pd.DataFrame:
    """Both panels as one table.

    final: as `frames.final_frame` makes it; optima: as `optima_frame` does -> panel, and the columns of both.
    """
    parts = [part.assign(panel=panel) for panel, part in ((SCALING, final), (WARMUP, optima)) if len(part)]
    frame = pd.concat(parts, ignore_index=True)
    return frame.reindex(columns=["panel", *final, *COLUMNS])


def optima_frame(optima: Sequence[dict], laws: Sequence[pd.DataFrame], confidence: float) -> pd.DataFrame:
    """The best warmup of every mini-batch size, and the law that was fitted to it.

    optima: rows of the table of optima, all of one rule of scaling; laws: frames of exponents, as
    `exponent_figure.exponent_frame` makes them -> rows of kind "optimum" and "fit": COLUMNS.
    """
    rows = [
        {
            "kind": "optimum",
            "size": row["size"],
            "optimum": row["optimum"],
            "low": row["ci_low"],
            "high": row["ci_high"],
            "bracketed": row["bracketed"] == "yes",
        }
        for row in optima
    ]
    points = pd.DataFrame(rows, columns=COLUMNS).assign(confidence=confidence, reason="")
    fits = [law[law["kind"] == "fit"] for law in laws]
    return pd.concat([points.dropna(subset=["size", "optimum"]), *fits], ignore_index=True)


def comparison_figure(
    frame: pd.DataFrame,
    *,
    names: Sequence[str],
    metric: str,
    target: float | None,
    title: str,
    note: str = "",
    mark: str = "",
) -> Figure:
    """Left the metric of every run by the rule of scaling, right the best warmup by mini-batch size.

    frame: as `comparison_frame` makes it; names: the factors that tell the cells on the left apart.
    """
    figure = canvas.new_figure(style.FULL_WIDTH_IN, LEGENDS_IN + style.HEIGHT_IN, title, note, mark)
    (left, right), legends = figure.subplots(2, 2, height_ratios=[style.HEIGHT_IN, LEGENDS_IN])
    for axis in legends:
        axis.set_axis_off()
    final = frame[frame["panel"] == SCALING].drop(columns=COLUMNS)
    if final["mean"].isna().all():
        canvas.say(left, canvas.why_empty(final))
    else:
        draw_final(left, final, names, metric, target)
        _legend(legends[0], final_keys(final, names, metric, target), style.factors_label(names[1:]))
    own = frame[frame["panel"] == WARMUP]
    optima, fit = (own[own["kind"] == kind] for kind in ("optimum", "fit"))
    if optima.empty:
        canvas.say(right, NOTHING_YET)
    else:
        draw_optima(right, optima, fit)
        _legend(legends[1], [*optima_keys(optima), *law_keys(fit)], "")
    return figure


LEGENDS_IN = 0.9
"""Height of what stands below the panels, inches."""


def _legend(axis: Axes, keys: Sequence, title: str) -> None:
    """A legend in axes of its own, from under the label of the axis above on: two columns are as wide as a panel."""
    place = {"loc": "upper left", "bbox_to_anchor": (-0.13, 1), "borderaxespad": 0, "alignment": "left"}
    place |= {"columnspacing": 1.0, "handlelength": 1.6, "handletextpad": 0.6}
    axis.legend(handles=list(keys), title=title or None, ncols=2, **place).set_in_layout(False)
