"""What a plan chooses among: runs of cells, each at one of several places, for goals, within limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

EXACT = 1e-6
"""Hours, and parts of a weight, that two plans may differ by and still be equal."""


@dataclass(frozen=True)
class Option:
    """A place for a run."""

    nodes: int
    wall_hours: float
    """From the start of its first job to the end of its last one, without waiting."""
    node_hours: float


@dataclass(frozen=True)
class Candidate:
    """A run that is not finished."""

    run_id: str
    options: tuple[Option, ...]
    required: bool = False


@dataclass(frozen=True)
class CellChoice:
    """A cell: so many of its runs are there, and of the others the first ones are taken."""

    name: str
    finished: int
    runs: tuple[Candidate, ...]

    @property
    def required(self) -> int:
        """How many of the others have to be taken."""
        return max((place for place, run in enumerate(self.runs, 1) if run.required), default=0)


@dataclass(frozen=True)
class Goal:
    """A claim that counts when all of its cells have their runs."""

    name: str
    weight: float
    seeds: Mapping[str, int]
    """{cell: runs, finished ones among them}"""


@dataclass(frozen=True)
class Limits:
    """What a plan may use; infinite where there is no limit."""

    node_hours: float = math.inf
    deadline_hours: float = math.inf
    concurrent_nodes: float = math.inf
    jobs: float = math.inf
    """Jobs at a time."""
    packed: float = 1.0
    """Share of the time until the deadline in which nodes are taken to be busy: packing leaves gaps."""

    def fits(self, option: Option) -> bool:
        """Whether a run may be at this place at all."""
        return option.nodes <= self.concurrent_nodes and self.keeps(option.wall_hours)

    def keeps(self, hours: float) -> bool:
        """Whether what ends then ends by the deadline."""
        return hours <= self.deadline_hours + EXACT

    def share_of(self, chosen: Chosen) -> float:
        """Of the nodes, or of the jobs at a time if that is more, that a choice keeps busy until the deadline."""
        areas = ((chosen.node_hours, self.concurrent_nodes), (chosen.job_hours, self.jobs))
        return max(hours / _product(self.deadline_hours, number) for hours, number in areas)

    @property
    def most_node_hours(self) -> float:
        """Of all runs together: by the budget, and by all nodes until the deadline."""
        return min(self.node_hours, _product(self.packed * self.deadline_hours, self.concurrent_nodes))

    @property
    def most_job_hours(self) -> float:
        """Of all runs together, by the jobs at a time until the deadline."""
        return _product(self.packed * self.deadline_hours, self.jobs)


@dataclass(frozen=True)
class Chosen:
    """What a program found."""

    taken: Mapping[str, Option]
    """{run_id: where}, of the runs that are not finished."""
    settled: tuple[str, ...]
    """Goals that count."""
    weight: float
    """Of those."""
    gap: float
    """How far the weight may be below the most that is possible, as a share of that; 0: it is the most."""
    is_cheapest: bool = field(default=True)
    """Whether no plan of this weight is known to be possible for less."""

    @property
    def node_hours(self) -> float:
        """Of all runs taken."""
        return math.fsum(option.node_hours for option in self.taken.values())

    @property
    def job_hours(self) -> float:
        """Of all runs taken, one after the other."""
        return math.fsum(option.wall_hours for option in self.taken.values())


def options_within(run: Candidate, limits: Limits) -> tuple[Option, ...]:
    """The places of a run that the program may need: all it knows of time are job-hours."""
    kept = front(run, limits)
    return kept[:1] if math.isinf(limits.most_job_hours) else kept


def front(run: Candidate, limits: Limits) -> tuple[Option, ...]:
    """The places of a run within the limits, from the cheapest to the fastest: no other one is as cheap and as fast."""
    fitting = sorted((one for one in run.options if limits.fits(one)), key=lambda one: (one.node_hours, one.wall_hours))
    kept: list[Option] = []
    for option in fitting:
        if not kept or option.wall_hours < kept[-1].wall_hours:
            kept.append(option)
    return tuple(kept)


def wanted_runs(cells: Iterable[CellChoice], goals: Sequence[Goal]) -> dict[str, int]:
    """{cell: how many of its unfinished runs are taken} for these goals and what is required."""
    wanted = {cell.name: cell.required for cell in cells}
    finished = {cell.name: cell.finished for cell in cells}
    for goal in goals:
        for name, seeds in goal.seeds.items():
            wanted[name] = max(wanted[name], seeds - finished[name])
    return wanted


def runs_of(goal: Goal, cells: Iterable[CellChoice]) -> list[str]:
    """Ids of the runs that a claim is still to get."""
    wanted = {cell: max(0, goal.seeds.get(cell.name, 0) - cell.finished) for cell in cells}
    return [run.run_id for cell, number in wanted.items() for run in cell.runs[:number]]


def _product(hours: float, number: float) -> float:
    return math.inf if math.inf in (hours, number) else hours * number
