"""What is wrong with claims beside their shape: experiments, factors, levels and columns that are not there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .claims import Claim
from .config import Analysis, ThroughputExperiment
from .errors import join_path, shown, suggestion
from .levels import is_in, is_level
from .run import Run

if TYPE_CHECKING:
    from .study import Point

MEASURED_FACTORS = ("worker_batch_size", "nodes", "ranks_per_node", "workers")
"""What the measurements of a throughput experiment differ in."""


def claim_errors(config: Analysis, runs: Mapping[str, Run], points: Iterable[Point]) -> list[str]:
    """A line for everything wrong with the claims of a study.

    Of a study of replayed results, which has neither runs nor points here, levels and columns are not known yet.
    """
    names = [experiment.name for experiment in config.experiments]
    measured = {experiment.name: experiment for experiment in config.throughputs}
    ids = [claim.id for claim in config.claims]
    lines = [f"claims.{name}: stands twice; ids must differ" for name in ids if ids.count(name) > 1]
    levels = _levels(points)
    rows = [run.columns() for run in runs.values()] if any(claim.a for claim in config.claims) else []
    for claim in config.claims:
        path = join_path("claims", claim.id)
        found = [*_name_errors(claim, path, names)]
        if not found and measured:
            found += _measured_errors(claim, path, measured, bool(runs))
        if claim.experiment in measured:
            lines += found
            continue
        if claim.paired and not runs:
            found.append(f"{path}.paired: of replayed runs it is not known what those with the same seed share")
        if runs and not found:
            found += [*_level_errors(claim, path, levels), *_filter_errors(claim, path, rows)]
        lines += found
    return lines


def _levels(points: Iterable[Point]) -> dict[str, dict[str, list[Any]]]:
    """{experiment: {factor: levels}}."""
    found: dict[str, dict[str, list[Any]]] = {}
    for point in points:
        for factor, level in point.factors.items():
            levels = found.setdefault(point.experiment, {}).setdefault(factor, [])
            if level not in levels:
                levels.append(level)
    return found


def _name_errors(claim: Claim, path: str, names: Collection[str]) -> Iterator[str]:
    named = {"experiment": [claim.experiment] if claim.experiment else [], "experiments": claim.experiments or []}
    for key, given in named.items():
        for name in given:
            if name not in names:
                yield f"{path}.{key}: {name} is no experiment; {suggestion(name, list(names))}"


def _measured_errors(
    claim: Claim, path: str, measured: Mapping[str, ThroughputExperiment], has_runs: bool
) -> Iterator[str]:
    """What is wrong with a claim on measurements, or with one on runs of a study that has measurements."""
    for name in claim.experiments or []:
        if name in measured:
            yield f"{path}.experiments: {name} has measurements; an exponent is of runs"
    experiment = measured.get(claim.experiment)
    if experiment is None:
        if claim.a and not has_runs:
            yield f"{path}.a: filters choose runs, and the study has none; use experiment, factor and levels"
        return
    if claim.a:
        yield f"{path}.a: filters choose runs, and {claim.experiment} has measurements; use factor and levels"
        return
    if claim.metric is None:
        yield f"{path}.metric: is missing: measurements have no accuracy; name a column of tables/throughput.csv"
    if claim.paired:
        yield f"{path}.paired: repeats of a measurement have nothing in common"
    if claim.varied not in MEASURED_FACTORS:
        known = suggestion(claim.varied, list(MEASURED_FACTORS))
        yield f"{path}.factor: {claim.varied} is no factor of experiment {claim.experiment}; {known}"
        return
    there = getattr(experiment, claim.varied)  # None: known with the placement only
    of = f"level of {claim.varied} in {claim.experiment}"
    given = {"level": [claim.level] if "level" in claim.model_fields_set else [], "levels": claim.levels or []}
    for key, wanted in given.items():
        for level in wanted if there else ():
            if not any(is_level(known, level) for known in there):
                yield f"{path}.{key}: {shown(level)} is no {of}: {shown(there)}"


def _level_errors(claim: Claim, path: str, levels: Mapping[str, Mapping[str, list[Any]]]) -> Iterator[str]:
    for name in claim.experiments or ([claim.experiment] if claim.factor else []):
        factors = levels[name]
        if claim.varied not in factors:
            known = suggestion(claim.varied, list(factors))
            yield f"{path}.factor: {claim.varied} is no factor of experiment {name}; {known}"
            continue
        there = factors[claim.varied]
        given = {"level": [claim.level] if "level" in claim.model_fields_set else [], "levels": claim.levels or []}
        for key, wanted in given.items():
            for level in wanted:
                if not any(is_level(known, level) for known in there):
                    yield f"{path}.{key}: {shown(level)} is no level of {claim.varied} in {name}: {shown(there)}"


def _filter_errors(claim: Claim, path: str, rows: list[Mapping[str, Any]]) -> Iterator[str]:
    for side in ("a", "b"):
        wanted = getattr(claim, side) or {}
        unknown = [column for column in wanted if column not in rows[0]]
        for column in unknown:
            yield f"{path}.{side}.{column}: is no column of runs; {suggestion(column, list(rows[0]))}"
        if wanted and not unknown and not any(is_in(row, wanted) for row in rows):
            yield f"{path}.{side}: {shown(dict(wanted))} selects no run of the study"
