"""Captions of figures of scaling: what is shown, how many measurements, which interval, and what is left out."""

from __future__ import annotations

import pandas as pd

from . import style
from .catalogue import FigureEntry
from .comparison_figure import SCALING, WARMUP
from .scaling_frames import one_place

SHOWN = {
    "throughput": "Images a second by placement, both axes in logs. Symbols: geometric means over {over}, bars: their "
    "95 % t-intervals, on logarithms. Dashed: the ideal, what the smallest measured placement of a line would reach if "
    "each further rank were as fast as its own.",
    "efficiency": "Images a second over the ideal, which is the smallest measured placement's times the ranks; without "
    "ranks added there is none. Bars: 95 % intervals of the ratio of two geometric means over {over} (Welch, on "
    "logarithms).",
    "communication-ratio": "Time of a step without averaging gradients over the time of averaging them alone, by the "
    "images of a worker, both axes in logs. Symbols: geometric means over repeats, bars: their 95 % t-intervals, on "
    "logarithms. One rank averages nothing, and is left out.",
    "model": "Left: images a second as measured (symbols: geometric means over {over}, bars: 95 % t-intervals, on "
    "logarithms) and as the cost model predicts them (dashed, bands: 95 % prediction intervals). Right: measured over "
    "predicted, with the prediction interval of each. Each placement is predicted from the {basis} on fewer ranks "
    "alone, and the smallest, which no line joins to the others, from the preset of the machine.",
    "communication": "What an epoch takes by mini-batch size, all axes in logs: updates, each with one all-reduce of "
    "all gradients, in however many buckets; what a rank sends for them, in a ring 2 (R − 1) / R of the gradients of R "
    "ranks; and seconds of training, without validation.",
    "time-to-target": "Training until the metric first reaches the target, by mini-batch size, all axes in logs: "
    "hours, and hours times nodes, without validations, checkpoints and starts. Triangles: runs that did not reach it "
    "in all their training. Bars: mean with the 95 % t-interval of the mean over seeds, where all runs of a cell "
    "reached it on the same nodes and ranks.",
}
OF_TRAININGS = "Of trainings, each by the median of its epochs, with whatever ran beside it."
DODGED = "Lines stand a little beside each other."
MODEL_ALONE = (
    "Images a second as the cost model predicts them from the preset of the machine, with 95 % prediction intervals. "
    "Nothing is measured yet."
)


def scaling_caption(entry: FigureEntry, frame: pd.DataFrame, mark: str = "") -> str:
    """The caption of a figure of scaling. frame: the table that it is drawn from; mark: what it lacks."""
    if entry.kind == "comparison":
        return _join(_comparison_text(frame), mark)
    if entry.kind == "time-to-target":
        lost = frame["state"].eq("diverged") & frame["hours"].isna()
        diverged = "Crosses at the top: cells with runs that diverged, and never reach it." if lost.any() else ""
        return _join(SHOWN[entry.kind], diverged, _seeds_text(frame, lost), mark)
    if entry.kind == "communication":
        source = _source(frame) if len(frame) else ""
        speed = "Of measurements: an epoch at their speed." if source == "repeats" else ""
        over = f"Geometric means over {source}, bars: 95 % t-intervals, on logarithms." if source else ""
        return _join(
            SHOWN[entry.kind], DODGED, _ranks_text(frame, source), speed, over, _counts_text(frame, source), mark
        )
    if entry.experiment is None:
        return _trainings_text(entry, frame, mark)
    own = frame[frame["source"] == "measurements"] if "source" in frame else frame
    if entry.kind == "model" and own["n"].eq(0).all():
        return _join(MODEL_ALONE, mark)
    trained = "source" in frame and (frame["source"] == "trainings").any() and entry.kind == "throughput"
    beside = "Hollow: means over trainings that had the same batch and model there." if trained else ""
    dodged = DODGED if entry.kind in ("efficiency", "communication-ratio") else ""
    missing = "Crosses: no measurement." if own["n"].eq(0).any() and entry.kind != "model" else ""
    shown = SHOWN[entry.kind].format(over="repeats", basis="measurements")
    return _join(shown, dodged, beside, missing, _counts_text(own, "repeats"), mark)


def _trainings_text(entry: FigureEntry, frame: pd.DataFrame, mark: str) -> str:
    """The caption of a figure of trainings by placement."""
    if said := one_place(frame):
        return _join(f"{said}.", mark)
    shown = SHOWN[entry.kind].format(over="runs", basis="trainings and measurements")
    dodged = DODGED if entry.kind == "efficiency" else ""
    return _join(shown, OF_TRAININGS, dodged, _counts_text(frame, "runs"), mark)


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _ranks_text(frame: pd.DataFrame, source: str) -> str:
    """Why there is no figure of trainings by placement, and what an epoch lacks where one rank did all."""
    counts = list(frame["ranks"].unique())
    compared = f"{one_place(frame)}." if source == "runs" and len(counts) == 1 else ""
    return _join(compared, "One rank averages nothing." if 1 in counts else "")


def _source(frame: pd.DataFrame) -> str:
    return "repeats" if (frame["source"] == "measurements").any() else "runs"


def _counts_text(frame: pd.DataFrame, what: str) -> str:
    """How many repeats or runs a placement has: "n: 3 repeats each", "n: 2 to 3 repeats"."""
    counts = frame.loc[frame["n"].ne(0), "n"]
    if counts.empty:
        return ""
    low, high = int(counts.min()), int(counts.max())
    number = f"{low} {what if low > 1 else what[:-1]} each" if low == high else f"{low} to {high} {what}"
    return f"n: {number}." + (" One alone has no interval." if low == 1 else "")


def _seeds_text(frame: pd.DataFrame, lost: pd.Series) -> str:
    """How many runs of each cell reached the target, and how many diverged."""
    rows = frame.drop_duplicates("level")
    counts = lost.groupby(frame["level"]).sum()
    told = [
        f"{row['reached_of_n']:.0f} of {row['n']:.0f} at {row['level']}"
        + (f" ({counts[row['level']]} diverged)" if counts[row["level"]] else "")
        for row in rows.to_dict("records")
    ]
    return f"Reached by: {'; '.join(told)}."


def _comparison_text(frame: pd.DataFrame) -> str:
    final = frame[frame["panel"] == SCALING].drop_duplicates("level")
    told = [f"{row['n']:.0f} at {row['level']}" for row in final.to_dict("records")]
    own = frame[(frame["panel"] == WARMUP) & (frame["kind"] == "optimum")] if WARMUP in set(frame["panel"]) else []
    fitted = WARMUP in set(frame["panel"]) and (frame["kind"] == "fit").any()
    parts = [
        "Left: the metric of every run by the rule that scales the learning rate with the mini-batch; symbols: single "
        f"seeds, bars: their mean with the 95 % t-interval of the mean; n: {'; '.join(told)} seeds.",
    ]
    if len(own):
        percent = f"{100 * own['confidence'].iloc[0]:g} %"
        sizes = ", ".join(style.level_label(size) for size in own["size"])
        parts.append(
            f"Right: the best warmup at a mini-batch of {sizes}, both axes in logs, with {percent} intervals over "
            "seeds and over the shape between the levels tested; hollow points: not bracketed, with arrows where an "
            "end is open."
        )
    parts.append("Line and band: the fitted power law." if fitted else "")
    return _join(*parts)
