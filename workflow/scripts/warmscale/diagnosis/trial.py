"""The part of the check that starts something: ranks in one job, or here, and some steps of one run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cluster.placement import PlacementError
from ..cluster.site import Site, SiteError
from ..records import read_json, write_atomic, write_json
from . import first_host, job, meeting, places, steps
from .dataset import Look, look_at
from .findings import Findings, fail, ok, warn
from .on_nodes import CheckFolder

if TYPE_CHECKING:
    from ..study import Run, Study

STEPS = 20
STEPS_SEC = 300.0
"""For these steps; on few nodes the mini-batch of many takes its time."""
TRAIN_SEC = 600.0
"""After which ranks that train are killed."""
DIGITS = Path(__file__).resolve().parents[2] / "write_digits.py"


@dataclass
class Trial:
    """One run of a study on one number of nodes, tried out in a folder of its own."""

    findings: Findings
    site: Site
    study: Study
    results: Path
    """Folder of the study."""
    here: bool
    """Nothing is submitted."""
    wait_min: float
    """For the job to end."""
    patience_sec: float
    """For ranks to begin and to meet; then they are killed."""

    def carry_out(self, run: Run | None, nodes: int | None, look: Look | None) -> dict[str, Any]:
        """Add lines, and return what else was found; without a look at the data no steps are tried."""
        asked = self.here and self.site.scheduler != "local"
        try:
            tried = places.what_to_try(self.study, self.site, run=run, nodes=nodes, here=asked)
        except (PlacementError, SiteError) as error:
            self.findings.add(fail("try", str(error)))
            return {}
        self.findings.check("try", places.try_lines, tried, self.site, self.here)
        folder = self._prepare(tried, look)
        if look is None:
            self.findings.add(warn("training", "no steps are tried: see the data set above"))
        try:
            waited = self._start(tried, folder)
        except job.NoJobError as error:
            self.findings.add(fail("job", str(error)))
        else:
            how = f"job {waited.job_id} waited {waited.pending_sec:.0f} s" if waited.job_id else "started here"
            self.findings.add(ok("job", f"{how} and ended; its files are in {folder.path}"))
        return self._read(tried, folder)

    def _start(self, tried: places.Try, folder: CheckFolder) -> job.Waited:
        if self.here:
            return job.run_here(folder, self.patience_sec + TRAIN_SEC + 60)
        words = job.submission(self.site, tried.where, folder, self.study.name, self._minutes(tried))
        return job.run_in_job(self.site, words, folder, self.wait_min)

    def _minutes(self, tried: places.Try) -> int:
        return min(job.MINUTES, self.site.walltime_min(tried.where.nodes) or job.MINUTES)

    def _prepare(self, tried: places.Try, look: Look | None) -> CheckFolder:
        """Make a folder of its own for this check; those of earlier ones that are over are deleted."""
        for old in (self.results / "doctor").glob("check-*"):
            if (old / "done.json").exists():
                shutil.rmtree(old, ignore_errors=True)
        folder = CheckFolder((self.results / "doctor" / time.strftime("check-%Y%m%d-%H%M%S")).absolute())
        index, root = self._index(folder, look) if look else (None, None)
        write_json(folder.state("train").content, tried.run.content)
        check = {
            "plan": tried.plan.to_json(),
            "run_id": tried.run.run_id,
            "settings": places.settings_of(self.study),
            "index": index and str(index),
            "root": root and str(root),
            "scheduler": self.site.scheduler,
            "walltime_min": 0 if self.here else self._minutes(tried),
            "steps": STEPS,
            "steps_sec": STEPS_SEC,
            "meet_sec": self.patience_sec,
            "train_sec": TRAIN_SEC,
        }
        write_json(folder.check, check)
        return folder

    def _index(self, folder: CheckFolder, look: Look) -> tuple[Path, Path]:
        """(index, root) for the steps: the study's own, or one made from what was seen of the tree."""
        config = self.study.config.dataset
        index, root = self.results / "data" / f"{config.name}-{config.fingerprint}.tsv", Path(config.root)
        if config.name == "digits" and not root.exists():
            root = folder.path / "digits"
            subprocess.run([sys.executable, str(DIGITS), "--root", str(root)], check=True, timeout=120)
            look_at(root, look, None)
        elif index.exists():
            return index.resolve(), root.resolve()
        index = folder.path / "index.tsv"
        write_atomic(index, look.index(config.declared_sizes))
        return index, root.resolve()

    def _read(self, tried: places.Try, folder: CheckFolder) -> dict[str, Any]:
        met, first = meeting.Met(folder, tried.plan), read_json(folder.first_host)
        if first:
            self.findings.check("first host", first_host.first_host_lines, first, self.site.scheduler)
        if folder.parent.exists():
            self.findings.check("ranks", meeting.meeting_lines, met)
            real = self.study.where(tried.run)
            self.findings.check("training", steps.step_lines, folder, tried.run, STEPS, tried.where, self.site, real)
        trained = [read_json(path) for path in sorted((folder.path / "steps").glob("*.json"))]
        return {"run_id": tried.run.run_id, "first_host": first, "ranks": met.ranks, "steps": trained}
