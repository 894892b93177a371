"""The plan of a study: what each claim needs, what runs cost, what of it fits the budget, and in which order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..analysis.looks import LOOKS, read_looks
from ..cluster.site import Site
from ..records import OUTCOMES
from ..study import Study
from .budget import TakenOff, limits_of, measuring, spent_node_hours
from .calibration import CostModel
from .cells import cells_of, tables_in_memory
from .choices import CellChoice, Chosen, Goal, Limits, runs_of
from .costs import RunCost
from .fitting import Fitted, fit, pack_best
from .measured import measured_steps
from .needs import Need, needs_of
from .offer import Offer, offer_of, required_runs
from .packing import Span, Work
from .prices import Prices
from .smallest import why_infeasible
from .solver import InfeasibleError, solver_name
from .taken import Taken, taken_runs
from .workload import PlanningError


@dataclass(frozen=True)
class PlannedRun:
    """A run in a plan."""

    run_id: str
    cell: str
    decision: str
    """finished, planned, required or left_out."""
    cost: RunCost | None
    """Of what is left of it, at the place that is planned, or of a run that is left out at the cheapest; None where it
    is finished."""
    priority: int = 0
    """Larger: sooner. 0 where nothing is to be done."""
    span: Span | None = None
    """When it would be carried out if all nodes were there at once."""
    claims: tuple[str, ...] = ()
    """Claims that the plan settles with it."""


@dataclass(frozen=True)
class PlannedClaim:
    """A claim in a plan."""

    need: Need
    is_bought: bool
    """Whether all of its runs are there or planned."""
    seeds: int | None
    """Seeds of the smallest of its cells that are there or planned; None where it has no cells here."""
    node_hours: float
    """Of its runs that are planned, shared ones as well."""
    more_node_hours: float
    """What its further runs would cost at the cheapest; NaN where it cannot be said."""


@dataclass(frozen=True)
class Plan:
    """What a study is to do, and why."""

    study: Study
    limits: Limits
    """What is left of the budget, and what the site allows."""
    taken_off: TakenOff
    """Of its node-hours: what was spent so far, and what measurements will take."""
    runs: tuple[PlannedRun, ...]
    """Cell by cell."""
    claims: tuple[PlannedClaim, ...]
    fitted: Fitted
    taken: tuple[Taken, ...]
    """What finished runs took, beside what is predicted of them."""
    models: tuple[CostModel, ...]
    """What predicted the costs."""
    solver: str
    """Empty where there was nothing to choose."""
    doubts: tuple[str, ...]
    """What the costs may be wrong for, in lines."""

    @property
    def keeps_deadline(self) -> bool:
        """Whether the order that was found ends in time."""
        return self.limits.keeps(self.fitted.hours)

    @property
    def node_hours_left(self) -> float:
        """Of the budget, for measurements and runs; infinite where it has no limit on them."""
        budget = self.study.config.budget
        given = math.inf if budget is None or budget.node_hours is None else budget.node_hours
        return max(0.0, given - self.taken_off.spent)

    def having(self, *decisions: str) -> list[PlannedRun]:
        """The runs with one of these decisions."""
        return [run for run in self.runs if run.decision in decisions]


def make_plan(study: Study, site: Site, results: Path) -> Plan:
    """Plan a study from what is there under results/<study>; raises PlanningError, SiteError and LooksError."""
    tables = tables_in_memory(study, results)
    needs = needs_of(study, tables, read_looks(results / LOOKS))
    prices = Prices(study, site, measured_steps(study, results))
    ended = tables.runs["state"].isin(OUTCOMES) & tables.runs["run_id"].isin(study.runs)
    order = next((need.order for need in needs), None)
    offer = offer_of(study, prices, frozenset(tables.runs.loc[ended, "run_id"]), results, order)
    goals = [Goal(need.claim.id, need.weight, need.seeds) for need in needs if need.can_be_settled]
    taken_off = TakenOff(spent_node_hours(study, results), measuring(prices, results))
    limits = limits_of(study, site, taken_off)
    fitted = _fitted(study, offer, goals, limits, taken_off)
    return Plan(
        study=study,
        limits=limits,
        taken_off=taken_off,
        runs=tuple(_runs(study, offer, goals, fitted)),
        claims=tuple(_claim(need, offer, fitted.chosen, study.config.max_seeds) for need in needs),
        fitted=fitted,
        taken=tuple(taken_runs(prices, tables)),
        models=tuple(prices.models.values()),
        solver=solver_name() if study.config.budget else "",
        doubts=tuple(prices.doubts()),
    )


def _fitted(study: Study, offer: Offer, goals: Sequence[Goal], limits: Limits, taken_off: TakenOff) -> Fitted:
    """What fits the budget, all runs where there is none; raises PlanningError where what is required does not fit."""

    def works(chosen: Chosen) -> list[Work]:
        return offer.works(chosen, goals)

    if study.config.budget is None:
        everything = {run_id: next(iter(costs)) for run_id, costs in offer.costs.items()}
        weight = math.fsum(goal.weight for goal in goals)
        chosen = Chosen(everything, tuple(goal.name for goal in goals), weight, gap=0.0)
        return pack_best(chosen, works(chosen), limits)
    try:
        fitted = fit(offer.cells, goals, limits, works)
    except InfeasibleError as error:
        raise PlanningError(why_infeasible(offer.cells, limits, works, study.config.budget, taken_off)) from error
    if not limits.keeps(fitted.hours):
        raise PlanningError(why_infeasible(offer.cells, limits, works, study.config.budget, taken_off))
    return fitted


def _runs(study: Study, offer: Offer, goals: Sequence[Goal], fitted: Fitted) -> Iterator[PlannedRun]:
    """A row a run, cell by cell."""
    taken, required = fitted.chosen.taken, required_runs(study)
    claims: dict[str, list[str]] = {}
    for goal in (goal for goal in goals if goal.name in fitted.chosen.settled):
        for run_id in runs_of(goal, offer.cells):
            claims.setdefault(run_id, []).append(goal.name)
    rank = {run_id: len(fitted.order) - place for place, run_id in enumerate(fitted.order)}
    for cell in cells_of(study).values():
        for run_id in cell.runs:
            common = {"run_id": run_id, "cell": cell.name}
            if run_id not in offer.costs:
                yield PlannedRun(**common, decision="finished", cost=None)
            elif run_id not in taken:
                yield PlannedRun(**common, decision="left_out", cost=offer.cheapest(run_id))
            else:
                yield PlannedRun(
                    **common,
                    decision="required" if run_id in required else "planned",
                    cost=offer.costs[run_id][taken[run_id]],
                    priority=rank[run_id],
                    span=fitted.spans[run_id],
                    claims=tuple(claims.get(run_id, ())),
                )


def _claim(need: Need, offer: Offer, chosen: Chosen, max_seeds: int) -> PlannedClaim:
    """What a plan does for a claim."""
    cells = [cell for cell in offer.cells if cell.name in need.seeds]
    there = {cell.name: cell.finished + sum(run.run_id in chosen.taken for run in cell.runs) for cell in cells}
    own = [run.run_id for cell in cells for run in cell.runs if run.run_id in chosen.taken]
    is_bounded = need.needed is None or need.needed <= max_seeds
    more = math.fsum(_more(need.seeds[cell.name] - there[cell.name], cell, offer) for cell in cells)
    return PlannedClaim(
        need=need,
        is_bought=need.claim.id in chosen.settled,
        seeds=need.seeds_with(there),
        node_hours=math.fsum(chosen.taken[run_id].node_hours for run_id in own),
        more_node_hours=more if is_bounded else math.nan,
    )


def _more(lacking: int, cell: CellChoice, offer: Offer) -> float:
    """Node-hours of seeds that a cell lacks for a claim, those that the config does not have among them."""
    if lacking <= 0:
        return 0.0
    if not cell.runs:
        return math.nan
    return lacking * offer.cheapest(cell.runs[-1].run_id).node_hours
