"""How the best warmup grows with the mini-batch: exponents from observations, as rows of a table and as evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..study import Study
from ..study.metric import Metric
from . import style
from .catalogue import ExponentOf, exponents_of
from .inference.cell import pooled_sd
from .inference.evidence import Evidence
from .inference.exponent import RIVALS, Exponent, exponent
from .observations import Observations
from .observed_cells import CannotTestError, NotThereError
from .optima import WARMUP, Curve, curves, longest_warmup
from .page_text import short_label

SCALING_EXPONENTS = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}
EXPONENT_COLUMNS = (
    "experiments", "factor", "of", "metric", "scaling", "sizes", "exponent", "ci_low", "ci_high", "power_law_fits",
    "refused", "levels_to_add", *(f"p_rival_{rival:g}" for rival in RIVALS), "constant_increment_is", "note",
)  # fmt: skip


Missing = NotThereError | CannotTestError


@dataclass(frozen=True)
class Found:
    """An exponent, and what its curves have and have not in common."""

    law: Exponent
    scaling: str
    """Rule of the learning rate; empty where rows do not say."""
    notes: tuple[str, ...]


def exponents(study: Study, observations: Observations, metrics: Sequence[Metric]) -> dict[tuple, Found | Missing]:
    """{(experiments, factor, of, metric): the exponent that claims are about, or why there is none}."""
    found: dict[tuple, Found | Missing] = {}
    for wanted in exponents_of(study):
        for metric in metrics:
            key = (wanted.experiments, wanted.factor, wanted.of, metric)
            try:
                found[key] = _exponent(study, observations, wanted, metric)
            except (NotThereError, CannotTestError) as error:
                found[key] = error
    return found


def exponent_row(wanted: ExponentOf, found: Found | Missing, study: Study) -> dict[str, Any]:
    """A row of the table of exponents; without an exponent it says why."""
    row = {"experiments": ";".join(wanted.experiments), "factor": wanted.factor, "of": wanted.of}
    row |= {"metric": study.config.metric.name}
    if isinstance(found, Exception):
        return row | {"refused": str(found)}
    law = found.law
    row |= {
        "scaling": found.scaling,
        "sizes": ";".join(f"{size:g}" for size in law.sizes),
        "exponent": law.p,
        "ci_low": law.low,
        "ci_high": law.high,
        "refused": law.refused,
        "levels_to_add": _to_add(law),
        "note": "; ".join(found.notes),
    }
    if found.scaling in SCALING_EXPONENTS:
        row["constant_increment_is"] = 1 + SCALING_EXPONENTS[found.scaling]
    if not law.refused:
        row |= {"power_law_fits": "yes" if law.fits else "no"}
        row |= {f"p_rival_{rival:g}": law.p_value(rival) for rival in RIVALS}
    return row


def exponent_evidence(found: Found, window: tuple[float, float]) -> Evidence:
    """What an exponent says of the claim that it lies in a window."""
    law, (low, high) = found.law, window
    cells = [cell for curve in law.curves for cell in curve.cells]
    notes = [law.refused, f"levels to add: {_to_add(law)}" if any(law.levels_to_add) else "", *found.notes]
    if not law.fits:
        notes.append("no power law passes through the intervals of all optima")
    refused = bool(law.refused)
    return Evidence(
        estimand="exponent",
        estimate=law.p,
        lower=lambda alpha: law.interval(min(2 * alpha, 1.0))[0],
        upper=lambda alpha: law.interval(min(2 * alpha, 1.0))[1],
        p_support=None if refused else law.p_support(low, high),
        p_refute=None if refused else law.p_refute(low, high),
        decision_low=lambda alpha: law.interval(min(alpha, 1.0))[0],
        decision_high=lambda alpha: law.interval(min(alpha, 1.0))[1],
        supports_with="both" if refused or low <= law.p <= high else "outside",
        n=min((cell.runs for cell in cells), default=0),
        diverged=sum(cell.diverged for cell in cells),
        notes=tuple(filter(None, notes)),
    )


def _exponent(study: Study, observations: Observations, wanted: ExponentOf, metric: Metric) -> Found:
    """Raises NotThereError and CannotTestError."""
    found = [
        curve for name in wanted.experiments for curve in curves(observations, metric, name, wanted.factor, wanted.of)
    ]
    rules = sorted({curve.scaling for curve in found})
    if len(rules) > 1:
        shown = ", ".join(rule or "unknown" for rule in rules)
        raise CannotTestError(f"learning rates are scaled by different rules, {shown}: an exponent belongs to one")
    sizes = [curve.size for curve in found]
    if any(math.isnan(size) or size <= 0 for size in sizes):
        raise CannotTestError(f"not every curve has one {wanted.of} above 0")
    if twice := [size for size in sizes if sizes.count(size) > 1]:
        raise CannotTestError(f"several curves at {wanted.of} {twice[0]:,g}: they differ in other factors too")
    law = exponent(
        sizes,
        [(curve.levels, curve.cells) for curve in found],
        sign=metric.sign,
        confidence=study.config.confidence,
        spread=pooled_sd([cell for curve in found for cell in curve.cells]),
        longest=min(map(longest_warmup, found)) if wanted.factor == WARMUP else math.inf,
    )
    return Found(law, rules[0], tuple(_beside(found, observations, wanted)))


def _beside(found: Sequence[Curve], observations: Observations, wanted: ExponentOf) -> list[str]:
    """Which factors change with the size, or within it, beside what is varied."""
    differing = []
    for column in observations.apart:
        if column in (wanted.factor, wanted.of) or any(column not in curve.rows for curve in found):
            continue
        values = {tuple(sorted({style.level_label(value) for value in curve.rows[column]})) for curve in found}
        if len(values) > 1:
            differing.append(short_label(column))
    return [f"along with {short_label(wanted.of)} differs: {', '.join(differing)}"] if differing else []


def _to_add(found: Exponent) -> str:
    return "; ".join(
        f"{', '.join(f'{level:g}' for level in levels)} at {style.level_label(size)}"
        for size, levels in zip(found.sizes, found.levels_to_add, strict=True)
        if levels
    )
