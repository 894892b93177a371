"""Which hosts of LSF a job can have, and which one of its hosts was lost. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .ask import answer

TAKE_JOBS = ("ok", "closed_Full", "closed_Excl", "closed_Busy")
"""How the states of hosts begin that take jobs, or will once they are free."""
AWAY = ("unavail", "unreach")
"""Of those that LSF has lost."""


def hosts_of_queue(queue: str | None) -> list[str]:
    """Hosts that take jobs of a queue, of all queues where none is named; none where LSF does not tell.

    That is the most that a job can have: the job may want what not all of them have.
    """
    listed = _hosts_line(queue) if queue else ["all"]
    but = {word[1:].rstrip("/") for word in listed if word.startswith("~")}
    named = [re.sub(r"[/!]?(\+\d*)?$", "", word) for word in listed if not word.startswith("~")]
    return [host for host in hosts_in(_bhosts([] if "all" in named else named)) if host not in but]


def lost_host(hosts: Sequence[str]) -> str | None:
    """The one that a job lost of the hosts that it had; None where that cannot be told."""
    if len(hosts) < 2:
        return next(iter(hosts), None)
    away = hosts_in(_bhosts(hosts), AWAY)
    return away[0] if len(away) == 1 else None


def hosts_in(said: str, states: tuple[str, ...] = TAKE_JOBS) -> list[str]:
    """Hosts in states that begin so and have slots, from `bhosts -w`: a master may be full of none."""
    rows = (line.split() for line in said.splitlines()[1:])
    return [row[0] for row in rows if len(row) > 3 and row[1].startswith(states) and row[3] != "0"]


def _bhosts(names: Sequence[str]) -> str:
    return answer(["bhosts", "-w", *names])[1]


def _hosts_line(queue: str) -> list[str]:
    """Of `bqueues -l`: `all`, or hosts, and groups with a slash; some preferred by +2, some taken out by ~."""
    found = re.findall(r"^HOSTS: *(\S.*)$", answer(["bqueues", "-l", *queue.split()])[1], re.MULTILINE)
    return " ".join(found).split() or ["all"]
