"""When each run would start and end: list scheduling by priority (Graham 1969), under the limits of nodes and of jobs.

A run is a chain of jobs, each beginning when nodes and a place among the jobs are free after the one before. A job that
does not fit lets smaller ones go first, as schedulers do that fill gaps. Waiting for other people's jobs is not in it.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .choices import Limits


@dataclass(frozen=True)
class Work:
    """A run that is to be placed in time."""

    run_id: str
    nodes: int
    wall_hours: float
    """Of all its jobs."""
    jobs: int = 1


@dataclass(frozen=True)
class Span:
    """When a run is carried out, in hours from the start of the study."""

    start_hour: float
    end_hour: float


def pack(works: Sequence[Work], limits: Limits) -> dict[str, Span]:
    """{run_id: when} of runs in the order of their priority; none may have more nodes than the limits."""
    free = _Free(limits.concurrent_nodes, limits.jobs)
    waiting, left = list(range(len(works))), [work.jobs for work in works]
    starts: dict[int, float] = {}
    spans: dict[str, Span] = {}
    running: list[tuple[float, int]] = []
    now = 0.0
    while waiting or running:
        begun, waiting = _begin(waiting, works, free)
        for number in begun:
            starts.setdefault(number, now)
            heapq.heappush(running, (now + works[number].wall_hours / works[number].jobs, number))
        now = running[0][0]
        while running and running[0][0] <= now:
            _, number = heapq.heappop(running)
            free.give_back(works[number])
            left[number] -= 1
            if left[number]:
                bisect.insort(waiting, number)
            else:
                spans[works[number].run_id] = Span(starts[number], now)
    return spans


@dataclass
class _Free:
    """What nobody uses at the moment."""

    nodes: float
    jobs: float

    def take(self, work: Work) -> bool:
        """Whether a job could begin; if so it has."""
        if work.nodes > self.nodes or self.jobs < 1:
            return False
        self.nodes, self.jobs = self.nodes - work.nodes, self.jobs - 1
        return True

    def give_back(self, work: Work) -> None:
        """A job has ended."""
        self.nodes, self.jobs = self.nodes + work.nodes, self.jobs + 1


def _begin(waiting: Sequence[int], works: Sequence[Work], free: _Free) -> tuple[list[int], list[int]]:
    """The runs whose next job begins now, and those that go on waiting."""
    begun, kept = [], []
    for place, number in enumerate(waiting):
        if free.jobs < 1 or free.nodes < 1:
            return begun, [*kept, *waiting[place:]]
        (begun if free.take(works[number]) else kept).append(number)
    return begun, kept


def makespan(spans: Mapping[str, Span]) -> float:
    """Hours until the last run has ended."""
    return max((span.end_hour for span in spans.values()), default=0.0)
