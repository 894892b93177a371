"""What each claim of a study needs to be settled: which cells, how many seeds of each, and why not where it cannot be.

The level is Bonferroni's over claims and looks. Holm's procedure, by which the report decides, establishes at least as
much, so the power is at least what is shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..analysis.claims import common_seeds, evidence_of, groups_of, paired_evidence
from ..analysis.inference.cell import pooled_sd
from ..analysis.inference.evidence import Evidence
from ..analysis.inference.verdict import fewest_seeds, level_of_a_look
from ..analysis.looks import Look, claim_hash
from ..analysis.observed_cells import CannotTestError, Group, NotThereError
from ..analysis.tables import Tables
from ..records import OUTCOMES
from ..study import Study
from ..study.claims import Claim
from ..study.metric import ACCURACIES, Metric
from .cells import cells_of, effect_of, spread_of
from .exponent_truth import PlannedCurve, planned_curves, why_no_power, why_untestable
from .offer import required_runs
from .order import Choice, Order
from .selection import Part, Selection, choices_of, known_groups, parts_of, parts_of_exponent

ENOUGH_DEGREES = 4
"""Degrees of freedom from which on the spread that was seen is taken instead of the assumed one: with fewer it is off
by more than a factor of three in one of forty studies."""

SPREAD_UNKNOWN = "too little is known of its spread: give planning.sd"

Standing = Literal["open", "unknown", "settled", "spent", "too_few", "untestable", "left_out"]
"""open: a plan can settle it. unknown: it may, with what power is not known. too_few: more seeds are needed than the
config has. spent: no look is left. left_out: it is not about the accuracy of trainings."""


@dataclass(frozen=True)
class Need:
    """A claim as a plan sees it."""

    claim: Claim
    weight: float
    standing: Standing
    seeds: Mapping[str, int] = field(default_factory=dict)
    """{cell: how many of its runs the test needs, those that are there among them}."""
    choices: tuple[Choice, ...] = ()
    """Which runs count: of each of its cells, or pairs of two."""
    order: Order | None = field(default=None, compare=False)
    """In which runs are taken."""
    needed: int | None = None
    """Seeds a cell that the power aimed at asks for; None where it is not known; one more than the config's max_seeds:
    more than that."""
    configured: int | None = None
    """Seeds of the smallest of its cells, or pairs that there are."""
    level: float = math.nan
    """Probability of a false verdict that one look at it has."""
    sd: float = math.nan
    """Within cells, in units of the metric."""
    sd_is_assumed: bool = True
    effect: float = math.nan
    """How far beyond its bound the truth is taken to be."""
    curves: tuple[PlannedCurve, ...] = ()
    """Of an exponent whose power can be simulated."""
    groups: tuple[Group, ...] = ()
    """Its cells, of the runs that are there; of those without any only the place counts."""
    evidence: Evidence | None = field(default=None, compare=False)
    verdict: str = ""
    """Where it is settled."""
    note: str = ""

    @property
    def can_be_settled(self) -> bool:
        """Whether runs could do it."""
        return self.standing in ("open", "unknown")

    def power(self, n: int) -> float:
        """Chance to support it with n seeds in each cell; NaN where it is not known."""
        if self.evidence is None:
            return math.nan
        return self.evidence.power(n, self.level) if n >= 2 else 0.0

    def seeds_with(self, there: Mapping[str, int]) -> int | None:
        """Seeds of the smallest of its cells, or pairs, with so many runs of each; None where it has no cells here."""
        return min((self.order.seeds(choice, there) for choice in self.choices), default=None) if there else None


def needs_of(study: Study, tables: Tables, looks: Sequence[Look]) -> list[Need]:
    """What every claim needs, in their order. tables: of what is there; looks: all so far."""
    config = study.config
    level = level_of_a_look(len(config.claims), config.confidence, config.familywise, config.max_looks)
    last = {look.claim: look for look in looks}  # by id, as the report counts them and lets a verdict stand
    among = Selection.of(study, tables)
    needs = [_need(claim, last.get(claim.id), level, among) for claim in config.claims]
    ended = tables.runs.loc[tables.runs["state"].isin(OUTCOMES), "run_id"]
    choices = [choice for need in needs for choice in need.choices]
    order = Order.of(cells_of(study), frozenset(ended), required_runs(study), choices)
    return [replace(need, order=order, seeds=_seeds(need, order)) for need in needs]


def _all_seeds(choices: tuple[Choice, ...], base: dict, why: str) -> Need:
    """All seeds that the config has, as it cannot be said how many are enough."""
    configured = min(choice.seeds for choice in choices)
    return Need(**base, standing="unknown", choices=choices, configured=configured, note=why)


def _need(claim: Claim, last: Look | None, level: float, among: Selection) -> Need:
    config = among.study.config
    metric = claim.metric or config.metric
    base = {"claim": claim, "weight": config.planning.weight_of(claim.id), "level": level}
    if why := _why_left_out(claim, metric, among):
        return Need(**base, standing="left_out", note=why)
    if last is not None and last.claimed == claim_hash(claim) and last.verdict in ("supported", "refuted"):
        return Need(**base, standing="settled", verdict=last.verdict)
    if last is not None and last.look >= config.max_looks:
        return Need(**base, standing="spent", note=f"all {config.max_looks} looks at it are spent")
    try:
        if claim.kind == "exponent":
            return _need_of_exponent(metric, base, among)
        groups = tuple(groups_of(claim, metric, among.planned))
        return _need_of_groups(groups, metric, base, among)
    except (NotThereError, CannotTestError) as error:
        return Need(**base, standing="untestable", note=str(error))


def _why_left_out(claim: Claim, metric: Metric, among: Selection) -> str:
    """Why a claim is none of a plan's, if it is not."""
    if metric.name not in ACCURACIES:
        return f"{metric.name} is no accuracy: its spread over seeds and its cost are others"
    trained = {point.experiment for point in among.study.points}
    foreign = [name for name in [claim.experiment, *(claim.experiments or ())] if name and name not in trained]
    return f"{foreign[0]} trains nothing" if foreign else ""


def _need_of_exponent(metric: Metric, base: dict, among: Selection) -> Need:
    """All seeds of the curves; raises NotThereError and CannotTestError."""
    claim = base["claim"]
    parts, curves = parts_of_exponent(claim, metric, among), planned_curves(claim, metric, among)
    if why := why_untestable(claim, curves):
        raise CannotTestError(why)
    groups = [group for name in claim.experiments for group in among.planned.levels_of(name, claim.varied, metric)]
    sd, assumed = _spread(groups, parts, metric, among)
    why = why_no_power(claim, curves) or ("" if sd > 0 else SPREAD_UNKNOWN)
    need = _all_seeds(choices_of(parts), base, why or "exponents have no power formula: their power is simulated")
    effect = _effect(parts, among)
    return need if why else replace(need, curves=curves, sd=sd, sd_is_assumed=assumed, effect=effect)


def _need_of_groups(groups: tuple[Group, ...], metric: Metric, base: dict, among: Selection) -> Need:
    """Of a claim on cells; raises CannotTestError."""
    claim, config = base["claim"], among.study.config
    parts = parts_of(groups, among)
    choices = choices_of(parts, common_seeds(groups) if claim.paired else None)
    sd, assumed = _spread(groups, parts, metric, among)
    if not sd > 0:
        return _all_seeds(choices, base, SPREAD_UNKNOWN)
    effect = _effect(parts, among)
    known = known_groups(groups, parts)
    evidence = planned_evidence(claim, metric, known, sd, effect)
    needed = fewest_seeds(evidence, base["level"], config.max_seeds, config.planning.power)
    configured = min(choice.seeds for choice in choices)
    facts = {**base, "choices": choices, "needed": needed, "configured": configured}
    facts |= {"sd": sd, "sd_is_assumed": assumed, "effect": effect, "groups": known, "evidence": evidence}
    if needed is None:
        return Need(**facts, standing="unknown", note="its power is not known")
    if needed <= configured:
        return Need(**facts, standing="open")
    many = f"more than {config.max_seeds}" if needed > config.max_seeds else str(needed)
    what = "seeds in both cells" if claim.paired else "seeds a cell"
    return Need(**facts, standing="too_few", note=f"it needs {many} {what}, and the config has {configured}")


def planned_evidence(claim: Claim, metric: Metric, groups: Sequence[Group], sd: float, effect: float) -> Evidence:
    """The test of a claim on its cells; of pairs it is taken that runs with the same seed share nothing."""
    if not claim.paired:
        return evidence_of(claim, metric, groups, sd, effect)
    zeros = [0.0, 0.0]
    return paired_evidence(claim, zeros, zeros, metric.sign, effect, sd)


def _seeds(need: Need, order: Order) -> dict[str, int]:
    """{cell: how many of its runs are to be there}, of all of its cells."""
    found: dict[str, int] = {}
    for choice in need.choices:
        for cell, wanted in order.reach(choice, need.needed).items():
            found[cell] = max(wanted, found.get(cell, 0))
    return found


def _spread(groups: Sequence[Group], parts: Sequence[Part], metric: Metric, among: Selection) -> tuple[float, bool]:
    """Standard deviation within the cells of a claim, and whether it is assumed; NaN where too little is known."""
    try:
        around = among.real.cells_around(groups, metric)
    except (NotThereError, CannotTestError):
        around = []
    found = pooled_sd(around)
    degrees = sum(cell.n - 1 for cell in around if cell.n > 1 and cell.sd > 0)
    spreads = [spread_of(row, among.study.config.planning) for row in _rows(parts)]
    known = [spread for spread in spreads if spread is not None]
    if found > 0 and degrees >= ENOUGH_DEGREES:
        return found, False
    return (max(known), True) if len(known) == len(spreads) else (math.nan, True)


def _effect(parts: Sequence[Part], among: Selection) -> float:
    """How far beyond its bound the truth of a claim is taken to be: the smallest effect that matters in its cells."""
    config = among.study.config
    return min(effect_of(row, config.planning) or config.smallest_effect for row in _rows(parts))


def _rows(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """A row of `runs` of each cell: what cells are told apart by is the same in all."""
    return [part.rows.iloc[0].to_dict() for part in parts]
