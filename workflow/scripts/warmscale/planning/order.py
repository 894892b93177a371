"""The order in which the runs of a cell are taken: a plan has a number of seeds of it, and the first ones are meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .cells import SeededCell


@dataclass(frozen=True)
class Choice:
    """Runs of which a claim needs so many, whichever they are."""

    units: tuple[tuple[str, ...], ...]
    """Ids of runs that count together: of one, or of a pair with the same seed."""
    imported: int = 0
    """Seeds beside them."""

    @property
    def seeds(self) -> int:
        """The most there can be."""
        return len(self.units) + self.imported

    @property
    def runs(self) -> frozenset[str]:
        """All of them."""
        return frozenset(run_id for unit in self.units for run_id in unit)


@dataclass(frozen=True)
class Order:
    """Runs of all cells, those that are there or required first."""

    runs: Mapping[str, tuple[str, ...]]
    """{cell: ids of all its runs}"""
    place: Mapping[str, tuple[str, int]]
    """{run_id: its cell, and its number in that, from 1}"""
    certain: frozenset[str]
    """Runs that are there, or required."""
    picked: frozenset[str]
    """Cells of which a claim needs certain runs, so that their order matters."""

    @classmethod
    def of(
        cls,
        cells: Mapping[str, SeededCell],
        there: Collection[str],
        required: Collection[str],
        choices: Iterable[Choice],
    ) -> Order:
        """Pairs begun on one side come first, then what claims choose from, then the order of the config."""
        cell_of = {run_id: name for name, cell in cells.items() for run_id in cell.runs}
        picky = [choice for choice in choices if _is_picky(choice, cells, cell_of)]
        families = _families(unit for choice in picky for unit in choice.units)
        certain = frozenset({*there, *required})

        def urgency(run_id: str) -> tuple:
            family = families.get(run_id, frozenset())
            return run_id not in there, run_id not in required, -len(family & certain), -len(family)

        runs = {name: tuple(sorted(cell.runs, key=urgency)) for name, cell in cells.items()}
        place = {run_id: (name, number) for name, own in runs.items() for number, run_id in enumerate(own, 1)}
        return cls(runs, place, certain, frozenset(cell_of[run_id] for run_id in families))

    def reach(self, choice: Choice, needed: int | None) -> dict[str, int]:
        """{cell: how many of its runs are to be there} so that so many seeds of a choice are; None: all of them."""
        wanted = len(choice.units) if needed is None else max(0, needed - choice.imported)
        lacking = max(0, wanted - len(choice.units))  # the config does not have them
        found = dict.fromkeys((self.place[run_id][0] for unit in choice.units for run_id in unit), 0)
        for unit in sorted(choice.units, key=self._cost)[:wanted]:
            for cell, number in (self.place[run_id] for run_id in unit):
                found[cell] = max(found[cell], number)
        return {cell: number + lacking for cell, number in found.items()}

    def seeds(self, choice: Choice, there: Mapping[str, int]) -> int:
        """How many seeds of a choice are complete with so many runs of each cell."""
        places = ([self.place[run_id] for run_id in unit] for unit in choice.units)
        return choice.imported + sum(all(number <= there.get(cell, 0) for cell, number in unit) for unit in places)

    def _cost(self, unit: Sequence[str]) -> tuple[int, int]:
        return sum(run_id not in self.certain for run_id in unit), sum(self.place[run_id][1] for run_id in unit)


def _is_picky(choice: Choice, cells: Mapping[str, SeededCell], cell_of: Mapping[str, str]) -> bool:
    """Whether it matters which runs of its cells are there."""
    runs = choice.runs
    all_runs = sum(len(cells[name].runs) for name in {cell_of[run_id] for run_id in runs})
    return len(runs) < all_runs or any(len(unit) > 1 for unit in choice.units)


def _families(units: Iterable[tuple[str, ...]]) -> dict[str, frozenset[str]]:
    """{run_id: all runs that are in one unit with it, or with one of those}"""
    found: dict[str, frozenset[str]] = {}
    for unit in units:
        family = frozenset(unit).union(*(found.get(run_id, frozenset()) for run_id in unit))
        found |= dict.fromkeys(family, family)
    return found
