"""What a plan chooses among: the cells of a study, what of them is required, and what each run would cost where."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..study import Study
from ..study.levels import is_in
from .cells import cells_of
from .choices import Candidate, CellChoice, Chosen, Goal, Option
from .costs import RunCost
from .fitting import by_priority
from .order import Order
from .packing import Work
from .prices import Prices, option_of, steps_of


@dataclass(frozen=True)
class Offer:
    """What a plan chooses among."""

    cells: tuple[CellChoice, ...]
    costs: Mapping[str, Mapping[Option, RunCost]]
    """{run_id: {place: cost}} of the runs that are not finished; the place without a plan comes first."""

    def works(self, chosen: Chosen, goals: Sequence[Goal]) -> list[Work]:
        """The runs taken, by priority."""
        order = by_priority(chosen, self.cells, goals)
        found = {run_id: self.costs[run_id][chosen.taken[run_id]] for run_id in order}
        return [Work(run_id, cost.nodes, cost.wall_sec / 3600, cost.jobs) for run_id, cost in found.items()]

    def cheapest(self, run_id: str) -> RunCost:
        """At the place with the fewest node-hours."""
        return min(self.costs[run_id].values(), key=lambda cost: cost.node_hours)


def offer_of(
    study: Study, prices: Prices, finished: Collection[str], results: Path, order: Order | None = None
) -> Offer:
    """All cells, of each first what has to be taken, then what has come furthest.

    order: of the cells of which claims need certain runs.
    """
    required, given = required_runs(study), {name: order.runs[name] for name in order.picked} if order else {}
    costs: dict[str, dict[Option, RunCost]] = {}
    cells = []
    for cell in cells_of(study).values():
        left = [run_id for run_id in given.get(cell.name, cell.runs) if run_id not in finished]
        done = {run_id: steps_of(results, run_id) for run_id in left}
        for run_id in left:
            costs[run_id] = {option_of(cost): cost for cost in prices.costs(study.runs[run_id], done[run_id])}
        if cell.name not in given:
            left.sort(key=lambda run_id: (run_id not in required, -done[run_id]))
        runs = tuple(Candidate(run_id, tuple(costs[run_id]), run_id in required) for run_id in left)
        cells.append(CellChoice(cell.name, len(cell.runs) - len(left), runs))
    return Offer(tuple(cells), costs)


def required_runs(study: Study) -> set[str]:
    """Ids of the runs that are kept whatever they cost."""
    found = set()
    for one in study.config.planning.required:
        if isinstance(one, str):
            found |= {point.run_id for point in study.points if point.experiment == one}
        else:
            found |= {run_id for run_id, run in study.runs.items() if is_in(run.columns(), one)}
    return found
