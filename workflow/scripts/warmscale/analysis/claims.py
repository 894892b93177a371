"""Claims tested on the cells that they are about: each alone, before looks and the other claims are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from ..study import Study
from ..study.claims import Claim
from ..study.levels import is_level
from ..study.metric import Metric
from . import style
from .exponents import exponent_evidence
from .inference.cell import Cell, pooled_sd
from .inference.evidence import Evidence, given_convergence
from .inference.exponent import Exponent
from .inference.kinds import above, below, best, better, equivalent, paired_better, paired_equivalent, trend, worst
from .looks import data_hash
from .observations import Group, NotThereError, Observations
from .page_text import short_label

WORTH_A_NOTE = 4
"""Values of another factor that a note names."""


@dataclass(frozen=True)
class TestedClaim:
    """A claim and what its rows say of it."""

    claim: Claim
    metric: Metric
    evidence: Evidence | None = None
    """None: not run."""
    data: str = ""
    """Hash of the values that it was tested on."""
    notes: tuple[str, ...] = field(default=())

    @property
    def is_look(self) -> bool:
        """Whether this could have decided anything: one run in a cell cannot, so it spends nothing."""
        found = self.evidence
        return found is not None and (self.claim.kind == "exponent" or found.p_support is not None)


def test_claims(
    study: Study, observations: Observations, exponents: Mapping[tuple, Exponent | str]
) -> list[TestedClaim]:
    """Every claim of a study with its evidence, or why there is none.

    exponents: {(experiments, factor, of): the exponent, or why there is none}.
    """
    tested = []
    for claim in study.config.claims:
        metric = claim.metric or study.config.metric
        try:
            if claim.kind == "exponent":
                tested.append(_test_exponent(claim, metric, exponents))
            else:
                tested.append(_test_cells(claim, metric, study, observations))
        except NotThereError as error:
            tested.append(TestedClaim(claim, metric, notes=(str(error),)))
    return tested


def _test_exponent(claim: Claim, metric: Metric, exponents: Mapping[tuple, Exponent | str]) -> TestedClaim:
    found = exponents[tuple(claim.experiments), claim.varied, claim.of, metric]
    if isinstance(found, str):
        raise NotThereError(found)
    data = data_hash([curve.cells for curve in found.curves])
    evidence = exponent_evidence(found, claim.window)
    return TestedClaim(claim, metric, evidence, data, evidence.notes)


def _test_cells(claim: Claim, metric: Metric, study: Study, observations: Observations) -> TestedClaim:
    groups = _groups(claim, metric, observations)
    spread = pooled_sd(observations.cells_around(groups, metric))
    evidence = _evidence(claim, metric, groups, spread, study.config.smallest_effect)
    notes = [
        *evidence.notes,
        given_convergence(evidence, study.config.confidence),
        *_notes(claim, groups, observations, study),
    ]
    return TestedClaim(
        claim, metric, evidence, data_hash([group.cells for group in groups]), tuple(filter(None, notes))
    )


def _groups(claim: Claim, metric: Metric, observations: Observations) -> list[Group]:
    """The cells of each side or level, those of a pair and of two filters in the order of the claim."""
    if claim.a is not None:
        sides = [observations.side(claim, metric, name) for name in ("a", "b") if getattr(claim, name) is not None]
        if len(sides) == 2 and len(sides[0].rows.index.intersection(sides[1].rows.index)):
            raise NotThereError("a and b have rows in common: nothing can be compared with itself")
        return sides
    return observations.groups(claim, metric, claim.experiment)


def _evidence(claim: Claim, metric: Metric, groups: Sequence[Group], spread: float, effect: float) -> Evidence:
    common = {"sign": metric.sign, "spread": spread, "smallest_effect": effect}
    if claim.paired:
        return _paired(claim, groups, metric.sign, effect)
    cells = [group.cells for group in groups]
    match claim.kind:
        case "better":
            return better(*cells, margin=claim.margin or 0.0, **common)
        case "equivalent":
            return equivalent(*cells, margin=claim.margin, **common)
        case "above":
            return above(cells[0], claim.value, **common)
        case "below":
            return below(cells[0], claim.value, **common)
    single = _one_a_level(claim, groups)
    if claim.kind in {"increasing", "decreasing"}:
        return trend(single, increasing=claim.kind == "increasing", strict=claim.strict, **common)
    at = next(index for index, group in enumerate(groups) if is_level(group.level, claim.level))
    return {"best": best, "worst": worst}[claim.kind](single[at], [*single[:at], *single[at + 1 :]], **common)


def _one_a_level(claim: Claim, groups: Sequence[Group]) -> list[Cell]:
    """The cells of levels that have one each, labelled by the level."""
    if several := next((group for group in groups if len(group.cells) > 1), None):
        shown = ", ".join(several.keys)
        raise NotThereError(f"several cells at a level ({shown}): give the claim an experiment that has one of them")
    if len(groups) < 2:
        raise NotThereError(f"{claim.varied} has one level in {claim.experiment}: nothing to compare it with")
    return [group.cells[0] for group in groups]


def _paired(claim: Claim, groups: Sequence[Group], sign: int, effect: float) -> Evidence:
    """The claim on runs with the same seed."""
    if any(len(group.cells) > 1 for group in groups):
        raise NotThereError("paired runs need one cell a side")
    a, b = (group.rows.set_index("seed") for group in groups)
    seeds = sorted(a.index.intersection(b.index))
    if not seeds:
        raise NotThereError("paired: a and b have no seed in common")
    shared = ["data_seed", "init_seed"]
    if not a.loc[seeds, shared].equals(b.loc[seeds, shared]):
        raise NotThereError("paired: runs with the same seed differ in data_seed or init_seed")
    pair = [
        own[group.value].where(own["state"] == "finished")[seeds].tolist()
        for own, group in zip((a, b), groups, strict=True)
    ]
    if claim.kind == "better":
        return paired_better(*pair, sign=sign, margin=claim.margin or 0.0, smallest_effect=effect)
    return paired_equivalent(*pair, sign=sign, margin=claim.margin, smallest_effect=effect)


def _notes(claim: Claim, groups: Sequence[Group], observations: Observations, study: Study) -> list[str]:
    """What else a reader has to know of the rows that were compared."""
    rows = pd.concat([group.rows for group in groups])
    several = max(len(group.cells) for group in groups)
    notes = [f"each side is the mean of {several} cells"] if several > 1 else []
    if failed := sum(group.failed for group in groups):
        notes.append(f"{failed} failed {'run is' if failed == 1 else 'runs are'} left out")
    if "device_name" in rows and rows["device_name"].nunique() > 1:
        counts = rows["device_name"].value_counts(sort=False)
        notes.append("device types mixed: " + ", ".join(f"{name} ({count} runs)" for name, count in counts.items()))
    if "imported" in rows and rows["imported"].notna().any():
        notes.append(f"{rows['imported'].notna().sum()} of its runs are imported")
    differs = [text for column in observations.apart if column != claim.factor and (text := _differs(column, groups))]
    if differs and claim.a is None:
        notes.append(f"along with {short_label(claim.factor)} differs: {'; '.join(differs)}")
    if claim.factor == "warmup_epochs" and not study.is_replayed and _counts_inside(rows):
        notes.append("warmup counts inside the decay: a longer one leaves fewer epochs at the peak rate")
    return notes


def _differs(column: str, groups: Sequence[Group]) -> str:
    """The values of a column, where it is another one on each side or level."""
    values = [tuple(sorted({style.level_label(value) for value in group.rows[column]})) for group in groups]
    if len(set(values)) < 2:
        return ""
    named = list(dict.fromkeys(value for group in values for value in group))
    shown = ", ".join(named) if len(named) <= WORTH_A_NOTE else f"{named[0]} to {named[-1]}"
    return f"{short_label(column)} {shown}"


def _counts_inside(rows: pd.DataFrame) -> bool:
    return bool(((rows["warmup_counts"] == "inside") & (rows["decay.kind"] == "step")).any())
