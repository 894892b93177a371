"""What the master does for a run around its batch job: remember it, find it again, settle how it ended.

Standard library only. What a job's exit code says is not asked for: the inner Snakemake's is always 1.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import lease
from ..records import StateFolder, read_json, read_lines, write_json
from ..training import attempts
from ..training.publish import publish
from .placement import Where


@dataclass(frozen=True)
class RunJob:
    """One run as the master sees it: where it is, and what it would publish."""

    study: str
    run_id: str
    content: Mapping[str, Any]
    state: StateFolder
    published: Path
    where: Where

    def remember(self, scheduler: str, job_id: str, log: str) -> None:
        """Note the job that the run was submitted as, for the next master and for people."""
        write_json(self.state.job, {"scheduler": scheduler, "job_id": job_id, "log": log, "submitted": time.time()})

    def remembered(self, scheduler: str) -> Mapping[str, Any] | None:
        """The job that the run was last submitted as to this scheduler."""
        job = read_json(self.state.job)
        return job if job and job["scheduler"] == scheduler else None

    def note_end(self, why: str | None) -> None:
        """Add why the scheduler ended the job, where it tells: the run's parent did not live to say so."""
        if why and (job := read_json(self.state.job)):
            write_json(self.state.job, {**job, "ended_by": why})

    def is_published(self) -> bool:
        """Whether all that the rule declares is there."""
        return all((self.published / name).exists() for name in ("run.json", "epochs.csv", "steps.csv"))

    def settle(self, job_id: str | None, why: str) -> bool:
        """Look at what a job left that did not succeed; whether the run has its published files now.

        A job in which nothing of ours began is recorded as an attempt, with `why`; a run with an outcome, or one that
        is given up, is published from here.
        """
        if not self.state.outcome.exists() and self._began(job_id):
            return False
        try:
            held = lease.acquire(self.state.lease, {"run": self.run_id, "job_id": None})
        except lease.LeaseHeldError:
            return False
        with held:
            if not self.state.outcome.exists():
                record = attempts.record_unstarted(
                    self.state, job=job_id, nodes=self.where.nodes, failure_class="node", failure=why
                )
                if record["state"] != "failed":
                    return False
            publish(self.run_id, self.content, self.state, self.published)
        return True

    def refuse(self, why: str) -> None:
        """Give the run up, because the scheduler does not take its job, and publish that."""
        with lease.acquire(self.state.lease, {"run": self.run_id, "job_id": None}):
            attempts.record_unstarted(self.state, job=None, nodes=self.where.nodes, failure_class="config", failure=why)
            publish(self.run_id, self.content, self.state, self.published)

    def failed_nodes(self) -> list[str]:
        """Nodes on which this run was lost since it was last given up: another one may do better."""
        lost: list[str] = []
        for attempt in read_lines(self.state.attempts):
            if attempt["state"] == "failed":
                lost = []
            elif attempt["failure_class"] == "node" and attempt.get("node"):
                lost.append(attempt["node"])
        return list(dict.fromkeys(lost))

    def standing(self) -> str:
        """What became of the last attempt, and what follows."""
        last = (read_lines(self.state.attempts) or [{}])[-1]
        if last.get("state") == "paused":
            why = f" ({last['failure_class']})" if last["failure_class"] else ""
            return f"paused at step {last['steps_done']}{why}, goes on"
        return f"{last['failure']}; it is tried again" if last.get("failure") else "it is tried again"

    def _began(self, job_id: str | None) -> bool:
        """Whether the parent of the ranks left a trace in this job."""
        known = [*read_lines(self.state.attempts), read_json(self.state.attempt) or {}]
        return any(attempt.get("job_id") == job_id for attempt in known)
