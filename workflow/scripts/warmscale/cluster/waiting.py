"""Jobs that wait, to be started or for their host: since when, and what was told of it. Standard library only."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping

TELL_SEC = 300.0
"""A job that waits for so long is worth a line."""
LIFT_SEC = 4 * 3600.0
"""And for so long, is no longer kept from hosts on which its run was lost: perhaps there are too few others. Not
sooner: on a busy cluster the broken host is the one that is free."""


class Waiting:
    """What the master knows of jobs that wait; time begins anew with each master."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._told: set[str] = set()
        self._told_of: set[str] = set()
        self._not_before = 0.0

    def note(self, states: Mapping[str, str], waits: Collection[str]) -> None:
        """Take note of the states of some jobs; those in `waits` are of jobs that wait."""
        for job_id, state in states.items():
            if state in waits:
                self._since.setdefault(job_id, time.monotonic())
            else:
                self._since.pop(job_id, None)
                self._told_of.discard(job_id)

    def longer_than(self, seconds: float) -> list[str]:
        """Jobs that have waited so long, the longest first."""
        now, since_when = time.monotonic(), self._since.copy()  # of one moment: jobs are noted by two threads
        return sorted((one for one, since in since_when.items() if now - since > seconds), key=since_when.__getitem__)

    def untold(self) -> list[str]:
        """Jobs that have waited for long, each told once."""
        late = [job_id for job_id in self.longer_than(TELL_SEC) if job_id not in self._told_of]
        self._told_of.update(late)
        return late

    def to_ask_after(self) -> list[str]:
        """Jobs of which it is time to ask why they wait; none again for a while."""
        late = self.longer_than(TELL_SEC)
        if not late or time.monotonic() < self._not_before:
            return []
        self._not_before = time.monotonic() + TELL_SEC
        return late

    def news_in(self, reasons: Mapping[str, str]) -> list[str]:
        """A line for each reason of {job id: reason} that has not been told: hundreds of jobs may have the same."""
        jobs: dict[str, list[str]] = {}
        for job_id, reason in reasons.items():
            jobs.setdefault(re.sub(r"\d+", "", reason), []).append(job_id)  # numbers of hosts change all the time
        new = {kind: ids for kind, ids in jobs.items() if kind not in self._told}
        self._told |= new.keys()
        return [f"{ids[0]}{f' and {len(ids) - 1} others' * (len(ids) > 1)}: {reasons[ids[0]]}" for ids in new.values()]
