"""Claims tested on the cells that they are about: each alone, before looks and the other claims are counted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from ..study import Study
from ..study.claims import Claim
from ..study.levels import is_level
from ..study.metric import Metric
from . import style
from .exponents import Found, Missing, exponent_evidence
from .inference.cell import pooled_sd
from .inference.evidence import Evidence, given_convergence
from .inference.kinds import above, below, best, better, equivalent, paired_better, paired_equivalent, trend, worst
from .looks import data_hash
from .observations import Observations
from .observed_cells import CannotTestError, Group, NotThereError
from .page_text import short_label

WORTH_A_NOTE = 4
"""Values of another factor that a note names."""


@dataclass(frozen=True)
class TestedClaim:
    """A claim and what its rows say of it."""

    claim: Claim
    metric: Metric
    evidence: Evidence | None = None
    """None: not run, or not to be tested."""
    is_there: bool = False
    """Whether its rows are there: without evidence it is inconclusive then, and else not run."""
    data: str = ""
    """Hash of the values that it was tested on."""
    runs: int = 0
    """Runs of all its cells."""
    notes: tuple[str, ...] = field(default=())

    @property
    def is_look(self) -> bool:
        """Whether this could have decided anything: one run in a cell cannot, so it spends nothing."""
        found = self.evidence
        return found is not None and (found.p_support is not None or (self.claim.kind == "exponent" and found.n > 1))


def test_claims(
    study: Study, observations: Observations, exponents: Mapping[tuple, Found | Missing]
) -> list[TestedClaim]:
    """Every claim of a study with its evidence, or why there is none.

    exponents: as `exponents.exponents` finds them.
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
        except CannotTestError as error:
            tested.append(TestedClaim(claim, metric, is_there=True, notes=(str(error),)))
    return tested


def _test_exponent(claim: Claim, metric: Metric, exponents: Mapping[tuple, Found | Missing]) -> TestedClaim:
    found = exponents[tuple(claim.experiments), claim.varied, claim.of, metric]
    if isinstance(found, Exception):
        raise found
    groups = [curve.cells for curve in found.law.curves]
    evidence = exponent_evidence(found, claim.window)
    runs = sum(cell.runs for group in groups for cell in group)
    return TestedClaim(claim, metric, evidence, True, data_hash(groups), runs, evidence.notes)


def _test_cells(claim: Claim, metric: Metric, study: Study, observations: Observations) -> TestedClaim:
    groups = groups_of(claim, metric, observations)
    observations = observations.about(claim, metric)
    spread = pooled_sd(observations.cells_around(groups, metric))
    evidence = evidence_of(claim, metric, groups, spread, study.config.smallest_effect)
    notes = [
        *evidence.notes,
        given_convergence(evidence, study.config.confidence),
        *_notes(claim, groups, observations, study),
    ]
    cells = [group.cells for group in groups]
    runs = sum(cell.runs for side in cells for cell in side)
    return TestedClaim(claim, metric, evidence, True, data_hash(cells), runs, tuple(filter(None, notes)))


def groups_of(claim: Claim, metric: Metric, observations: Observations) -> list[Group]:
    """The cells of each side or level, those of a pair and of two filters in the order of the claim.

    Raises NotThereError and CannotTestError.
    """
    if claim.a is not None:
        return observations.sides(claim, metric)
    return observations.about(claim, metric).groups(claim, metric, claim.experiment)


def evidence_of(claim: Claim, metric: Metric, groups: Sequence[Group], spread: float, effect: float) -> Evidence:
    """What these cells say of a claim; spread: sd within cells, effect: what power is for. Raises CannotTestError."""
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
    if len(groups) < 2:
        raise CannotTestError(f"{claim.varied} has one level in {claim.experiment}: nothing to compare it with")
    if claim.kind in {"increasing", "decreasing"}:
        return trend(cells, increasing=claim.kind == "increasing", strict=claim.strict, **common)
    at = next(index for index, group in enumerate(groups) if is_level(group.level, claim.level))
    return {"best": best, "worst": worst}[claim.kind](cells[at], [*cells[:at], *cells[at + 1 :]], **common)


def common_seeds(groups: Sequence[Group]) -> list[int]:
    """Seeds that both sides of a claim on pairs have; raises CannotTestError where its runs make no pairs."""
    if any(len(group.cells) > 1 for group in groups):
        raise CannotTestError("paired runs need one cell a side")
    if any("imported" in group.rows and group.rows["imported"].notna().any() for group in groups):
        raise CannotTestError("paired: of imported runs it is not known what those with the same seed share")
    a, b = (group.rows.set_index("seed") for group in groups)
    seeds = sorted(a.index.intersection(b.index))
    if not seeds:
        raise CannotTestError("paired: a and b have no seed in common")
    shared = ["data_seed", "init_seed"]
    if not a.loc[seeds, shared].equals(b.loc[seeds, shared]):
        raise CannotTestError("paired: runs with the same seed differ in data_seed or init_seed")
    return seeds


def _paired(claim: Claim, groups: Sequence[Group], sign: int, effect: float) -> Evidence:
    """The claim on runs with the same seed."""
    seeds = common_seeds(groups)
    sides = [group.rows.set_index("seed") for group in groups]
    pair = [
        own[group.value].where(own["state"] == "finished")[seeds].tolist()
        for own, group in zip(sides, groups, strict=True)
    ]
    return paired_evidence(claim, *pair, sign, effect)


def paired_evidence(
    claim: Claim, a: Sequence[float], b: Sequence[float], sign: int, effect: float, spread: float = math.nan
) -> Evidence:
    """What runs with the same seed say of a claim, in the order of their seeds, NaN: diverged; spread: sd of runs."""
    test = {"better": paired_better, "equivalent": paired_equivalent}[claim.kind]
    return test(a, b, sign=sign, margin=claim.margin or 0.0, spread=spread, smallest_effect=effect)


def _notes(claim: Claim, groups: Sequence[Group], observations: Observations, study: Study) -> list[str]:
    """What else a reader has to know of the rows that were compared."""
    rows = pd.concat([group.rows for group in groups])
    noun = "measurement" if "measurement_id" in rows else "run"
    notes = [
        f"{style.level_label(group.level)} is the mean of {len(group.cells)} cells ({'; '.join(_told(group))})"
        for group in groups
        if len(group.cells) > 1
    ]
    counts = {
        "cell that not all sides have": 0 if noun == "measurement" else sum(len(group.left_out) for group in groups),
        f"failed {noun}": sum(group.failed for group in groups),
        f"{noun} without a value of it": sum(group.without for group in groups),
    }
    notes += _dropped(groups) if noun == "measurement" else []
    notes += [f"left out: {count} x {what}" for what, count in counts.items() if count]
    if "measurement_id" in rows:
        notes.append("of measurements: n counts repeats, not seeds")
    if "device_name" in rows and rows["device_name"].nunique() > 1:
        counts = rows["device_name"].value_counts(sort=False)
        notes.append("device types mixed: " + ", ".join(f"{name} ({count} {noun}s)" for name, count in counts.items()))
    if "imported" in rows and rows["imported"].notna().any():
        notes.append(f"{rows['imported'].notna().sum()} of its runs are imported")
    named = {claim.factor} if claim.factor else {*claim.a, *(claim.b or ())}
    differs = [text for column in observations.apart if column not in named and (text := _differs(column, groups))]
    if differs:
        what = ", ".join(short_label(str(name)) for name in sorted(named))
        notes.append(f"along with {what} differs: {'; '.join(differs)}")
    if claim.factor == "warmup_epochs" and not study.is_replayed and _counts_inside(rows):
        notes.append("warmup counts inside the decay: a longer one leaves fewer epochs at the peak rate")
    return notes


def _told(group: Group) -> list[str]:
    """The cells of a group in words, some of many."""
    side = f"{style.level_label(group.level)}, "
    told = sorted((cell.label.removeprefix(side) for cell in group.cells), key=_natural)
    told = told if len(told) <= WORTH_A_NOTE else [*told[: WORTH_A_NOTE - 1], "and others"]
    if "measurement_id" in group.rows and group.by:
        told[0] = f"{_named(group.by)} {told[0]}"
    return told


def _dropped(groups: Sequence[Group]) -> list[str]:
    """Placements that not all levels have, and which levels they lack: one that failed takes its other levels along."""
    dropped = sorted({key for group in groups for key in group.left_out}, key=_natural)
    lacking = [[style.level_label(one.level) for one in groups if key not in one.left_out] for key in dropped]
    by = _named(groups[0].by)
    return [
        f"left out: {by} {key}, where there is no {' and no '.join(levels)}"
        for key, levels in zip(dropped, lacking, strict=True)
    ]


def _named(columns: Sequence[str]) -> str:
    return ", ".join(short_label(column) for column in columns)


def _natural(label: str) -> list[tuple[int, float, str]]:
    """What labels are sorted by: numbers in them by their size."""
    parts = re.split(r"(\d[\d,]*\.?\d*)", label)
    return [(0, float(part.replace(",", "")), "") if part[:1].isdigit() else (1, 0.0, part) for part in parts]


def _differs(column: str, groups: Sequence[Group]) -> str:
    """The values of a column, where it is another one on each side or level."""
    if any(column not in group.rows for group in groups):
        return ""
    values = [
        tuple(sorted({style.level_label(value) for value in group.rows[column]}, key=_natural)) for group in groups
    ]
    if len(set(values)) < 2:
        return ""
    named = list(dict.fromkeys(value for group in values for value in group))
    shown = ", ".join(named) if len(named) <= WORTH_A_NOTE else f"{named[0]} to {named[-1]}"
    return f"{short_label(column)} {shown}"


def _counts_inside(rows: pd.DataFrame) -> bool:
    return bool(((rows["warmup_counts"] == "inside") & (rows["decay.kind"] == "step")).any())
