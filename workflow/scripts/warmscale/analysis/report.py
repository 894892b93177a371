"""The report: one self-contained page."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ..study import Study
from ..study.metric import ACCURACIES
from . import runs_page, style
from .captions import STUDY_WIDE, caption, exponent_caption, gradients_caption
from .catalogue import COMPARISON, GRADIENTS, SCALING, FigureEntry, figures_of
from .figures import partial_mark
from .frames import final_frame
from .gradient_page import gradients_section
from .levels import experiment_factors, level_points
from .metrics import chance_of
from .missing import awaited_measurements, awaited_states, missing_text
from .provenance import failures, measured_provenance, provenance
from .published import Records
from .replay_page import sources_section
from .scaling_captions import scaling_caption
from .scaling_page import scaling_section
from .statistics import cells
from .tables import Tables
from .templates import page_template
from .verdict_page import claims_section, read_rows
from .warmup_page import warmup_section

NAMED_AT_THE_TOP = 10
"""Missing runs that the top of the page names; below stand all."""


def page(
    study: Study, tables: Tables, records: Records | None, made: Path, template: Path, as_of: float | None = None
) -> str:
    """The page as HTML.

    records: None of replayed results; made: the folder that has figures/ and tables/ of the study; as_of: when the
    records were read, seconds since 1970, for a page that is made outside of its rule, and so without a bundle.
    """
    claims, optima, exponents = (
        read_rows(made / "tables" / f"{table}.csv") for table in ("claims", "optimum", "exponent")
    )
    return page_template(template).render(
        study=study,
        states=runs_page.states(tables.runs),
        state_colors=style.STATE_COLORS,
        verdicts=claims_section(study, claims),
        warmup=warmup_section(optima, exponents),
        experiments=[_experiment(study, tables, made / "figures", name.name) for name in study.config.trainings],
        overall=[
            _figure(entry, made / "figures", f"{STUDY_WIDE[entry.kind]} {partial_mark(entry, study, tables)}".strip())
            for entry in figures_of(study)
            if entry.kind in STUDY_WIDE
        ],
        gradients=gradients_section(
            study, read_rows(made / "tables" / "gradients.csv"), _gradients_figure(study, tables, made / "figures")
        ),
        scaling=scaling_section(
            [] if study.is_replayed else read_rows(made / "tables" / "scaling.csv"),
            _scaling_figures(study, tables, made / "figures"),
            {experiment.name: experiment.title or experiment.name for experiment in study.config.throughputs},
            tables.throughput[tables.throughput["state"] == "failed"].to_dict("records"),
        ),
        summaries=runs_page.summaries(tables.points),
        all_at_chance=not math.isnan(chance_of(study)),
        exponent_figures=_exponent_figures(study, tables, made / "figures", optima, exponents),
        run_columns=runs_page.columns(tables.runs, study.is_replayed),
        imported=runs_page.imported(tables.runs),
        runs=tables.runs.astype(object).where(tables.runs.notna(), None).to_dict("records"),
        percents=(*ACCURACIES, study.config.metric.name),
        metric=style.metric_label(study.config.metric.name),
        as_of=as_of,
        config=config_yaml(study),
        **(_nothing_recorded(study, made) if records is None else _recorded(study, tables, records)),
    )


def _recorded(study: Study, tables: Tables, records: Records) -> dict[str, Any]:
    """What only a page of trained runs has: what is missing, what went wrong, and where the runs come from."""
    missing = [record for record in records.missing if record["run_id"] not in study.left_out]
    measured_text = missing_text(awaited_measurements(tables.throughput, study)["state"], "measurement")
    outcomes = [records.outcomes[run_id] for run_id in study.runs if run_id in records.outcomes]
    return {
        "sources": None,
        "partial": ". ".join(filter(None, (missing_text(awaited_states(tables.runs, study)), measured_text))),
        "missing": missing,
        "named_at_the_top": NAMED_AT_THE_TOP,
        "failures": failures(records.all.values()),
        "not_ended": [record for record in missing if record["state"] != "failed"],
        "provenance": provenance(outcomes) if study.runs else measured_provenance(tables.throughput),
    }


def _nothing_recorded(study: Study, made: Path) -> dict[str, Any]:
    """The same of replayed results, which have sources instead."""
    return {"sources": sources_section(study, made / "tables"), "partial": "", "not_ended": []}


def config_yaml(study: Study) -> str:
    """The config as the user wrote it, comments aside."""
    return yaml.safe_dump(dict(study.raw), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _experiment(study: Study, tables: Tables, figures: Path, name: str) -> dict[str, Any]:
    """What the page shows of an experiment."""
    metric, config = study.config.metric.name, study.config
    own, names = level_points(tables.points, name, experiment_factors(study, tables.points, name))
    frame = final_frame(own, tables.runs, names, metric)
    summary = cells(frame, ["level", *names], metric)
    about = (summary, names, metric, chance_of(study), set(frame["metric_rule"]))
    entries = [entry for entry in figures_of(study) if entry.experiment == name and entry.kind not in SCALING]
    return {
        "name": name,
        "title": next(experiment.title for experiment in config.trainings if experiment.name == name) or name,
        "factors": style.factors_label(names, 200) or "cell",
        "cells": cell_rows(frame, summary, metric),
        "has_diverged": bool(summary["diverged"].any()),
        "chance": not math.isnan(chance_of(study)),
        "figures": [_figure(entry, figures, caption(entry, *about)) for entry in entries],
        "runs": own["run_id"].nunique() - int(summary["summarised"].sum()),
        "summaries": int(summary["summarised"].sum()),
    }


def _exponent_figures(
    study: Study, tables: Tables, figures: Path, optima: Sequence[Mapping], exponents: Sequence[Mapping]
) -> list[dict[str, str]]:
    """A figure for every row of the table of exponents, which has their order."""
    shown = []
    entries = [entry for entry in figures_of(study) if entry.kind == "exponent"]
    for entry, row in zip(entries, exponents, strict=True):
        names, axis = row["experiments"].split(";"), (row["factor"], row["of"])
        own = [one for one in optima if one["experiment"] in names and (one["factor"], one["of"]) == axis]
        frame = pd.read_csv(figures / f"{entry.name}.csv")
        shown.append(_figure(entry, figures, exponent_caption(frame, own, partial_mark(entry, study, tables))))
    return shown


def _gradients_figure(study: Study, tables: Tables, figures: Path) -> dict[str, str] | None:
    """The figure of gradients; None where none were measured."""
    entry = next((entry for entry in figures_of(study) if entry.kind == GRADIENTS), None)
    frame = pd.read_csv(figures / f"{GRADIENTS}.csv") if entry else pd.DataFrame()
    if frame.empty:
        return None
    return _figure(entry, figures, gradients_caption(frame, partial_mark(entry, study, tables)))


def _scaling_figures(study: Study, tables: Tables, figures: Path) -> list[dict[str, str]]:
    """The figures of scaling, and the poster's comparison."""
    entries = [entry for entry in figures_of(study) if entry.kind in (*SCALING, COMPARISON)]
    frames = [pd.read_csv(figures / f"{entry.name}.csv", dtype={"level": str}) for entry in entries]
    return [
        _figure(entry, figures, scaling_caption(entry, frame, partial_mark(entry, study, tables)))
        for entry, frame in zip(entries, frames, strict=True)
    ]


def cell_rows(frame: pd.DataFrame, summary: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """The cells of an experiment with the mean of the runs that converged, in percent of runs those that diverged.

    frame: as `final_frame` makes it; summary: as `statistics.cells`.
    """
    converged = frame[frame["state"] == "finished"].groupby("level")[metric].mean()
    return [
        row
        | {"results": row["seeds"] - row["failed"] - row["pending"]}
        | {"converged": row["mean"] if row["summarised"] else converged.get(row["level"])}
        for row in summary.to_dict("records")
    ]


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
