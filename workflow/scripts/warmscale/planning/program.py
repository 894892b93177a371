"""The mixed-integer program of a plan: the goals of the most weight that the limits allow, then the least cost.

Variables: goal j counts (s_j); the first n unfinished runs of cell c are taken (y_cn, for each n that a goal asks for);
of all taken runs that cost the same, so many are at place o (x_ko, whole numbers). Constraints: s_j <= y_cn where goal
j asks for n runs of cell c; y_cn <= y_cm for m < n; the x of a kind add up to its taken runs; node-hours and job-hours
are within the limits. But for these last ones it is a closure problem, whose linear relaxation is whole (Picard 1976),
so that branching is needed for the budget alone. Solved through PuLP by CBC, or HiGHS where highspy is installed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pulp

from .choices import EXACT, Candidate, CellChoice, Chosen, Goal, Limits, Option, options_within, wanted_runs
from .solver import GAP, InfeasibleError, relaxed, solved

TIME_LIMIT_SEC = 25.0
"""Of each of the two solutions."""

Kind = tuple[Option, ...]
"""Runs of a kind have the same places at the same cost."""


@dataclass(frozen=True)
class _Piece:
    """Runs of a cell that are taken together or not at all, as no goal asks for a part of them."""

    cell: str
    upto: int
    """How many unfinished runs of the cell are taken with it and the pieces before it."""
    runs: tuple[Candidate, ...]


@dataclass(frozen=True)
class _Model:
    """A program before it has an objective."""

    problem: pulp.LpProblem
    counts: Mapping[str, pulp.LpVariable]
    """{goal: whether it counts}."""
    weight: pulp.LpAffineExpression
    """In units of _Weights."""
    node_hours: pulp.LpAffineExpression


@dataclass(frozen=True)
class _Weights:
    """How far apart the weights of goals are; solvers round at about a millionth of what is around one."""

    unit: float
    """Halfway between the smallest and the largest, as factors."""
    exact: float
    """What two sums may differ by and still be equal: far less than the smallest weight."""
    gap: float
    """Of a sum of all, what is less than the smallest weight."""

    @staticmethod
    def of(goals: Sequence[Goal]) -> _Weights:
        """Those of these goals, but for weights of nothing."""
        weights = [goal.weight for goal in goals if goal.weight > 0] or [1.0]
        least = min(weights)
        return _Weights(math.sqrt(least * max(weights)), EXACT * least, min(GAP, least / math.fsum(weights) / 2))


def solve(
    cells: Sequence[CellChoice], goals: Sequence[Goal], limits: Limits, time_limit_sec: float = TIME_LIMIT_SEC
) -> Chosen:
    """The most weight within the limits, then the fewest node-hours; raises InfeasibleError where what is required does
    not fit."""
    kinds = {run.run_id: options_within(run, limits) for cell in cells for run in cell.runs}
    by_name = {cell.name: cell for cell in cells}
    goals = [goal for goal in goals if _is_possible(goal, by_name, kinds)]
    if any(not kinds[run.run_id] for cell in cells for run in cell.runs[: cell.required]):
        raise InfeasibleError("a required run has no place within the limits")
    names, gap = _most_weight(_model(cells, goals, limits, kinds, pulp.LpMaximize), goals, time_limit_sec)
    model = _model(cells, goals, limits, kinds, pulp.LpMinimize)
    names, is_cheapest = _least_cost(model, goals, names, time_limit_sec)
    settled = [goal for goal in goals if goal.name in names]
    wanted = wanted_runs(cells, settled)
    runs = [run for cell in cells for run in cell.runs[: wanted[cell.name]]]
    return Chosen(
        taken=_places(runs, kinds, limits, time_limit_sec),
        settled=tuple(goal.name for goal in settled),
        weight=math.fsum(goal.weight for goal in settled),
        gap=gap,
        is_cheapest=is_cheapest,
    )


def _is_possible(goal: Goal, cells: Mapping[str, CellChoice], kinds: Mapping[str, Kind]) -> bool:
    """Whether each run that a goal asks for is there, or can be taken by itself."""
    for name, seeds in goal.seeds.items():
        wanted = max(0, seeds - cells[name].finished)
        if wanted > len(cells[name].runs) or any(not kinds[run.run_id] for run in cells[name].runs[:wanted]):
            return False
    return True


def _pieces(cells: Sequence[CellChoice], goals: Sequence[Goal]) -> list[_Piece]:
    """Cut each cell at the numbers of runs that goals ask for, or that are required."""
    ends: dict[str, set[int]] = {cell.name: {cell.required} for cell in cells}
    finished = {cell.name: cell.finished for cell in cells}
    for goal in goals:
        for name, seeds in goal.seeds.items():
            ends[name].add(max(0, seeds - finished[name]))
    return [
        _Piece(cell.name, end, cell.runs[start:end])
        for cell in cells
        for start, end in pairwise(sorted({0, *ends[cell.name]}))
    ]


def _model(
    cells: Sequence[CellChoice], goals: Sequence[Goal], limits: Limits, kinds: Mapping[str, Kind], sense: int
) -> _Model:
    """All variables and constraints."""
    problem, pieces = pulp.LpProblem("plan", sense), _pieces(cells, goals)
    counts = {goal.name: problem.add_variable(f"s{number}", cat="Binary") for number, goal in enumerate(goals)}
    taken = [problem.add_variable(f"y{number}", cat="Binary") for number in range(len(pieces))]
    reached = {(piece.cell, piece.upto): y for piece, y in zip(pieces, taken, strict=True)}
    required, finished = ({cell.name: getattr(cell, what) for cell in cells} for what in ("required", "finished"))
    runs_of_kind: dict[Kind, list] = {}
    for before, (piece, y) in zip([None, *pieces], zip(pieces, taken, strict=True), strict=False):
        if before is not None and before.cell == piece.cell:
            problem += y <= reached[before.cell, before.upto]
        if piece.upto <= required[piece.cell]:
            problem += y == 1
        for kind, number in Counter(kinds[run.run_id] for run in piece.runs).items():
            runs_of_kind.setdefault(kind, []).append(number * y)
    for goal in goals:
        for cell, seeds in goal.seeds.items():
            if seeds > finished[cell]:
                problem += counts[goal.name] <= reached[cell, seeds - finished[cell]]
    totals = {kind: pulp.lpSum(runs) for kind, runs in runs_of_kind.items()}
    node_hours = _spend(problem, totals, limits)[0]
    unit = _Weights.of(goals).unit
    return _Model(problem, counts, pulp.lpSum(goal.weight / unit * counts[goal.name] for goal in goals), node_hours)


def _spend(
    problem: pulp.LpProblem, totals: Mapping[Kind, pulp.LpAffineExpression | int], limits: Limits
) -> tuple[pulp.LpAffineExpression, dict[Kind, list[pulp.LpVariable]]]:
    """Give the runs of each kind their places, within the limits; returns node-hours, and how many are where."""
    at = {
        kind: [problem.add_variable(f"x{number}_{place}", lowBound=0, cat="Integer") for place in range(len(kind))]
        for number, kind in enumerate(totals)
    }
    for kind, total in totals.items():
        problem += pulp.lpSum(at[kind]) == total
    pairs = [(x, option) for kind, chosen in at.items() for x, option in zip(chosen, kind, strict=True)]
    node_hours = pulp.lpSum(option.node_hours * x for x, option in pairs)
    if math.isfinite(limits.most_node_hours):
        problem += node_hours <= limits.most_node_hours
    if math.isfinite(limits.most_job_hours):
        problem += pulp.lpSum(option.wall_hours * x for x, option in pairs) <= limits.most_job_hours
    return node_hours, at


def _most_weight(model: _Model, goals: Sequence[Goal], time_limit_sec: float) -> tuple[list[str], float]:
    """Names of the goals in the best solution found, and how far it may be from the best there is."""
    problem = model.problem
    problem += model.weight
    bound, weights = math.fsum(goal.weight for goal in goals), _Weights.of(goals)
    is_best = solved(problem, time_limit_sec, weights.gap)
    found = [goal for goal in goals if model.counts[goal.name].value() > 0.5]
    total = math.fsum(goal.weight for goal in found)
    if not is_best:
        problem.solve(relaxed(time_limit_sec))
        bound = min(bound, pulp.value(problem.objective) * weights.unit)
    is_best = is_best or bound <= total + weights.exact
    return [goal.name for goal in found], 0.0 if is_best else (bound - total) / bound


def _least_cost(
    model: _Model, goals: Sequence[Goal], names: Sequence[str], time_limit_sec: float
) -> tuple[list[str], bool]:
    """Of solutions with the weight of these goals: names in the cheapest one found, and whether it surely is that."""
    total, weights = math.fsum(goal.weight for goal in goals if goal.name in set(names)), _Weights.of(goals)
    problem = model.problem
    problem += model.node_hours
    problem += model.weight >= (total - weights.exact) / weights.unit
    try:
        is_cheapest = solved(problem, time_limit_sec)
    except InfeasibleError:  # time ran out before what is known to be there was found again
        return list(names), False
    found = [goal for goal in goals if model.counts[goal.name].value() > 0.5]
    if math.fsum(goal.weight for goal in found) < total - weights.exact:  # the solver rounded a small one away
        return list(names), False
    return [goal.name for goal in found], is_cheapest


def _places(
    runs: Sequence[Candidate], kinds: Mapping[str, Kind], limits: Limits, time_limit_sec: float
) -> dict[str, Option]:
    """{run_id: where} of exactly these runs, as cheap as the limits allow."""
    problem = pulp.LpProblem("places", pulp.LpMinimize)
    node_hours, at = _spend(problem, Counter(kinds[run.run_id] for run in runs), limits)
    problem += node_hours
    if not runs:
        return {}
    solved(problem, time_limit_sec)
    left = {kind: [round(x.value()) for x in chosen] for kind, chosen in at.items()}
    found = {}
    for run in runs:
        kind = kinds[run.run_id]
        place = next(index for index, count in enumerate(left[kind]) if count > 0)
        left[kind][place] -= 1
        found[run.run_id] = kind[place]
    return found
