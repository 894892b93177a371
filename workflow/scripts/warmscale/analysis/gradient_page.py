"""What the page shows of gradients early in training: the figure, and noise scales beside the steps to the target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..study import Study
from . import page_text, style
from .optima import SIZE

BATCH = "batchnorm_batch_size"


def gradients_section(
    study: Study, rows: Sequence[Mapping[str, Any]], figure: Mapping[str, str] | None
) -> dict[str, Any] | None:
    """What the template shows: a table for every BatchNorm batch; None where nothing was measured.

    rows: of tables/gradients.csv, as `read_rows` reads them.
    """
    if figure is None:
        return None
    config, batches = study.config, sorted({row[BATCH] for row in rows})
    return {
        "figure": figure,
        "percent": f"{100 * config.confidence:g}",
        "metric": style.metric_label(config.metric.name),
        "target": None if config.target is None else page_text.number(config.target),
        "tables": [
            {
                "batch": page_text.number(batch),
                "rows": [_row(row) for row in rows if row[BATCH] == batch],
            }
            for batch in batches
        ],
    }


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    has_estimate = not page_text.is_missing(row["noise_scale"])
    return {
        "size": page_text.number(row[SIZE]),
        "level": row["level"],
        "experiments": page_text.listed(row["experiments"]),
        "n": page_text.number(row["n"]),
        "noise": _images(row["noise_scale"]),
        "interval": page_text.interval(row["ci_low"], row["ci_high"], _images) if has_estimate else "",
        "first": _images(row["first_epoch"]),
        "last": _images(row["last_epoch"]),
        "of_prediction": _times(row[SIZE] / row["noise_scale"]) if has_estimate and row["noise_scale"] > 0 else "",
        "reason": row["reason"],
        "steps": _steps(row["steps_to_target"]),
        "range": _range(row["steps_low"], row["steps_high"]),
        "reached": "" if page_text.is_missing(row["reached"]) else f"by {row['reached']:.0f} of {row['runs']:.0f} runs",
    }


def _images(value: float) -> str:
    """Three digits: no interval is so narrow that more would say something."""
    if page_text.is_missing(value) or math.isinf(value):
        return page_text.number(value)
    return page_text.number(float(f"{value:.3g}"))


def _times(value: float) -> str:
    return f"× {value:.2g}" if value < 100 else f"× {value:,.0f}"


def _steps(value: float) -> str:
    if not page_text.is_missing(value) and math.isinf(value):
        return "not reached"
    return page_text.number(value)


def _range(low: float, high: float) -> str:
    """The fewest and the most steps of a run that reached the target."""
    if page_text.is_missing(low) or math.isinf(low) or low == high:
        return ""
    return (
        f"from {page_text.number(low)}" if math.isinf(high) else f"{page_text.number(low)} to {page_text.number(high)}"
    )
