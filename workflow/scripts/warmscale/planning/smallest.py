"""Why what is required does not fit, and the smallest budget found with which it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..study.planning import Budget
from .budget import TakenOff
from .choices import CellChoice, Chosen, Limits
from .fitting import fit
from .packing import Work
from .program import solve
from .solver import InfeasibleError

DIGITS = 1
"""Of hours that are told: rounded up."""
UNITS = {"node_hours": 10.0**-DIGITS, "deadline_hours": 10.0**-DIGITS, "concurrent_nodes": 1}
"""{field of a budget, as of Limits: what its values are told in}"""
NOTHING = TakenOff()
FIT_SEC = 5.0
"""Of each value that is tried."""


@dataclass(frozen=True)
class _Required:
    """What has to fit."""

    cells: Sequence[CellChoice]
    works: Callable[[Chosen], list[Work]]
    """What is packed of a solution."""
    taken_off: TakenOff
    """Of the node-hours of the budget: the limits do not have it."""

    def needs(self, limits: Limits) -> dict[str, float]:
        """What of each limit the best order found takes; empty where none keeps the deadline."""
        try:
            found = fit(self.cells, [], limits, self.works, FIT_SEC)
        except InfeasibleError:
            return {}
        if not limits.keeps(found.hours):
            return {}
        nodes = sum(option.nodes for option in found.chosen.taken.values())  # with so many nobody waits for any
        return {"node_hours": found.chosen.node_hours, "deadline_hours": found.hours, "concurrent_nodes": nodes}

    def at(self, name: str, units: int, limits: Limits) -> Limits:
        """These limits with another value of one of them, as it would stand in the config."""
        value = units * UNITS[name]
        return replace(limits, **{name: value - self._gone(name)})

    def units(self, name: str, value: float) -> int:
        """A value as it would stand in the config, rounded up."""
        return math.ceil(round((value + self._gone(name)) / UNITS[name], 6))

    def _gone(self, name: str) -> float:
        return self.taken_off.node_hours if name == "node_hours" else 0.0

    def is_impossible(self, limits: Limits) -> bool:
        """Whether not even the program, which knows nothing of orders, has a solution."""
        try:
            solve(self.cells, [], limits, FIT_SEC)
        except InfeasibleError:
            return True
        return False


def why_infeasible(
    cells: Sequence[CellChoice],
    limits: Limits,
    works: Callable[[Chosen], list[Work]],
    budget: Budget | None = None,
    taken_off: TakenOff = NOTHING,
) -> list[str]:
    """A line for each limit that is too small by itself, with the smallest value found that works as the others are.

    Where no single one is to blame: values that work together. works: what is packed of a solution; budget: as it was
    given, if the limits are not all of it; taken_off: what of it the limits do not have.
    """
    required = _Required([replace(cell, runs=cell.runs[: cell.required]) for cell in cells], works, taken_off)
    number = sum(len(cell.runs) for cell in required.cells)
    what = f"the {number} required runs" if number > 1 else "the required run"
    lines = []
    for name in UNITS:
        needs = required.needs(replace(limits, **{name: math.inf})) if math.isfinite(getattr(limits, name)) else {}
        if needs:
            given = getattr(budget, name, None) or getattr(limits, name)
            told = f"budget.{name}: {given:g} is too small for {what}"
            told += taken_off.why if name == "node_hours" else ""
            lines.append(f"{told}; as the rest is, {_smallest(name, needs[name], limits, required)}")
    return lines or [_together(required, limits, what)]


def _smallest(name: str, enough: float, limits: Limits, required: _Required) -> str:
    """The smallest value found of a limit with which all fits, others as they are, and whether it surely is that."""
    low, high = required.units(name, getattr(limits, name)), required.units(name, enough)
    while not required.needs(required.at(name, high, limits)):  # another limit leads to another order
        high += max(1, high // 50)
    while high - low > 1:
        middle = (low + high) // 2
        if required.needs(required.at(name, middle, limits)):
            high = middle
        else:
            low = middle
    is_smallest = required.is_impossible(required.at(name, high - 1, limits))
    return f"{high * UNITS[name]:g} would do{'' if is_smallest else ', the smallest found'}"


def _together(required: _Required, limits: Limits, what: str) -> str:
    """Limits that work together where none alone is too small: the cheapest places, then the nodes, then the time."""
    cheapest = solve(required.cells, [], Limits(jobs=limits.jobs))
    nodes = max(limits.concurrent_nodes, *(option.nodes for option in cheapest.taken.values()))
    needed = required.needs(Limits(concurrent_nodes=nodes, jobs=limits.jobs)) | {"concurrent_nodes": nodes}
    short = {name: required.units(name, needed[name]) for name in UNITS if needed[name] > getattr(limits, name)}
    asked = ", ".join(f"{name}: {units * UNITS[name]:g}" for name, units in short.items())
    return f"budget: {what} would fit with no single key larger; together these would do: {asked}"
