"""A choice of runs that is also done by the deadline: the program and the packing in turns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from .choices import EXACT, Candidate, CellChoice, Chosen, Goal, Limits, front, runs_of, wanted_runs
from .packing import Span, Work, makespan, pack
from .program import TIME_LIMIT_SEC, solve
from .solver import InfeasibleError

ROUNDS = 6
"""How often the program is solved, each time with less room, because what it chose was packed too long."""
TOTAL_SEC = 50.0
"""Of all rounds, about."""
MOVES_SEC = 1.0
"""Of moving the runs of one choice to faster places, about."""
GROWTH_SEC = 5.0
"""Of putting goals back, about."""
TIGHTER = 0.97
"""Of the room that a choice took, at most, from one time to the next."""
TRIED = 6
"""Runs that may go to a faster place, of which one does."""
PULLED = 4
"""How often the run that ends last is put first, where no order by a rule keeps the deadline."""


@dataclass(frozen=True)
class Fitted:
    """Runs that were chosen, in an order."""

    chosen: Chosen
    order: tuple[str, ...]
    """Ids by priority."""
    spans: Mapping[str, Span]

    @property
    def hours(self) -> float:
        """Until the last run has ended."""
        return makespan(self.spans)


@dataclass(frozen=True)
class _Search:
    """What is chosen among, and how long that may take."""

    cells: Sequence[CellChoice]
    goals: Sequence[Goal]
    limits: Limits
    works: Callable[[Chosen], list[Work]]
    until_sec: float
    """Of the monotonic clock."""

    @property
    def left_sec(self) -> float:
        """For the next solution; at least a second."""
        return min(TIME_LIMIT_SEC, max(1.0, (self.until_sec - time.monotonic()) / 2))

    @property
    def is_over(self) -> bool:
        """Whether time has run out."""
        return time.monotonic() >= self.until_sec

    def keeps(self, found: Fitted | None) -> bool:
        """Whether something was found that is done by the deadline."""
        return found is not None and self.limits.keeps(found.hours)


def fit(
    cells: Sequence[CellChoice],
    goals: Sequence[Goal],
    limits: Limits,
    works: Callable[[Chosen], list[Work]],
    total_sec: float = TOTAL_SEC,
) -> Fitted:
    """The best choice found that keeps the deadline; where not even what is required does, one that misses it by least.

    works: the runs of a choice, in the order of their priority. Raises InfeasibleError.
    """
    search = _Search(cells, goals, limits, works, time.monotonic() + total_sec)
    chosen = solve(cells, goals, limits, search.left_sec)
    most = chosen.weight / (1 - chosen.gap) if chosen.gap < 1 else math.inf
    first = _in_time(chosen, search)
    if search.keeps(first):
        return first
    best = min(_smaller(first, search), key=lambda found: (not search.keeps(found), found.hours), default=first)
    if search.keeps(best) or search.keeps(best := _in_time(solve(cells, [], limits, search.left_sec), search)):
        best = _with_more(best, search)
    best = best if search.keeps(best) or best.hours < first.hours else first
    return replace(best, chosen=_compared(best.chosen, most))


def _smaller(found: Fitted, search: _Search) -> Iterator[Fitted]:
    """Choices with less room each time, until one keeps the deadline: less than the one before took, not was given."""
    tried = search.limits
    for _ in range(1, ROUNDS):
        if search.is_over or search.keeps(found):
            return
        shrunk = min(TIGHTER, search.limits.deadline_hours / found.hours)
        tried = replace(tried, packed=min(tried.packed, tried.share_of(found.chosen)) * shrunk)
        try:
            found = _in_time(solve(search.cells, search.goals, tried, search.left_sec), search)
        except InfeasibleError:  # what is required has no more room to lose
            return
        yield found


def _with_more(found: Fitted, search: _Search) -> Fitted:
    """Goals put back one by one as long as the deadline is kept, the most valuable first."""
    open_goals = [goal for goal in search.goals if goal.name not in found.chosen.settled]
    until_sec = time.monotonic() + GROWTH_SEC
    for goal in sorted(open_goals, key=lambda goal: (-goal.weight, sum(goal.seeds.values()))):
        if search.is_over or time.monotonic() >= until_sec:
            break
        if goal.name in found.chosen.settled:  # with another one
            continue
        settled = [one for one in search.goals if one.name in (*found.chosen.settled, goal.name)]
        more = _settling(settled, search)
        found = more if more is not None and search.keeps(more) else found
    return found


def _settling(goals: Sequence[Goal], search: _Search) -> Fitted | None:
    """Exactly the runs of these goals and those required; None where they do not fit."""
    wanted = wanted_runs(search.cells, goals)
    if any(number > len(cell.runs) for cell, number in zip(search.cells, wanted.values(), strict=True)):
        return None
    asked = [replace(cell, runs=_required(cell.runs, wanted[cell.name])) for cell in search.cells]
    try:
        chosen = solve(asked, [], search.limits, search.left_sec)
    except InfeasibleError:
        return None
    there = {cell.name: cell.finished + wanted[cell.name] for cell in search.cells}
    settled = [one for one in search.goals if all(there[name] >= need for name, need in one.seeds.items())]
    weight = math.fsum(one.weight for one in settled)
    return _in_time(replace(chosen, settled=tuple(one.name for one in settled), weight=weight), search)


def _required(runs: Sequence[Candidate], number: int) -> tuple[Candidate, ...]:
    return tuple(replace(run, required=place < number) for place, run in enumerate(runs))


def _in_time(chosen: Chosen, search: _Search) -> Fitted:
    """A choice in an order; where that is too long, one run after the other goes to its next faster place.

    Of the first few that can, those first that end last, the one with which all is done soonest.
    """
    found = best = pack_best(chosen, search.works(chosen), search.limits)
    fronts = {run.run_id: front(run, search.limits) for cell in search.cells for run in cell.runs}
    until_sec = time.monotonic() + MOVES_SEC
    while not search.keeps(best) and not search.is_over and time.monotonic() < until_sec:
        faster = islice(_faster(found, fronts, search.limits), TRIED)
        packed = [pack_best(one, search.works(one), search.limits) for one in faster]
        if not packed:
            break
        found = min(packed, key=lambda one: one.hours)
        best = min(best, found, key=lambda one: one.hours)
    return best


def _faster(found: Fitted, fronts: Mapping[str, Sequence], limits: Limits) -> Iterator[Chosen]:
    """The choice with one of its runs at the next faster place, if the budget and the nodes have it."""
    taken, most = found.chosen.taken, replace(limits, packed=1.0).most_node_hours
    for run_id in sorted(found.spans, key=lambda run_id: -found.spans[run_id].end_hour):
        for option in fronts[run_id]:
            more = option.node_hours - taken[run_id].node_hours
            if option.wall_hours < taken[run_id].wall_hours and found.chosen.node_hours + more <= most + EXACT:
                yield replace(found.chosen, taken={**taken, run_id: option}, is_cheapest=False)
                break


def pack_best(chosen: Chosen, works: Sequence[Work], limits: Limits) -> Fitted:
    """In the order of priority; where that misses the deadline, the order that is done soonest among some others.

    Longest first (Graham 1969), most nodes first, most node-hours first, and of the best of these again and again the
    run that ends last put first.
    """
    best = _packed(chosen, works, limits)
    if limits.keeps(best.hours):
        return best
    rules = (
        lambda work: (-work.wall_hours, -work.nodes),
        lambda work: (-work.nodes, -work.wall_hours),
        lambda work: -work.nodes * work.wall_hours,
    )
    for rule in rules:
        best = min(best, _packed(chosen, sorted(works, key=rule), limits), key=lambda found: found.hours)
    found, by_id = best, {work.run_id: work for work in works}
    for _ in range(PULLED):
        if limits.keeps(best.hours):
            break
        last = max(found.order, key=lambda run_id: found.spans[run_id].end_hour)
        order = [last, *(run_id for run_id in found.order if run_id != last)]
        found = _packed(chosen, [by_id[run_id] for run_id in order], limits)
        best = min(best, found, key=lambda one: one.hours)
    return best


def by_priority(chosen: Chosen, cells: Sequence[CellChoice], goals: Sequence[Goal]) -> list[str]:
    """Ids of the runs taken: required ones, then those of the claims that are worth most for their cost.

    Of a claim the longest first. All runs of a claim stand together, so that it is settled as soon as it can be.
    """
    order = [run.run_id for cell in cells for run in cell.runs if run.required]
    settled = [goal for goal in goals if goal.name in chosen.settled]
    runs = {goal.name: runs_of(goal, cells) for goal in settled}
    cost = {name: sum(chosen.taken[run_id].node_hours for run_id in own) for name, own in runs.items()}
    for goal in sorted(settled, key=lambda goal: (-goal.weight, cost[goal.name])):
        order += sorted(runs[goal.name], key=lambda run_id: -chosen.taken[run_id].wall_hours)
    return list(dict.fromkeys([*order, *chosen.taken]))


def _compared(chosen: Chosen, most: float) -> Chosen:
    """A choice with its gap to the weight that is possible where packing is no matter."""
    gap = max(0.0, 1 - chosen.weight / most) if most > 0 else 0.0
    return replace(chosen, gap=gap if gap > EXACT else 0.0, is_cheapest=False)


def _packed(chosen: Chosen, works: Sequence[Work], limits: Limits) -> Fitted:
    return Fitted(chosen, tuple(work.run_id for work in works), pack(works, limits))
