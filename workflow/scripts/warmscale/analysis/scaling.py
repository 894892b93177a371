"""Figures of scaling, and the poster's comparison: which frame each is drawn from, and which function draws it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..study import Study
from . import scaling_costs, scaling_frames
from .catalogue import FigureEntry, exponents_of, scaling_experiment
from .comparison_figure import comparison_figure, comparison_frame, optima_frame
from .exponent_figure import exponent_frame
from .exponents import exponents
from .frames import final_frame
from .levels import experiment_factors, level_points
from .missing import missing_text
from .observations import Observations
from .optima import SIZE, WARMUP, optimum_rows
from .scaling_cost_figures import communication_figure, target_figure
from .scaling_figures import efficiency_figure, ratio_figure, throughput_figure
from .scaling_model import with_predictions, work_of
from .scaling_model_figure import model_figure
from .scaling_trainings import gradient_bytes, placements_of_trainings, predicted_placements_of_trainings
from .tables import Tables

OF_FRAME_ALONE = {
    "throughput": throughput_figure,
    "efficiency": efficiency_figure,
    "communication-ratio": ratio_figure,
    "model": model_figure,
    "communication": communication_figure,
}
"""{kind: what draws it}, of figures that need to know nothing else of the study."""


def frame_of(entry: FigureEntry, study: Study, tables: Tables) -> pd.DataFrame:
    """The table that one of these figures is drawn from."""
    if entry.kind == "comparison":
        return _comparison(study, tables)
    if entry.kind == "communication":
        return scaling_costs.costs_frame(epoch_costs(study, tables))
    if entry.kind == "time-to-target":
        own, names = _level_points(study, tables, entry.experiment)
        metric, target = study.config.metric.name, study.config.target
        return scaling_costs.target_frame(own, tables.runs, tables.epochs, names, metric, target)
    if entry.experiment is None:
        has_model = entry.kind == "model"
        of_trainings = predicted_placements_of_trainings if has_model else placements_of_trainings
        return scaling_frames.trainings_frame(of_trainings(study, tables))
    if entry.kind == "model":
        return scaling_frames.throughput_frame(predicted_placements_of(study, tables, entry.experiment))
    found = placements_of(study, tables, entry.experiment)
    if entry.kind == "communication-ratio":
        return scaling_frames.ratio_frame(found)
    return scaling_frames.throughput_frame(found, placements_of_trainings(study, tables))


def draw(
    entry: FigureEntry, study: Study, points: pd.DataFrame, frame: pd.DataFrame, texts: Mapping[str, str]
) -> Figure:
    """Draw one of these figures from its table; texts: title, note and mark."""
    if entry.kind in OF_FRAME_ALONE:
        return OF_FRAME_ALONE[entry.kind](frame, **texts)
    experiment = entry.experiment or scaling_experiment(study)
    names = level_points(points, experiment, experiment_factors(study, points, experiment))[1]
    about: dict[str, Any] = {"names": names, "metric": study.config.metric.name, "target": study.config.target}
    return {"comparison": comparison_figure, "time-to-target": target_figure}[entry.kind](frame, **about, **texts)


def measured_mark(entry: FigureEntry, tables: Tables) -> str:
    """What a figure of measurements says of those that it lacks."""
    return missing_text(measurements_of(tables.throughput, entry.experiment)["state"], "measurement")


def measurements_of(throughput: pd.DataFrame, experiment: str | None) -> pd.DataFrame:
    """The rows of an experiment, or all."""
    if experiment is None:
        return throughput
    return throughput[[experiment in names.split(";") for names in throughput["experiments"]]]


def placements_of(study: Study, tables: Tables, experiment: str) -> pd.DataFrame:
    """The placements of a throughput experiment."""
    rows = measurements_of(tables.throughput, experiment)
    updates = study.config.dataset.num_train_images // rows["mini_batch_size"]
    return scaling_frames.placements(rows.assign(updates=updates))


def predicted_placements_of(study: Study, tables: Tables, experiment: str) -> pd.DataFrame:
    """The same with what the cost model says of each, from all that the study measured on fewer ranks."""
    config = study.config
    recipe = next(one.recipe for one in study.measurements.values() if experiment in one.experiments)
    work = work_of(recipe, config.dataset, config.planning)
    return with_predictions(placements_of(study, tables, experiment), tables.throughput, work, config.planning.hardware)


def epoch_costs(study: Study, tables: Tables) -> pd.DataFrame:
    """Costs of an epoch: of trainings, and as long as none has finished, of measurements."""
    rows = scaling_costs.epochs_of_trainings(tables.runs, tables.epochs, gradient_bytes(study))
    if len(rows) or not study.measurements:
        return scaling_costs.epoch_costs(rows, "trainings")
    images = study.config.dataset.num_train_images
    return scaling_costs.epoch_costs(scaling_costs.epochs_of_measurements(tables.throughput, images), "measurements")


def _comparison(study: Study, tables: Tables) -> pd.DataFrame:
    own, names = _level_points(study, tables, scaling_experiment(study))
    metric, observations = study.config.metric, Observations.of(study, tables)
    rows = [row for row in optimum_rows(study, observations) if (row["factor"], row["of"]) == (WARMUP, SIZE)]
    usual = Counter(row["scaling"] for row in rows).most_common(1)
    rows = [row for row in rows if row["scaling"] == usual[0][0]]  # an optimum belongs to a rule of scaling
    found = exponents(study, observations, [metric])
    wanted = [one for one in exponents_of(study) if (one.factor, one.of) == (WARMUP, SIZE)]
    laws = [found[one.experiments, one.factor, one.of, metric] for one in wanted[:1]]
    frames = [exponent_frame(law.law) for law in laws if not isinstance(law, Exception)]
    final = final_frame(own, tables.runs, names, metric.name)
    return comparison_frame(final, optima_frame(rows, frames, study.config.confidence))


def _level_points(study: Study, tables: Tables, experiment: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    return level_points(tables.points, experiment, experiment_factors(study, tables.points, experiment))


def is_of_measurements(entry: FigureEntry, study: Study, tables: Tables) -> bool:
    """Whether a figure shows measurements, not trainings."""
    if entry.kind == "communication":
        return set(epoch_costs(study, tables)["source"]) == {"measurements"} or not study.runs
    return entry.experiment in {experiment.name for experiment in study.config.throughputs}
