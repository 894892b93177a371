"""Captions: what a figure shows, how many seeds, which interval, which metric."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from . import style
from .catalogue import FigureEntry

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
    subject = style.METRIC_LABELS[metric]
    parts = [f"{subject[0].upper()}{subject[1:]}{over}{by}.", shown, _seeds_text(cells), _rule_text(rules)]
    if (cells["seeds"] > cells["n"]).any():
        parts.append(_missing_text(cells))
    if cells["diverged"].any():
        parts.append(_diverged_text(entry.kind, chance))
    return " ".join(part for part in parts if part)


def _curves_text(cells: pd.DataFrame) -> str:
    band = f"; bands: {INTERVAL}" if (cells["n"] > 1).any() else ""
    return f"Lines with markers: mean over seeds{band}; thin lines: single seeds."


def _final_text(cells: pd.DataFrame) -> str:
    bars = f" with the {INTERVAL}" if (cells["n"] > 1).any() else ""
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
    return f"The metric of a run is {' or '.join(style.RULE_LABELS[rule] for rule in sorted(rules))}."


def _diverged_text(kind: str, chance: float) -> str:
    if kind == "curves":
        return f"Crosses: runs that diverged; from there on they count at chance level, {chance:g} %, without a band."
    return f"Crosses: runs that diverged; they count at chance level, {chance:g} %, in mean and interval."
