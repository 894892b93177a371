"""The jobs in which Snakemake runs, each of which submits the next: what they share, and which one it is now."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..records import StateFolder, read_json, write_json
from . import batch
from .site import Site

JOB_PROGRAM = "warmscale.cluster.resubmission"
"""What such a job runs."""


@dataclass(frozen=True)
class Chain:
    """What the jobs have in common of which each submits the next."""

    site: Site
    site_file: Path
    results: Path
    """results/<study>"""
    words: Sequence[str]
    """Snakemake's own."""

    @property
    def record(self) -> Path:
        """Which job it is now, for people and for a second `warmscale submit`."""
        return self.results / "master.json"

    @property
    def log(self) -> Path:
        """Of all of its jobs, and of Snakemake in them."""
        return self.results / "logs/master.log"

    @property
    def typed(self) -> str:
        """The command that starts it."""
        return shlex.join(["warmscale", "submit", *self.words])

    @property
    def snakemake(self) -> list[str]:
        """What the jobs are for."""
        return [sys.executable, "-m", "warmscale.cluster.master_process", *self.words]

    def job(self, after: str | None = None) -> batch.SmallJob:
        """The next one; to begin when another has ended."""
        where = [str(self.site_file), str(self.results), str(self.site.master_walltime_min)]
        command = [sys.executable, "-m", JOB_PROGRAM, *where, *self.words]
        log = self.log.absolute()
        return batch.SmallJob(f"{self.results.name}:master", log, Path.cwd(), shlex.join(command), after)

    def submit(self, after: str | None = None) -> str:
        """Submit the next job, note it, and return its id; raises SchedulerError."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        new = batch.submit(self.site, self.job(after))
        facts = {"scheduler": self.site.scheduler, "job_id": new, "submitted": time.time()}
        write_json(self.record, {**facts, "log": str(self.log), "words": list(self.words)})
        return new

    def living(self) -> str | None:
        """The job that is noted, if it has not ended; raises SchedulerError where that cannot be known."""
        known = read_json(self.record)
        if not known or known["scheduler"] != self.site.scheduler:
            return None
        return next(iter(batch.living(known["scheduler"], [known["job_id"]])), None)

    def unfinished_jobs(self) -> list[str]:
        """Ids of jobs that runs without an outcome were last submitted as."""
        states = map(StateFolder, (self.results / "state").glob("*"))
        known = [read_json(state.job) for state in states if not state.outcome.exists()]
        return [job["job_id"] for job in known if job and job["scheduler"] == self.site.scheduler]
