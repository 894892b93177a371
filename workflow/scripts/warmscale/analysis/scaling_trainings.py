"""The trainings of a study as measurements of throughput: their rows, placements, and what is predicted of these."""

from __future__ import annotations

import math

import pandas as pd

from ..cluster.placement import Where
from ..planning.costs import step_shape
from ..planning.measured import is_gpu
from ..planning.workload import Workload
from ..study import Study
from . import scaling_costs, scaling_frames
from .scaling_frames import DEVICE
from .scaling_model import PREDICTED, with_predictions, work_of
from .tables import Tables


def placements_of_trainings(study: Study, tables: Tables) -> pd.DataFrame:
    """The placements that finished trainings had."""
    return scaling_frames.placements(training_rows(study, tables))


def predicted_placements_of_trainings(study: Study, tables: Tables) -> pd.DataFrame:
    """The same with what the cost model says of each, from all trainings and measurements on fewer ranks.

    Without predictions where there is nothing on fewer ranks than any other: they would be the preset's alone.
    """
    rows, measured = training_rows(study, tables), tables.throughput
    cells = scaling_frames.placements(rows)
    if len({*rows["ranks"], *measured.loc[measured["state"] == "finished", "ranks"]}) < 2:
        return cells.assign(**dict.fromkeys(PREDICTED, math.nan))
    works = {(work.model, work.precision): work for work in works_of(study).values() if work}
    parts = [
        with_predictions(own, rows, works.get(kind), study.config.planning.hardware, beside=measured)
        for kind, own in cells.groupby(["model", "precision"], sort=False)
    ]
    return pd.concat(parts).sort_index() if parts else cells.assign(**dict.fromkeys(PREDICTED, math.nan))


def training_rows(study: Study, tables: Tables) -> pd.DataFrame:
    """Finished trainings as rows of the table of throughput, as far as they have its columns."""
    rows = scaling_costs.training_rows(tables.runs, study.config.dataset.image_size)
    rows = rows.assign(**{DEVICE: rows[DEVICE].fillna("")})
    updates = rows["total_steps"] / rows["total_epochs"]
    waited_sec = tables.epochs.groupby("run_id", sort=False)["data_wait_sec"].median()
    return rows.assign(
        measurement_id=rows["run_id"],
        updates=updates,
        gradient_bytes=rows["run_id"].map(gradient_bytes(study)).astype(float),
        data_wait_sec=rows["run_id"].map(waited_sec).astype(float) / updates,
        **_options(study, rows),
    )


def _options(study: Study, rows: pd.DataFrame) -> dict[str, object]:
    """Columns of how steps are taken: as the study's placement says, since the table of runs does not."""
    placement = study.config.placement
    shapes = [
        step_shape(
            study.runs[row["run_id"]],
            Where(int(row["nodes"]), int(row["ranks_per_node"])),
            placement,
            on_cpu=not is_gpu(row[DEVICE]),
        )
        for row in rows.to_dict("records")
    ]
    together = pd.Series([shape.workers_per_pass for shape in shapes], index=rows.index, dtype=float)
    return {"workers_per_pass": together, "compile": placement.compile, "cuda_graphs": placement.cuda_graphs}


def works_of(study: Study) -> dict[str, Workload | None]:
    """{run_id: what a step of it consists of}, None of models whose size is not known."""
    config = study.config
    known: dict[tuple, Workload | None] = {}
    for run in study.runs.values():
        kind = (run.recipe.model, run.recipe.precision, run.recipe.tf32)
        if kind not in known:
            known[kind] = work_of(run.recipe, config.dataset, config.planning)
    return {
        run_id: known[run.recipe.model, run.recipe.precision, run.recipe.tf32] for run_id, run in study.runs.items()
    }


def gradient_bytes(study: Study) -> dict[str, float]:
    """{run_id: bytes of its gradients}, of models whose size is known."""
    return {run_id: work.gradient_bytes if work else math.nan for run_id, work in works_of(study).items()}
