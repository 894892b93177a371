"""What a run's state folder says of its batch jobs. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..records import StateFolder, read_json, write_json


class JobNotes:
    """Notes of the master for the next one, for the job that goes on, and for people."""

    state: StateFolder

    def begin_submission(self, scheduler: str, log: str, avoid: Sequence[str]) -> None:
        """Note that a job is about to be submitted: a master may not live to hear of its id."""
        write_json(self._submission, {"scheduler": scheduler, "log": log, "avoid": list(avoid)})

    def end_submission(self) -> None:
        """There is no such job, or it is remembered."""
        self._submission.unlink(missing_ok=True)

    def begun_submission(self, scheduler: str) -> Mapping[str, Any] | None:
        """A submission to this scheduler whose end nobody noted."""
        begun = read_json(self._submission)
        return begun if begun and begun["scheduler"] == scheduler else None

    @property
    def _submission(self) -> Path:
        return self.state.path / "submission.json"

    def remember(self, scheduler: str, job_id: str, log: str, avoid: Sequence[str] = ()) -> None:
        """Note the job that the run was submitted as, for the next master and for people."""
        about_ended = {name: self.noted(name) for name in ("ended_by", "lost_hosts")}
        job = {"scheduler": scheduler, "job_id": job_id, "log": log, "submitted": time.time(), "avoid": list(avoid)}
        write_json(self.state.job, job | about_ended)
        self.end_submission()

    def remembered(self, scheduler: str) -> Mapping[str, Any] | None:
        """The job that the run was last submitted as to this scheduler."""
        job = read_json(self.state.job)
        return job if job and job["scheduler"] == scheduler else None

    def note_end(self, job_id: str, why: str | None, lost_host: str | None = None) -> None:
        """Add why the scheduler ended a job, and the host that it lost, where it tells: the run's parent cannot."""
        job = read_json(self.state.job)
        new = {name: told for name, told in (("ended_by", why), ("lost_hosts", lost_host)) if told}
        if job and new:
            write_json(self.state.job, job | {name: {**self.noted(name), job_id: new[name]} for name in new})

    def noted(self, what: str) -> dict[str, str]:
        """{job id: what was noted of its end}: `ended_by` or `lost_hosts`."""
        return dict((read_json(self.state.job) or {}).get(what) or {})
