"""The tables of what a study shows: verdicts on its claims, the best warmups, their exponents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..records import rows_to_csv, write_atomic
from ..study import Study
from .catalogue import exponents_of
from .claims import TestedClaim, test_claims
from .exponents import EXPONENT_COLUMNS, exponent_row, exponents
from .frames import final_frame
from .inference.verdict import Decision, decide, seeds_needed
from .levels import experiment_factors, level_points
from .looks import LOOKS, Look, claim_hash, now, number_of, read_looks, standing, write_looks
from .noise_scale import NOISE_COLUMNS, noise_rows
from .observations import Observations
from .optima import OPTIMUM_COLUMNS, optimum_rows
from .scaling_table import scaling_table
from .statistics import cells
from .tables import Tables

CLAIM_COLUMNS = (
    "claim", "statement", "kind", "verdict",
    "estimate", "ci_low", "ci_high", "decision_ci_low", "decision_ci_high",
    "p_support", "p_refute", "p_support_adjusted", "p_refute_adjusted",
    "n", "diverged", "seeds_needed", "looks", "note", "metric", "estimand", "source",
)  # fmt: skip
CELL_COLUMNS = (
    "seeds", "n", "mean", "sd", "ci_low", "ci_high", "diverged", "divergence_low", "divergence_high", "failed",
    "pending", "summarised",
)  # fmt: skip


def make_verdicts(study: Study, tables: Tables, results: Path, folder: Path | None = None) -> None:
    """Write VERDICTS into results/<study>/tables, or another folder, and the looks beside them."""
    folder = folder or results / "tables"
    observations = Observations.of(study, tables)
    metrics = list(
        dict.fromkeys([study.config.metric, *(claim.metric or study.config.metric for claim in study.config.claims)])
    )
    found = exponents(study, observations, metrics)
    tested = test_claims(study, observations, found)
    earlier = read_looks(results / LOOKS)
    rows, looks = claim_rows(study, tested, earlier)
    write_looks(results / LOOKS, earlier, looks)
    wanted = exponents_of(study)
    metric = study.config.metric
    own = [exponent_row(one, found[one.experiments, one.factor, one.of, metric], study) for one in wanted]
    for name, columns, content in (
        ("claims", CLAIM_COLUMNS, rows),
        ("optimum", OPTIMUM_COLUMNS, optimum_rows(study, observations)),
        ("exponent", EXPONENT_COLUMNS, own),
        ("gradients", NOISE_COLUMNS, noise_rows(study, tables)),
    ):
        write_atomic(folder / f"{name}.csv", rows_to_csv([_as_text(row) for row in content], columns))
    if not study.is_replayed:
        write_atomic(folder / "scaling.csv", scaling_table(study, tables).to_csv(index=False, lineterminator="\n"))
    write_atomic(folder / "cells.csv", cells_table(study, tables).to_csv(index=False, lineterminator="\n"))


def cells_table(study: Study, tables: Tables) -> pd.DataFrame:
    """A row a cell of each experiment: experiment, level (its label), metric, its factors, and `statistics.cells`."""
    metric, found = study.config.metric.name, []
    for experiment in study.config.trainings:
        factors = experiment_factors(study, tables.points, experiment.name)
        own, names = level_points(tables.points, experiment.name, factors)
        rows = cells(final_frame(own, tables.runs, names, metric), ["level", *names], metric)
        rows.insert(0, "experiment", experiment.name)
        rows.insert(2, "metric", metric)
        found.append(rows)
    if not found:  # a study of measurements
        return pd.DataFrame(columns=["experiment", "level", "metric", *CELL_COLUMNS])
    table = pd.concat(found, ignore_index=True)
    last = [name for name in CELL_COLUMNS if name in table]
    return table[[*(name for name in table if name not in last), *last]]


def claim_rows(
    study: Study, tested: Sequence[TestedClaim], earlier: Sequence[Look]
) -> tuple[list[dict[str, Any]], list[Look]]:
    """A row a claim, and the looks that this makes."""
    config = study.config
    numbers = [number_of(one.claim.id, one.data, one.runs, earlier) if one.is_look else 0 for one in tested]
    evidence = [one.evidence for one in tested]
    rule = {"confidence": config.confidence, "familywise": config.familywise, "max_looks": config.max_looks}
    stands = [
        standing(one.claim.id, number, config.max_looks, earlier) or "inconclusive"
        for one, number in zip(tested, numbers, strict=True)
    ]
    decisions = decide(evidence, looks=numbers, standing=stands, **rule)
    seeds = seeds_needed(evidence, decisions, max_seeds=config.max_seeds, **rule)
    # no seed changes a verdict that stands, and the smallest effect has the unit of the study's metric
    seeds = [
        None if number > config.max_looks or one.metric.name != config.metric.name else needed
        for one, needed, number in zip(tested, seeds, numbers, strict=True)
    ]
    rows = [
        _row(one, decision, number, needed, study, _history(one, number, study, earlier))
        for one, decision, number, needed in zip(tested, decisions, numbers, seeds, strict=True)
    ]
    looks = [
        Look(
            claim=one.claim.id,
            look=number,
            time=now(),
            data=one.data,
            claimed=claim_hash(one.claim),
            runs=one.runs,
            n=one.evidence.n,
            p_support=one.evidence.p_support,
            p_refute=one.evidence.p_refute,
            verdict=row["verdict"],
        )
        for one, row, number in zip(tested, rows, numbers, strict=True)
        if one.is_look
    ]
    return rows, looks


def _row(
    one: TestedClaim, decision: Decision, look: int, needed: int | None, study: Study, notes: Sequence[str]
) -> dict[str, Any]:
    claim, found, config = one.claim, one.evidence, study.config
    row = {"claim": claim.id, "statement": claim.statement, "kind": claim.kind, "source": claim.source}
    verdict = "inconclusive" if found is None and one.is_there else decision.verdict
    row |= {"verdict": verdict, "looks": look, "metric": one.metric.name}
    row |= {"note": "; ".join([*one.notes, *decision.notes, *notes])}
    if found is None:
        return row
    half = (1 - config.confidence) / 2
    return row | {
        "estimand": found.estimand,
        "estimate": found.estimate,
        "ci_low": found.lower(half),
        "ci_high": found.upper(half),
        "decision_ci_low": decision.decision_ci_low,
        "decision_ci_high": decision.decision_ci_high,
        "p_support": found.p_support,
        "p_refute": found.p_refute,
        "p_support_adjusted": decision.p_support_adjusted,
        "p_refute_adjusted": decision.p_refute_adjusted,
        "n": found.n,
        "diverged": found.diverged,
        "seeds_needed": f">{config.max_seeds}" if needed is not None and needed > config.max_seeds else needed,
    }


def _history(one: TestedClaim, number: int, study: Study, earlier: Sequence[Look]) -> list[str]:
    """What looks before this one say about it."""
    own = [look for look in earlier if look.claim == one.claim.id and one.is_look]
    notes = []
    if any(look.claimed != claim_hash(one.claim) for look in own):
        notes.append("it said something else at an earlier look")
    if any(look.look == number and look.data != one.data and look.runs >= one.runs for look in own):
        notes.append("its values were other ones before, of as many runs: taken as a correction")
    if number > study.config.max_looks:
        notes.append("the estimate is of newer values than the verdict")
    return notes


def _as_text(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers to nine digits, which are more than seeds can tell; what cannot be had is empty."""
    return {
        name: ""
        if isinstance(value, float) and math.isnan(value)
        else f"{value:.9g}"
        if isinstance(value, float)
        else value
        for name, value in row.items()
    }
