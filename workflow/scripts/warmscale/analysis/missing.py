"""What a study lacks, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pandas as pd

from ..records import OUTCOMES, STATES
from ..study import Study


def states_text(states: Iterable[str]) -> str:
    """How many are in which state: "1 failed, 2 pending"."""
    counts = Counter(states)
    return ", ".join(f"{counts[state]} {state}" for state in reversed(STATES) if counts[state])


def awaited_states(runs: pd.DataFrame, study: Study) -> pd.Series:
    """States of the runs in a table but for those that a plan leaves out: nobody waits for these."""
    return runs.loc[~runs["run_id"].isin(study.left_out), "state"]


def awaited_measurements(throughput: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Rows of measurements but for those that the site has no place for."""
    return throughput[~throughput["measurement_id"].isin(study.not_here)]


def missing_text(states: Iterable[str], noun: str = "run") -> str:
    """What is there of runs in these states, and what is missing; nothing where all have a result."""
    states = list(states)
    missing = [state for state in states if state not in OUTCOMES]
    if not missing:
        return ""
    there = f"{len(states) - len(missing)} of {len(states)} {noun}{' is' if len(states) == 1 else 's are'} there"
    return f"Partial: {there}; missing: {states_text(missing)}"
