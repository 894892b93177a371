"""Captions: what a figure shows, how many seeds, which interval, which metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from . import style
from .catalogue import FigureEntry
from .gradient_frames import MOST_SHOWN
from .optima import SIZE

INTERVAL = "95 % t-interval of the mean over seeds"

STUDY_WIDE = {
    "learning-rates": "Learning rate of every step in closed form: a panel an experiment, a line a cell. Where lines "
    "lie on each other, the wider one is below.",
    "realised-rates": "Learning rate in the optimizer's parameter groups at the audited steps, over base_lr · k, where "
    "k is scale_factor: mean and range over the runs of a cell. A cell whose rate is scaled linearly peaks at 1, one "
    "that is not scaled at 1 / k. Black: the closed form of the schedule.",
}


def caption(
    entry: FigureEntry, cells: pd.DataFrame, names: Sequence[str], metric: str, chance: float, rules: set
) -> str:
    """The caption of a figure of an experiment.

    cells (rows: cells): as `statistics.cells` makes it; chance: percent; rules: the metric rules of its runs.
    """
    shown = _curves_text(cells) if entry.kind == "curves" else _final_text(cells)
    by = f" by {style.factors_label(names, 200)}" if names else ""
    over = " over epochs" if entry.kind == "curves" else ""
    subject = style.metric_label(metric)
    parts = [f"{subject[0].upper()}{subject[1:]}{over}{by}.", shown, _seeds_text(cells), _rule_text(rules)]
    if cells[["failed", "pending"]].any(axis=None):
        parts.append(_missing_text(cells))
    if cells["diverged"].any():
        parts.append(_diverged_text(entry.kind, chance))
    return " ".join(part for part in parts if part)


def exponent_caption(frame: pd.DataFrame, optima: Sequence[Mapping[str, Any]], mark: str = "") -> str:
    """The caption of the figure of an exponent.

    frame: the table of the figure; optima: the rows of tables/optimum.csv that it rests on.
    """
    if frame["size"].isna().all():
        return f"No optimum to draw: {frame['reason'].iloc[0]}. {mark}".strip()
    row = optima[0]
    kinds, percent = set(frame["kind"]), f"{100 * frame['confidence'].iloc[0]:g} %"
    of = style.factor_label(row["of"])
    counts = [f"{style.level_label(one['size'])}: {one['n']}" for one in optima]
    parts = [
        f"Best {style.factor_label(row['factor'])} by {of}, both axes in logs.",
        f"Points: the optimum of each; bars: {percent} intervals, over seeds and over the shape between the levels "
        "tested; hollow points: not bracketed, with arrows where an end is open.",
        f"Line: the fitted power law; band: its {percent} interval." if "fit" in kinds else "",
        "Broken lines: other exponents, through the centre of the optima." if "rival" in kinds else "",
        f"n, the fewest seeds of a level, at {'; '.join(counts)}.",
        mark,
    ]
    return " ".join(part for part in parts if part)


def gradients_caption(frame: pd.DataFrame, mark: str = "") -> str:
    """The caption of the figure of gradients; frame: the table of the figure."""
    fewest, most = frame["n"].min(), frame["n"].max()
    band = f" over seeds; bands: {INTERVAL}, of logarithms but for the cosine" if most > 1 else ""
    parts = [
        "Norm of the gradient of a mini-batch, averaged over ranks and before any clipping; cosine between the "
        "gradients of successive steps; length of an update over that of the weights. By epochs in logs; a column a "
        "mini-batch size, a line a cell.",
        "The first epochs step by step, as far as steps were recorded; then means of epochs.",
        f"Lines: mean{band}; axes are cut to the means.",
        f"n: {fewest} {'seed' if most == 1 else 'seeds'}." if fewest == most else f"n: {fewest} to {most} seeds.",
        _left_out(frame),
        mark,
    ]
    return " ".join(part for part in parts if part)


def _left_out(frame: pd.DataFrame) -> str:
    """What of a large study the figure of gradients does not show."""
    counts = {what: len(frame[column].unique()) for column, what in ((SIZE, "mini-batch sizes"), ("level", "cells"))}
    parts = [f"{MOST_SHOWN} of {count} {what}" for what, count in counts.items() if count > MOST_SHOWN]
    return f"Shown are {' and '.join(parts)}, evenly spaced; the table has all." if parts else ""


def _curves_text(cells: pd.DataFrame) -> str:
    band = f"; bands: {INTERVAL}" if (cells["n"] > 1).any() else ""
    return f"Lines with markers: mean over seeds{band}; thin lines: single seeds."


def _final_text(cells: pd.DataFrame) -> str:
    bars = f" with the {INTERVAL}" if (cells["n"] > 1).any() else ""
    if cells["summarised"].all():
        return f"Bars: mean over seeds{bars}, from published summaries; single seeds are not known."
    return f"Symbols: single seeds; bars beside them: their mean{bars}."


def _seeds_text(cells: pd.DataFrame) -> str:
    counts = pd.Series([style.seeds_label(row) for row in cells.to_dict("records")], index=cells["level"])
    groups = [f"{count} at {' / '.join(counts.index[counts == count])}" for count in counts.unique()]
    text = f"n: {'; '.join(groups) if len(groups) > 1 else f'{counts.iloc[0]} a cell'}."
    return text + (" One seed in a cell has no interval and supports no verdict." if (cells["n"] == 1).any() else "")


def _missing_text(cells: pd.DataFrame) -> str:
    counts = {state: int(cells[state].sum()) for state in ("failed", "pending")}
    missing = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"Missing: {missing}; no run is drawn before it is published, however far it is."


def _rule_text(rules: set) -> str:
    """By which rules the runs of an experiment have their metric; a summarised cell has no run, and no rule."""
    known = sorted(rule for rule in rules if isinstance(rule, str))
    return f"The metric of a run is {' or '.join(style.RULE_LABELS[rule] for rule in known)}." if known else ""


def _diverged_text(kind: str, chance: float) -> str:
    if math.isnan(chance):
        return "Runs that diverged are counted, and left out of mean and interval: their chance level is not known."
    if kind == "curves":
        return f"Crosses: runs that diverged; from there on they count at chance level, {chance:g} %, without a band."
    return f"Crosses: runs that diverged; they count at chance level, {chance:g} %, in mean and interval."
