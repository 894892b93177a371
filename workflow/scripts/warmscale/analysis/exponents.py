"""How the best warmup grows with the mini-batch: exponents from observations, as rows of a table and as evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..study import Study
from ..study.metric import Metric
from . import style
from .catalogue import ExponentOf, exponents_of
from .inference.cell import pooled_sd
from .inference.evidence import Evidence
from .inference.exponent import RIVALS, Exponent, exponent
from .observations import NotThereError, Observations
from .optima import curves

SCALING_EXPONENTS = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}
EXPONENT_COLUMNS = (
    "experiments", "factor", "of", "metric", "scaling", "sizes", "exponent", "ci_low", "ci_high", "power_law_fits",
    "refused", "levels_to_add", *(f"p_rival_{rival:g}" for rival in RIVALS), "constant_increment_is", "note",
)  # fmt: skip


def exponents(study: Study, observations: Observations, metrics: Sequence[Metric]) -> dict[tuple, Exponent | str]:
    """{(experiments, factor, of, metric): the exponent that claims are about, or why it cannot be had yet}."""
    return {
        (wanted.experiments, wanted.factor, wanted.of, metric): _exponent(study, observations, wanted, metric)
        for wanted in exponents_of(study)
        for metric in metrics
    }


def exponent_row(wanted: ExponentOf, found: Exponent | str, study: Study, scaling: str) -> dict[str, Any]:
    """A row of the table of exponents; without an exponent it says why."""
    row = {"experiments": ";".join(wanted.experiments), "factor": wanted.factor, "of": wanted.of}
    row |= {"metric": study.config.metric.name, "scaling": scaling}
    if isinstance(found, str):
        return row | {"refused": found}
    row |= {
        "sizes": ";".join(f"{size:g}" for size in found.sizes),
        "exponent": found.p,
        "ci_low": found.low,
        "ci_high": found.high,
        "power_law_fits": "yes" if found.fits else "no",
        "refused": found.refused,
        "levels_to_add": _to_add(found),
    }
    if scaling in SCALING_EXPONENTS:
        row["constant_increment_is"] = 1 + SCALING_EXPONENTS[scaling]
    if not found.refused:
        row |= {f"p_rival_{rival:g}": found.p_value(rival) for rival in RIVALS}
    return row


def exponent_evidence(found: Exponent, window: tuple[float, float]) -> Evidence:
    """What an exponent says of the claim that it lies in a window."""
    low, high = window
    cells = [cell for curve in found.curves for cell in curve.cells]
    notes = []
    if found.refused:
        notes += [found.refused, f"levels to add: {_to_add(found)}" if any(found.levels_to_add) else ""]
    elif not found.fits:
        notes.append("no power law passes through the intervals of all optima")
    notes.append("seeds alone may not settle it: an optimum is known no better than the gap between two levels")
    refuted = bool(found.refused)
    return Evidence(
        estimand="exponent",
        estimate=found.p,
        lower=lambda alpha: _end(found, 2 * alpha, 0),
        upper=lambda alpha: _end(found, 2 * alpha, 1),
        p_support=None if refuted else found.p_support(low, high),
        p_refute=None if refuted else found.p_refute(low, high),
        decision_low=lambda alpha: _end(found, alpha, 0),
        decision_high=lambda alpha: _end(found, alpha, 1),
        supports_with="both" if refuted or low <= found.p <= high else "outside",
        n=min((cell.runs for cell in cells), default=0),
        diverged=sum(cell.diverged for cell in cells),
        notes=tuple(filter(None, notes)),
    )


def _end(found: Exponent, alpha: float, side: int) -> float:
    ends = found.interval(min(alpha, 1.0))
    return math.nan if ends is None else ends[side]


def _exponent(study: Study, observations: Observations, wanted: ExponentOf, metric: Metric) -> Exponent | str:
    try:
        found = [
            curve
            for name in wanted.experiments
            for curve in curves(observations, metric, name, wanted.factor, wanted.of)
        ]
    except NotThereError as error:
        return str(error)
    rules = sorted({curve.scaling for curve in found if curve.scaling})
    if len(rules) > 1:
        return f"learning rates are scaled by different rules, {', '.join(rules)}: an exponent belongs to one"
    sizes = [curve.size for curve in found]
    if any(math.isnan(size) or size <= 0 for size in sizes):
        return f"not every curve has one {wanted.of} above 0"
    if twice := [size for size in sizes if sizes.count(size) > 1]:
        return f"several curves at {wanted.of} {twice[0]:,g}: they differ in other factors too"
    return exponent(
        sizes,
        [(curve.levels, curve.cells) for curve in found],
        sign=metric.sign,
        confidence=study.config.confidence,
        spread=pooled_sd([cell for curve in found for cell in curve.cells]),
    )


def scaling_of(observations: Observations, wanted: ExponentOf, metric: Metric) -> str:
    """The rule by which the learning rates of these experiments are scaled; empty where it is not known or not one."""
    try:
        rules = {
            curve.scaling
            for name in wanted.experiments
            for curve in curves(observations, metric, name, wanted.factor, wanted.of)
        }
    except NotThereError:
        return ""
    return rules.pop() if len(rules) == 1 else ""


def _to_add(found: Exponent) -> str:
    return "; ".join(
        f"{', '.join(f'{level:g}' for level in levels)} at {style.level_label(size)}"
        for size, levels in zip(found.sizes, found.levels_to_add, strict=True)
        if levels
    )
