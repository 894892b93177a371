"""The report: one self-contained page."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from ..records import STATES
from ..study import Study
from . import style
from .captions import STUDY_WIDE, caption
from .catalogue import FigureEntry, factors_of, figures_of
from .figures import partial_mark
from .frames import final_frame
from .levels import level_points
from .metrics import chance_level
from .missing import missing_text
from .provenance import attempt_lines, failures, log_of, moment, provenance
from .published import Records
from .statistics import cells
from .tables import Tables

RUN_COLUMNS = {
    "run_id": "run",
    "state": "state",
    "top1": "top-1 (%)",
    "top5": "top-5 (%)",
    "mini_batch_size": "mini-batch size",
    "workers": "workers",
    "lr_scaling.rule": "scaling",
    "peak_lr": "peak rate",
    "warmup_epochs": "warmup epochs",
    "seed": "seed",
    "epochs_done": "epochs done",
    "images_per_sec": "images/s",
    "attempts": "attempts",
    "node_hours": "node-hours",
    "device_name": "device",
    "experiments": "experiments",
}
"""Columns of the runs table of the page, and their headings; tables/runs.csv has all."""

NAMED_AT_THE_TOP = 10
"""Missing runs that the top of the page names; below stand all."""


def page(
    study: Study, tables: Tables, records: Records, figures: Path, template: Path, as_of: float | None = None
) -> str:
    """The page as HTML.

    figures: the folder that they were drawn into; as_of: when the records were read, seconds since 1970, for a page
    that is made outside of its rule, and so without a bundle.
    """
    loader = jinja2.FileSystemLoader(template.parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters = {"percent": _percent, "number": _number, "moment": moment, "log_of": log_of, "lines": attempt_lines}
    environment.filters |= filters
    ran = [records.outcomes[run_id] for run_id in study.runs if run_id in records.outcomes]
    missing = records.missing
    return environment.get_template(template.name).render(
        study=study,
        states=_states(tables.runs),
        state_colors=style.STATE_COLORS,
        experiments=[_experiment(study, tables, figures, name.name) for name in study.config.experiments],
        overall=[
            _figure(entry, figures, f"{STUDY_WIDE[entry.kind]} {partial_mark(entry, tables)}".strip())
            for entry in figures_of(study)
            if not entry.experiment
        ],
        run_columns=RUN_COLUMNS,
        runs=tables.runs.astype(object).where(tables.runs.notna(), None).to_dict("records"),
        metric=style.METRIC_LABELS[study.config.metric.name],
        partial=missing_text(tables.runs["state"]),
        as_of=as_of,
        missing=missing,
        named_at_the_top=NAMED_AT_THE_TOP,
        failures=failures(records.all.values()),
        not_ended=[record for record in missing if record["state"] != "failed"],
        provenance=provenance(ran),
        config=config_yaml(study),
    )


def config_yaml(study: Study) -> str:
    """The config as the user wrote it, comments aside."""
    return yaml.safe_dump(dict(study.raw), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _states(runs: pd.DataFrame) -> dict[str, int]:
    counts = runs["state"].value_counts()
    return {state: int(counts[state]) for state in STATES if state in counts}


def _experiment(study: Study, tables: Tables, figures: Path, name: str) -> dict[str, Any]:
    """What the page shows of an experiment."""
    metric, config = study.config.metric.name, study.config
    own, names = level_points(tables.points, name, factors_of(study, name))
    frame = final_frame(own, tables.runs, names, metric)
    summary = cells(frame, ["level", *names], metric)
    about = (summary, names, metric, chance_level(metric, config.dataset.num_classes), set(frame["metric_rule"]))
    entries = [entry for entry in figures_of(study) if entry.experiment == name]
    return {
        "name": name,
        "title": next(experiment.title for experiment in config.experiments if experiment.name == name) or name,
        "factors": style.factors_label(names, 200) or "cell",
        "cells": summary.to_dict("records"),
        "figures": [_figure(entry, figures, caption(entry, *about)) for entry in entries],
        "runs": own["run_id"].nunique(),
    }


def _figure(entry: FigureEntry, figures: Path, text: str) -> dict[str, str]:
    image = (figures / f"{entry.name}.svg").read_bytes()
    return {
        "name": entry.name,
        "title": entry.title,
        "caption": text,
        "source": f"data:image/svg+xml;base64,{base64.b64encode(image).decode()}",
        "percent_of_width": _percent_of_width(image),
    }


def _percent_of_width(image: bytes) -> int:
    """Width of a drawing relative to the widest ones, so that letters have one size on the page."""
    width_pt = float(re.search(rb'<svg [^>]*?width="([0-9.]+)pt"', image).group(1))
    return min(100, round(100 * width_pt / (72 * style.FULL_WIDTH_IN)))


def _missing(value: Any) -> bool:
    return value is None or value != value


def _percent(value: float | None) -> str:
    return "–" if _missing(value) else f"{value:.2f}".replace("-", "−")


def _number(value: Any) -> str:
    """A value of a table: figures by thousands, fractions to four digits."""
    if _missing(value):
        return "–"
    if isinstance(value, float) and (value != int(value) or abs(value) >= 1e15):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)
