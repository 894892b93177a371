"""Nodes and ranks that carry out the workers of a run. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache


class PlacementError(ValueError):
    """A number of nodes on which a run cannot be carried out, said in one line."""


@dataclass(frozen=True)
class Where:
    """Where the ranks of a run are."""

    nodes: int
    ranks_per_node: int
    """The same on every node."""

    @property
    def ranks(self) -> int:
        """Processes, each with one device."""
        return self.nodes * self.ranks_per_node


def place(workers: int, *, ranks_per_node: int, max_nodes: int = 1, nodes: int | Sequence[int] | None = None) -> Where:
    """Choose where the workers of a run are carried out, so that each rank has equally many.

    Without `nodes`: the most ranks on up to max_nodes nodes of up to ranks_per_node ranks; of ways to have as many, the
    one with the fewest nodes. With `nodes`, one allowed count or several, whatever max_nodes is: the largest of them
    whose nodes, all full, divide the workers. One node need not be full: it takes the most ranks that divide. Raises
    PlacementError where no allowed count does.
    """
    if nodes is None:
        counts = [count for count in _divisors(workers) if count <= max_nodes]
        ways = [Where(count, _most_ranks(workers // count, ranks_per_node)) for count in counts]
        return max(ways, key=lambda where: (where.ranks, -where.nodes))
    allowed = [nodes] if isinstance(nodes, int) else sorted(nodes)
    fitting = [count for count in allowed if _fits(workers, count, ranks_per_node)]
    if not fitting:
        raise PlacementError(_refusal(workers, allowed, ranks_per_node))
    return Where(fitting[-1], _most_ranks(workers // fitting[-1], ranks_per_node))


@cache
def _divisors(number: int) -> tuple[int, ...]:
    """Divisors of a number, in order."""
    small = [divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0]
    return tuple(sorted({*small, *(number // divisor for divisor in small)}))


def _most_ranks(workers_of_node: int, ranks_per_node: int) -> int:
    return max(ranks for ranks in _divisors(workers_of_node) if ranks <= ranks_per_node)


def _fits(workers: int, nodes: int, ranks_per_node: int) -> bool:
    return nodes == 1 or workers % (nodes * ranks_per_node) == 0


def _refusal(workers: int, allowed: Sequence[int], ranks_per_node: int) -> str:
    """What does not divide, and the next counts below and above that do."""
    largest = allowed[-1]
    counts = [count for count in _divisors(workers) if _fits(workers, count, ranks_per_node)]
    close = [count for count in counts if count < largest][-1:] + [count for count in counts if count > largest][:1]
    which = "the next counts that do: " if close[1:] else "the next count that does: "
    ways_out = which + " and ".join(map(str, close))
    if workers % largest == 0:
        ways_out += f", or placement.ranks_per_node: {_most_ranks(workers // largest, ranks_per_node)}"
    tried = " or ".join(map(str, allowed))
    ranks = "1 rank" if ranks_per_node == 1 else f"{ranks_per_node} ranks"
    return f"placement.nodes: {tried} nodes of {ranks} do not divide {workers} workers equally; {ways_out}"
