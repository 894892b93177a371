"""All figures of a study: which table each one is drawn from, and which function draws it."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..study import Study
from ..study.config import Zoom
from . import canvas, frames, rate_frames, style
from .catalogue import FORMATS, FigureEntry, factors_of, figures_of
from .curve_figures import Window, curves
from .final_figures import final
from .levels import level_points
from .metrics import chance_level
from .missing import missing_text
from .rate_figures import learning_rates, realised_rates
from .tables import Tables


def draw_all(study: Study, tables: Tables, folder: Path) -> None:
    """Draw every figure of a study, each with the table it was drawn from beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = figures_of(study)
    delete_others(folder, {entry.name for entry in entries})
    for entry in entries:
        frame = figure_frame(entry, study, tables)
        frame.to_csv(folder / f"{entry.name}.csv", index=False, lineterminator="\n")
        with style.applied():
            figure = draw(entry, study, tables.points, frame, partial_mark(entry, tables))
            canvas.save(figure, folder / entry.name)


def delete_others(folder: Path, names: Set[str]) -> None:
    """Delete figures of experiments that the study had before: beside the others they would pass for current."""
    for path in folder.iterdir():
        if path.suffix.removeprefix(".") in (*FORMATS, "csv") and path.stem not in names:
            path.unlink()


def figure_frame(entry: FigureEntry, study: Study, tables: Tables) -> pd.DataFrame:
    """The table that a figure is drawn from."""
    if entry.kind == "learning-rates":
        return rate_frames.schedules_frame(study, tables.points)
    if entry.kind == "realised-rates":
        return rate_frames.realised_frame(study, tables.points, tables.runs, tables.steps)
    own, names = level_points(tables.points, entry.experiment, factors_of(study, entry.experiment))
    metric = study.config.metric.name
    if entry.kind == "final":
        return frames.final_frame(own, tables.runs, names, metric)
    return frames.curves_frame(own, tables, names, metric, chance_level(metric, study.config.dataset.num_classes))


def partial_mark(entry: FigureEntry, tables: Tables) -> str:
    """What a figure says of the runs that it lacks; nothing if it has all of them, or shows no runs."""
    if entry.kind == "learning-rates":
        return ""
    points = tables.points
    own = points.loc[points["experiment"] == entry.experiment, "run_id"] if entry.experiment else points["run_id"]
    return missing_text(tables.runs.loc[tables.runs["run_id"].isin(own), "state"])


def draw(entry: FigureEntry, study: Study, points: pd.DataFrame, frame: pd.DataFrame, mark: str = "") -> Figure:
    """Draw a figure from its table; mark: what it says of runs that it lacks."""
    config = study.config
    experiments = {experiment.name: experiment for experiment in config.experiments}
    shown = [entry.experiment] if entry.experiment else list(experiments)
    names = {name: level_points(points, name, factors_of(study, name))[1] for name in shown}
    texts = {"title": entry.title, "note": config.note, "mark": mark}
    if entry.experiment is None:
        paint = {"learning-rates": learning_rates, "realised-rates": realised_rates}[entry.kind]
        return paint(frame, names=names, **texts)
    common = {"names": names[entry.experiment], "metric": config.metric.name, "target": config.target, **texts}
    if entry.kind == "final":
        return final(frame, **common)
    return curves(frame, zoom=_window(experiments[entry.experiment].zoom, config.metric.name), **common)


def _window(zoom: Zoom, metric: str) -> Window | None:
    percent = zoom.top1 if metric == "top1" else None
    return (zoom.epochs, percent) if zoom.epochs or percent else None
