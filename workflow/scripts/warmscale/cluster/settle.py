"""What the master does for a run around its batch job: remember it, find it again, settle how it ended.

Standard library only. What a job's exit code says is not asked for: the inner Snakemake's is always 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from .. import lease
from ..records import StateFolder, published_files, read_json, read_lines
from ..training import attempts
from ..training.policy import was_asked_to_stop
from ..training.publish import publish
from .job_notes import JobNotes
from .placement import Where
from .tasks import Task, leave_task, task_left


@dataclass(frozen=True)
class End:
    """What a scheduler tells of the end of a job."""

    reason: str | None = None
    """Its word where it ended the job itself, as TERM_MEMLIMIT."""
    hosts: tuple[str, ...] = ()
    """Where the job ran, the host of its own command first; none where it did not begin, or that is not told."""


class Settled(Enum):
    """What became of a run whose job ended without success."""

    PUBLISHED = "its files are there"
    AGAIN = "another job is to follow"
    HELD = "a copy of it is alive"


@dataclass(frozen=True)
class RunJob(JobNotes):
    """One run, or one measurement, as the master sees it: where it is, and what it would publish."""

    study: str
    state: StateFolder
    published: Path
    where: Where
    task: Task
    """What its batch job is told."""

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self.task.run_id

    @property
    def content(self) -> Mapping[str, Any]:
        """What the run is, as it is published."""
        return json.loads(self.task.content)

    def leave_task(self) -> Path:
        """Write what the batch job is told, before it is submitted."""
        leave_task(self.state.task, self.task)
        return self.state.task

    def correct_task(self) -> None:
        """Write it anew for a job that waits since an earlier call, unless a new one would ask for another place."""
        left = task_left(self.state.task)
        if left and left.job == self.task.job:
            self.leave_task()

    def is_published(self) -> bool:
        """Whether all that the rule declares is there."""
        return all((self.published / name).exists() for name in published_files(self.content))

    def settle(self, job_id: str, why: str, node: str | None = None) -> Settled:
        """Look at what a job left that did not succeed.

        A job in which nothing of ours began is recorded as an attempt, with `why` and the node that it was on; so is
        why the scheduler ended one that its parent took for a request to stop. A run with an outcome, or one that is
        given up, is published from here.
        """
        if not self.state.outcome.exists() and self._goes_on(job_id):
            return Settled.AGAIN
        try:
            held = lease.acquire(self.state.lease, {"run": self.run_id, "job_id": None})
        except lease.LeaseHeldError:
            return Settled.HELD
        with held:
            if not self.state.outcome.exists() and not self._given_up(job_id):
                about = {"job": job_id, "nodes": self.where.nodes, "node": node, **self._cause(job_id, why)}
                if attempts.record_unstarted(self.state, **about)["state"] != "failed":
                    return Settled.AGAIN
            publish(self.run_id, self.content, self.state, self.published)
        return Settled.PUBLISHED

    def refuse(self, why: str) -> Settled:
        """Give the run up, because the scheduler does not take its job, and publish that; unless a copy trains it."""
        try:
            held = lease.acquire(self.state.lease, {"run": self.run_id, "job_id": None})
        except lease.LeaseHeldError:
            return Settled.HELD
        with held:
            about = {"job": None, "node": None, "nodes": self.where.nodes, "failure_class": "config", "failure": why}
            attempts.record_unstarted(self.state, **about)
            publish(self.run_id, self.content, self.state, self.published)
        return Settled.PUBLISHED

    def is_held(self) -> bool:
        """Whether a copy of the run is alive; may take a while."""
        return lease.is_held(self.state.lease)

    def is_host_in_doubt(self, job_id: str) -> bool:
        """Whether a job may have ended because of a host of which its parent said nothing."""
        last = next((one for one in reversed(self._attempts()) if one.get("job_id") == job_id), None)
        return bool(last) and attempts.is_of_a_host(last) and not last.get("lost_host")

    def lost_hosts(self) -> list[str]:
        """Hosts on which this run was lost since it was last given up, the last one last: others may do better."""
        known, lost = self.noted("lost_hosts"), []
        for attempt in self._attempts():
            if attempt["state"] == "failed":
                lost = []
            elif attempts.is_of_a_host(attempt) and (
                host := attempt.get("lost_host") or known.get(attempt.get("job_id"))
            ):
                lost.append(host)
        return list(dict.fromkeys(reversed(lost)))[::-1]

    def _attempts(self) -> list[Mapping[str, Any]]:
        """All that ended; also one whose parent was killed in the last job, which the next attempt will record."""
        lost, last_job = attempts.unrecorded(self.state), (read_json(self.state.job) or {}).get("job_id")
        return [*read_lines(self.state.attempts), *([lost] if lost and lost.get("job_id") == last_job else [])]

    def standing(self) -> str:
        """What became of the last attempt, and what follows."""
        last = (self._attempts() or [{}])[-1]
        if last.get("state") == "paused":
            why = f" ({last['failure_class']})" if last["failure_class"] else ""
            return f"paused at step {last['steps_done']}{why}, goes on"
        return f"{last['failure']}; it is tried again" if last.get("failure") else "it is tried again"

    def began(self, job_id: str) -> bool:
        """Whether the parent of the ranks left a trace in this job."""
        known = [*read_lines(self.state.attempts), read_json(self.state.attempt) or {}]
        return any(attempt.get("job_id") == job_id for attempt in known)

    def _given_up(self, job_id: str) -> bool:
        last = self._last()
        return last.get("state") == "failed" and last.get("job_id") == job_id

    def _goes_on(self, job_id: str) -> bool:
        """Whether an attempt began in this job, and there is nothing to add to what it says."""
        return self.began(job_id) and not self._given_up(job_id) and not self._stopped_for(job_id)

    def _stopped_for(self, job_id: str) -> str | None:
        """Failure class of a job that its scheduler ended while the parent believed that somebody had asked to stop."""
        last = self._last()
        if last.get("job_id") != job_id or not was_asked_to_stop(last):
            return None
        return attempts.ENDED_BY.get(self.noted("ended_by").get(job_id))

    def _cause(self, job_id: str, why: str) -> dict[str, str]:
        """Class and reason of an attempt that the scheduler knows more of than we do."""
        if failure_class := self._stopped_for(job_id):
            told = self.noted("ended_by")[job_id]
            return {"failure_class": failure_class, "failure": f"the scheduler ended job {job_id}: {told}"}
        return {"failure_class": "node", "failure": why}

    def _last(self) -> Mapping[str, Any]:
        return (read_lines(self.state.attempts) or [{}])[-1]
