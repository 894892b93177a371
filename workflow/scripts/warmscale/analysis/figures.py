"""All figures of a study: which table each one is drawn from, and which function draws it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..study import Study
from ..study.config import Zoom
from . import canvas, frames, rate_frames, scaling, style
from .catalogue import COMPARISON, FORMATS, GRADIENTS, SCALING, ExponentOf, FigureEntry, exponents_of, figures_of
from .curve_figures import Window, curves
from .exponent_figure import COLUMNS, exponent_figure, exponent_frame
from .exponents import exponents
from .final_figures import final
from .gradient_figure import gradients_figure
from .gradient_frames import gradients_frame
from .levels import experiment_factors, level_points
from .metrics import chance_of
from .missing import awaited_measurements, awaited_states, missing_text
from .observations import Observations
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
            figure = draw(entry, study, tables.points, frame, partial_mark(entry, study, tables))
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
    if entry.kind == "exponent":
        return _exponent_frame(_exponent_of(entry, study), study, tables)
    if entry.kind == GRADIENTS:
        return gradients_frame(tables)
    if entry.kind in (*SCALING, COMPARISON):
        return scaling.frame_of(entry, study, tables)
    factors = experiment_factors(study, tables.points, entry.experiment)
    own, names = level_points(tables.points, entry.experiment, factors)
    metric = study.config.metric.name
    if entry.kind == "final":
        return frames.final_frame(own, tables.runs, names, metric)
    own = own[own["run_id"].isin(tables.runs["run_id"])]  # a summarised cell has no epochs
    return frames.curves_frame(own, tables, names, metric, chance_of(study))


def partial_mark(entry: FigureEntry, study: Study, tables: Tables) -> str:
    """What a figure says of the runs that it lacks; nothing if it has all of them, or shows no runs.

    Nothing of replayed results either: there is no call that makes the rest of them.
    """
    if entry.kind == "learning-rates" or study.is_replayed:
        return ""
    if scaling.is_of_measurements(entry, study, tables):
        return scaling.measured_mark(entry, replace(tables, throughput=awaited_measurements(tables.throughput, study)))
    shown = [entry.experiment] if entry.experiment else [experiment.name for experiment in study.config.trainings]
    if entry.kind == "exponent":
        shown = list(_exponent_of(entry, study).experiments)
    own = tables.points.loc[tables.points["experiment"].isin(shown), "run_id"]
    return missing_text(awaited_states(tables.runs[tables.runs["run_id"].isin(own)], study))


def draw(entry: FigureEntry, study: Study, points: pd.DataFrame, frame: pd.DataFrame, mark: str = "") -> Figure:
    """Draw a figure from its table; mark: what it says of runs that it lacks."""
    config = study.config
    texts = {"title": entry.title, "note": config.note, "mark": mark}
    if entry.kind == "exponent":
        return exponent_figure(frame, **texts)
    if entry.kind == GRADIENTS:
        return gradients_figure(frame, **texts)
    if entry.kind in (*SCALING, COMPARISON):
        return scaling.draw(entry, study, points, frame, texts)
    experiments = {experiment.name: experiment for experiment in config.trainings}
    shown = [entry.experiment] if entry.experiment else list(experiments)
    names = {name: level_points(points, name, experiment_factors(study, points, name))[1] for name in shown}
    if entry.experiment is None:
        paint = {"learning-rates": learning_rates, "realised-rates": realised_rates}[entry.kind]
        return paint(frame, names=names, **texts)
    common = {"names": names[entry.experiment], "metric": config.metric.name, "target": config.target, **texts}
    if entry.kind == "final":
        return final(frame, **common)
    return curves(frame, zoom=_window(experiments[entry.experiment].zoom, config.metric.name), **common)


def _exponent_of(entry: FigureEntry, study: Study) -> ExponentOf:
    return next(wanted for wanted in exponents_of(study) if wanted.name == entry.name)


def _exponent_frame(wanted: ExponentOf, study: Study, tables: Tables) -> pd.DataFrame:
    """The table of an exponent's figure; a row with the reason where there is none."""
    metric = study.config.metric
    found = exponents(study, Observations.of(study, tables), [metric])
    one = found[wanted.experiments, wanted.factor, wanted.of, metric]
    if isinstance(one, Exception):
        return pd.DataFrame([{"reason": str(one)}], columns=COLUMNS)
    return exponent_frame(one.law)


def _window(zoom: Zoom, metric: str) -> Window | None:
    percent = zoom.top1 if metric == "top1" else None
    return (zoom.epochs, percent) if zoom.epochs or percent else None
