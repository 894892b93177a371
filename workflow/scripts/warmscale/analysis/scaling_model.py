"""Throughput as the cost model predicts it, beside what was measured. Frame -> frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..planning.calibration import CostModel, calibrate
from ..planning.hardware import PRESETS, Hardware, preset
from ..planning.measured import Measured, measured_of, shape_of
from ..planning.workload import PlanningError, Workload, workload_of
from ..study.config import Dataset
from ..study.planning import Planning
from ..study.recipe import Recipe
from .scaling_frames import DEVICE, PLACE, SAME

PREDICTED = ("predicted", "predicted_low", "predicted_high", "predicted_from")
OF_WORK = ("model", "image_size", "precision")
"""Columns that say what is computed, whatever carries it out."""
OF_SHAPE = ("batchnorm_batch_size", "compile", "cuda_graphs")
"""Columns of measurements that placements do not have, but that decide how a step is taken."""


def with_predictions(
    cells: pd.DataFrame,
    throughput: pd.DataFrame,
    work: Workload | None,
    hardware: str | None,
    beside: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Placements with the images a second that the cost model predicts of each from the smaller ones.

    cells: as `scaling_frames.placements` makes it; throughput: the table that it was made of; work: None where the
    model's size is not known; hardware: the preset for devices that are not measured yet, or that no preset is of;
    beside: a table of other data or engines, whose rows of the same work count as well
    -> cells with predicted, predicted_low and predicted_high (95 % prediction interval of one measurement), and
    predicted_from, the rows on fewer ranks that the model was calibrated with; 0: the preset alone.
    Predictions are empty without `work`.
    """
    if work is None or cells.empty:
        return cells.assign(**dict.fromkeys(PREDICTED, math.nan))
    known, alike = _finished(throughput), SAME
    if beside is not None:
        known, alike = [*known, *_finished(beside)], OF_WORK
    models: dict[tuple, CostModel] = {}
    rows = []
    keys = [*SAME, *PLACE]
    shapes = throughput.reindex(columns=[*keys, *OF_SHAPE]).drop_duplicates(keys)
    for cell in cells.merge(shapes, on=keys, how="left").to_dict("records"):
        key = tuple(str(cell[column]) for column in (*SAME, DEVICE, "ranks"))
        if key not in models:
            models[key] = _model_for(cell, known, alike, work, hardware)
        shape, model = shape_of(cell), models[key]
        found = model.predict(shape, has_input=cell["data"] == "dataset")
        speeds = (shape.mini_batch_size / sec for sec in (found.step_sec, found.high_sec, found.low_sec))
        rows.append((*speeds, len(model.measured)))
    return cells.assign(**pd.DataFrame(rows, columns=list(PREDICTED), index=cells.index))


def _finished(throughput: pd.DataFrame) -> list[dict[str, Any]]:
    return throughput[throughput["state"] == "finished"].to_dict("records")


def _model_for(
    cell: Mapping[str, Any],
    known: Sequence[Mapping[str, Any]],
    alike: Sequence[str],
    work: Workload,
    hardware: str | None,
) -> CostModel:
    """The cost model as what is known on fewer ranks of the same device leaves it. alike: columns that are the same."""
    same = [*alike, DEVICE] if isinstance(cell[DEVICE], str) else alike
    measured = [measured_of(row) for row in known if all(row[name] == cell[name] for name in same)]
    smaller = [each for each in measured if each.shape.ranks < cell["ranks"]]
    return calibrate(work, machine_of(measured, work, hardware), smaller)


def machine_of(measured: Sequence[Measured], work: Workload, name: str | None) -> Hardware:
    """The named machine, unless what was measured is of another one."""
    known = [preset(name), *PRESETS.values()]
    return next((one for one in known if any(each.is_of(work, one) for each in measured)), known[0])


def work_of(recipe: Recipe, dataset: Dataset, planning: Planning) -> Workload | None:
    """What a step of a recipe consists of; None for a model of one's own whose size the config does not give."""
    try:
        return workload_of(recipe, dataset, planning)
    except PlanningError:
        return None
