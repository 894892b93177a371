"""One live Snakemake a study: a second one is refused, a dead one is no obstacle. Standard library only.

Snakemake's own lock is a file without a host or a process: after a crash it stays, and asks for --unlock. The profiles
turn it off (`nolock`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .. import lease
from .walltime import job_id


class Master:
    """The Snakemake process that works on a study, once it begins to."""

    def __init__(self, results: Path):
        self._results = results
        self._lease: lease.Lease | None = None

    def begin(self) -> None:
        """Take the study for this process, as long as it lives; exits with one line where another master lives."""
        try:
            self._lease = lease.acquire(self._results / "master", {"job_id": job_id(os.environ)})
        except lease.LeaseHeldError as error:
            sys.exit(f"{self._results}: another Snakemake works on this study, {error}; wait for it, or end it")
        except OSError as error:
            why = f"cannot be written: {error.strerror or error}"
            sys.exit(f"{self._results}: {why}; make it writable, or name another folder: `results` in site.yaml")

    def is_current(self) -> bool:
        """Whether no other one has taken over: a process that was suspended for long may find that."""
        return self._lease is None or lease.is_current(self._lease.path)

    def end(self) -> None:
        """Let the next one begin at once."""
        if self._lease:
            self._lease.release()
