"""What a study lacks, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..records import OUTCOMES, STATES


def states_text(states: Iterable[str]) -> str:
    """How many are in which state: "1 failed, 2 pending"."""
    counts = Counter(states)
    return ", ".join(f"{counts[state]} {state}" for state in reversed(STATES) if counts[state])


def missing_text(states: Iterable[str]) -> str:
    """What is there of runs in these states, and what is missing; nothing where all have a result."""
    states = list(states)
    missing = [state for state in states if state not in OUTCOMES]
    if not missing:
        return ""
    there = f"{len(states) - len(missing)} of {len(states)} {'run is' if len(states) == 1 else 'runs are'} there"
    return f"Partial: {there}; missing: {states_text(missing)}"
