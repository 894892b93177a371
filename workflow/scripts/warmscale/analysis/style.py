"""How figures look: labels, colours, line styles, markers, sizes. Nothing of it stands anywhere else.

A level has a colour, a line style and a marker, so that a figure can be read in black and white: the colours of
numbers run from dark to light, those of words differ in lightness (Okabe & Ito 2008).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns

from ..replay.names import is_accuracy

FACTOR_LABELS = {
    "base_lr": "base learning rate",
    "batchnorm_batch_size": "BatchNorm batch (images)",
    "decay.epochs": "decay at (epochs)",
    "decay.kind": "decay",
    "epochs": "training (epochs)",
    "lr_scaling.exponent": "exponent of learning-rate scaling",
    "lr_scaling.of": "learning rate scaled by",
    "lr_scaling.rule": "learning-rate scaling",
    "mini_batch_size": "mini-batch size (images)",
    "optimizer.name": "optimizer",
    "reference_batch_size": "reference batch (images)",
    "warmup_epochs": "warmup (epochs)",
    "warmup_start": "warmup starts at",
    "warmup_step": "warmup step",
    "worker_batch_size": "worker batch size (images)",
    "zero_init_residual": "zero-init of last gamma",
}
"""Factors whose label is more than their name with spaces, with units."""

GRADIENT_LABELS = {
    "gradient_norm": "gradient norm",
    "gradient_cosine": "cosine with\nlast gradient",
    "update_to_weight": "update / weights",
}
METRIC_LABELS = {"top1": "top-1 validation accuracy (%)", "top5": "top-5 validation accuracy (%)"}
RULE_LABELS = {
    "last": "its last epoch",
    "median_last_5": "the median of its last five epochs",
    "given": "the number that its source gives",
}
STATE_COLORS = {
    "finished": "#1b7837",
    "diverged": "#b35806",
    "failed": "#a50026",
    "running": "#2166ac",
    "paused": "#5e4fa2",
    "pending": "#5a5a5a",
}

WORD_COLORS = ("#0072b2", "#e69f00", "#cc79a7", "#009e73", "#56b4e9", "#d55e00", "#000000")
LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1, 1.1)), (0, (6, 1.5, 1, 1.5)), (0, (10, 2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "*", "h")
FULL_WIDTH_IN, SINGLE_WIDTH_IN, HEIGHT_IN = 7.2, 5.2, 2.9
"""Figures as wide as a page of text, and those with one set of axes."""
DARK, MID, LIGHT = "#222222", "#6b6b6b", "#c9c9c9"

TARGET_LINE = {"color": DARK, "linewidth": 0.8, "linestyle": (0, (9, 2, 1, 2, 1, 2)), "zorder": 1.5}
SEED_LINE = {"linewidth": 0.6, "alpha": 0.45}
MEAN_LINE = {"linewidth": 1.7, "markersize": 4.2, "markeredgecolor": "white", "markeredgewidth": 0.5}
SEED_POINT = {"markersize": 4.5, "markerfacecolor": "none", "markeredgewidth": 1.0, "linestyle": "none", "zorder": 3}
MEAN_POINT = {"marker": "_", "markersize": 9, "markeredgewidth": 2.2}
THIN_MEAN_LINE = {**MEAN_LINE, "linewidth": 1.2, "markersize": 3.4}
INTERVAL_LINE = {"linewidth": 1.3, "linestyle": "-"}
RANGE = {"color": DARK, "linewidth": 0.8}
BAND = {"alpha": 0.16, "linewidth": 0}
FAINT_BAND = {"alpha": 0.07, "linewidth": 0}
ZOOM_FRAME = {"fill": False, "edgecolor": MID, "linewidth": 0.7, "zorder": 4}
EXPECTED_LINE = {"color": "black", "linewidth": 0.7, "linestyle": (0, (1, 2)), "drawstyle": "steps-post"}
EXPECTED_POINT = {"color": "black", "marker": ".", "markersize": 2.5, "linestyle": "none", "zorder": 4}
NOTE = {"fontsize": 6, "color": MID}
PARTIAL_MARK = {"fontsize": 6.5, "color": STATE_COLORS["failed"], "weight": "bold"}
BLACK_EDGE = {"markeredgecolor": "black", "markeredgewidth": 0.7}
IDEAL_LINE = {"linewidth": 0.9, "linestyle": (0, (4, 2)), "marker": "none", "zorder": 1.7}
ABSENT_MARK = {"color": MID, "marker": "x", "markersize": 5, "markeredgewidth": 1.2, "linestyle": "none"}
NOT_REACHED_MARK = {**SEED_POINT, "marker": "^", "markersize": 5.5, "markerfacecolor": "white"}
DIVERGED_MARK = {"marker": "X", "markersize": 7, "linestyle": "none", **BLACK_EDGE}

SETTINGS = {
    **sns.axes_style("ticks"),
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.7,
    "axes.edgecolor": DARK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "legend.fontsize": 7.5,
    "legend.title_fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "legend.labelspacing": 0.35,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # TrueType: journals refuse type 3
    "svg.hashsalt": "warmscale",  # else ids in the file are random
}


@dataclass(frozen=True)
class Look:
    """How one cell is drawn."""

    color: Any
    linestyle: Any
    marker: str


def applied() -> Any:
    """Context in which figures are made and saved."""
    return mpl.rc_context(SETTINGS)


def byte_unit(largest: float) -> tuple[str, float]:
    """The unit that a number of bytes is shown in, and its bytes."""
    units = {"GB": 1e9, "MB": 1e6, "kB": 1e3}
    return next(((name, size) for name, size in units.items() if largest >= size), ("bytes", 1.0))


def metric_label(metric: str) -> str:
    """Human name of a metric, with its unit where that is known."""
    words = metric.replace(".", " ").replace("_", " ")
    return METRIC_LABELS.get(metric, f"{words} (%)" if is_accuracy(metric) else words)


def factor_label(leaf: str) -> str:
    """Human name of a factor, with its unit."""
    return FACTOR_LABELS.get(leaf, leaf.replace(".", " ").replace("_", " "))


def level_label(value: Any) -> str:
    """Human form of a level of a factor."""
    if value is None or value != value:  # NaN: a column of numbers has no None
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.10g}"
    return str(value).replace("_", " ")


def cell_label(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """Label of a cell: its levels of the factors that tell cells apart."""
    return ", ".join(level_label(row[name]) for name in names) or "all runs"


def factors_label(names: Sequence[str], width: int = 28) -> str:
    """Heading over the labels of cells, wrapped."""
    return textwrap.fill(", ".join(factor_label(name) for name in names), width)


def looks(cells: pd.DataFrame, names: Sequence[str]) -> dict[str, Look]:
    """A look for every cell: colour and marker by the first factor, line style by the others, if there are any.

    cells (rows: cells or more, in order): level, the factors -> {level: Look}.
    """
    rows = cells.drop_duplicates("level").infer_objects()
    first = pd.factorize(rows[names[0]] if names else rows["level"], use_na_sentinel=False)[0]
    others = pd.factorize(rows[list(names[1:])].apply(tuple, axis=1))[0] if len(names) > 1 else first
    ordered = bool(names) and pd.api.types.is_numeric_dtype(rows[names[0]]) and rows[names[0]].dtype != bool
    colors = _colors(first.max() + 1 if len(first) else 0, ordered)
    return {
        level: Look(colors[index], LINE_STYLES[other % len(LINE_STYLES)], MARKERS[index % len(MARKERS)])
        for level, index, other in zip(rows["level"], first, others, strict=True)
    }


def _colors(count: int, ordered: bool) -> list:
    if not ordered:
        return [WORD_COLORS[index % len(WORD_COLORS)] for index in range(count)]
    # the light end of the map cannot be seen on white
    return [mpl.colormaps["plasma"](0.73 * index / max(count - 1, 1)) for index in range(count)]


def plain(text: str, width: int | None = None) -> str:
    """Text of a user for a figure: wrapped, and no $ starts a formula."""
    escaped = text.replace("$", r"\$")
    return textwrap.fill(escaped, width) if width else escaped


def seeds_label(row: Mapping[str, Any]) -> str:
    """How many seeds a cell has: "3 seeds", "2 of 3 seeds, 1 diverged"."""
    count = f"{row['seeds']}" if row["n"] == row["seeds"] else f"{row['n']} of {row['seeds']}"
    unit = "seed" if row["seeds"] == 1 else "seeds"
    return f"{count} {unit}" + (f", {row['diverged']} diverged" if row["diverged"] else "")
