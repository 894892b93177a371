"""What the master does for a run around its batch job: remember it, find it again, settle how it ended.

Standard library only. What a job's exit code says is not asked for: the inner Snakemake's is always 1.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from .. import lease
from ..records import StateFolder, published_files, read_json, read_lines, write_json
from ..training import attempts
from ..training.policy import was_asked_to_stop
from ..training.publish import publish
from .placement import Where
from .tasks import Task, leave_task, task_left


class Settled(Enum):
    """What became of a run whose job ended without success."""

    PUBLISHED = "its files are there"
    AGAIN = "another job is to follow"
    HELD = "a copy of it is alive"


@dataclass(frozen=True)
class RunJob:
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

    def remember(self, scheduler: str, job_id: str, log: str) -> None:
        """Note the job that the run was submitted as, for the next master and for people."""
        ended_by = self._ended_by()
        job = {"scheduler": scheduler, "job_id": job_id, "log": log, "submitted": time.time(), "ended_by": ended_by}
        write_json(self.state.job, job)

    def leave_task(self) -> Path:
        """Write what the batch job is told, before it is submitted."""
        leave_task(self.state.task, self.task)
        return self.state.task

    def correct_task(self) -> None:
        """Write it anew for a job that waits since an earlier call, unless a new one would ask for another place."""
        left = task_left(self.state.task)
        if left and left.job == self.task.job:
            self.leave_task()

    def remembered(self, scheduler: str) -> Mapping[str, Any] | None:
        """The job that the run was last submitted as to this scheduler."""
        job = read_json(self.state.job)
        return job if job and job["scheduler"] == scheduler else None

    def note_end(self, job_id: str, why: str | None) -> None:
        """Add why the scheduler ended a job, where it tells: the run's parent did not live to say so."""
        if why and (job := read_json(self.state.job)):
            write_json(self.state.job, {**job, "ended_by": {**self._ended_by(), job_id: why}})

    def _ended_by(self) -> dict[str, str]:
        """{job id: the scheduler's word for its end} so far."""
        return dict((read_json(self.state.job) or {}).get("ended_by") or {})

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

    def failed_nodes(self) -> list[str]:
        """Nodes on which this run was lost since it was last given up: another one may do better."""
        lost: list[str] = []
        for attempt in read_lines(self.state.attempts):
            if attempt["state"] == "failed":
                lost = []
            elif attempt.get("failure_class") == "node" and attempt.get("node"):
                lost.append(attempt["node"])
        return list(dict.fromkeys(lost))

    def standing(self) -> str:
        """What became of the last attempt, and what follows."""
        last = (read_lines(self.state.attempts) or [{}])[-1]
        if last.get("state") == "paused":
            why = f" ({last['failure_class']})" if last["failure_class"] else ""
            return f"paused at step {last['steps_done']}{why}, goes on"
        return f"{last['failure']}; it is tried again" if last.get("failure") else "it is tried again"

    def _began(self, job_id: str) -> bool:
        """Whether the parent of the ranks left a trace in this job."""
        known = [*read_lines(self.state.attempts), read_json(self.state.attempt) or {}]
        return any(attempt.get("job_id") == job_id for attempt in known)

    def _given_up(self, job_id: str) -> bool:
        last = self._last()
        return last.get("state") == "failed" and last.get("job_id") == job_id

    def _goes_on(self, job_id: str) -> bool:
        """Whether an attempt began in this job, and there is nothing to add to what it says."""
        return self._began(job_id) and not self._given_up(job_id) and not self._stopped_for(job_id)

    def _stopped_for(self, job_id: str) -> str | None:
        """Failure class of a job that its scheduler ended while the parent believed that somebody had asked to stop."""
        last = self._last()
        if last.get("job_id") != job_id or not was_asked_to_stop(last):
            return None
        return attempts.ENDED_BY.get(self._ended_by().get(job_id))

    def _cause(self, job_id: str, why: str) -> dict[str, str]:
        """Class and reason of an attempt that the scheduler knows more of than we do."""
        if failure_class := self._stopped_for(job_id):
            told = self._ended_by()[job_id]
            return {"failure_class": failure_class, "failure": f"the scheduler ended job {job_id}: {told}"}
        return {"failure_class": "node", "failure": why}

    def _last(self) -> Mapping[str, Any]:
        return (read_lines(self.state.attempts) or [{}])[-1]
