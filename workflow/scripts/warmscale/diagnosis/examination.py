"""All checks of `warmscale doctor`, in their order: each adds lines, none ends the others."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cluster.site import Site, SiteError
from ..commands.explain import find_run_id
from ..records import write_json
from . import places, quota, schedulers, software, storage
from .dataset import Look, dataset
from .findings import Findings, Lines, fail, ok, size, warn
from .trial import Trial

if TYPE_CHECKING:
    from ..study import Study

WEIGHTS_BYTES = 100 * 2**20
"""About those of a ResNet-50."""


def examine(arguments: argparse.Namespace, findings: Findings) -> None:
    """Check everything that the command line asks for."""
    try:
        file = places.find_site(arguments.profile, arguments.site)
        site, lines = places.read_site(file)
    except SiteError as error:
        site, lines = None, error.lines
    for line in lines:
        findings.add(fail("site", line))
    if site is None:  # all else depends on it
        return
    findings.check("site", places.site_lines, site, file)
    findings.check("profile", places.profile_lines, file, site)
    can_submit = findings.check("scheduler", schedulers.scheduler, site)
    findings.check("launcher", schedulers.launcher, site)
    findings.check("python", software.software, site)
    found: list[Study] = []
    findings.check("study", places.study_lines, arguments.configfile, site, found)
    for study in found:
        Doctor(arguments, findings, site, file, study).examine(can_submit or arguments.here)


@dataclasses.dataclass
class Doctor:
    """Examines what is there once site and study are known."""

    arguments: argparse.Namespace
    findings: Findings
    site: Site
    site_file: Path | None
    study: Study
    need: storage.Need | None = None
    """What the study takes up, once that is known."""
    quotas: list[quota.Quota] = dataclasses.field(default_factory=list)
    """What this host tells of them."""

    def examine(self, can_start: bool) -> None:
        """Folders, data, and the job; then the report."""
        chosen = self.arguments.run and self.study.runs[find_run_id(self.arguments.run, self.study)]
        can_write = self._results()
        look = Look()
        has_data = self._reads_data and self._data(look)
        facts: dict[str, Any] = {}
        if self.arguments.no_job:
            pass
        elif not self.study.runs:
            self.findings.add(warn("job", "not started: the study has measurements only, and no run to try"))
        elif not (can_start and can_write):
            self.findings.add(warn("job", "not started: what is wrong above is in its way"))
        else:
            here = self.arguments.here or self.site.scheduler == "local"
            patience = {"wait_min": self.arguments.wait, "patience_sec": self.arguments.patience}
            trial = Trial(self.findings, self.site, self.study, self.results, here, **patience)
            facts = trial.carry_out(chosen or None, self.arguments.nodes, look if has_data else None)
            self.findings.check("quota on nodes", self._quotas_of_job, facts)
        if can_write:
            self._report(facts)

    @property
    def results(self) -> Path:
        """Folder of the study."""
        return Path(self.site.results, self.study.name)

    @property
    def folder(self) -> Path:
        """Folder of all checks of the study."""
        return self.results / "doctor"

    def _results(self) -> bool:
        if not self.findings.check("results folder", storage.writable, self.folder):
            return False
        self.findings.check("file system", storage.shared, self.folder, self.site.scheduler != "local")
        if self.study.runs:  # measurements keep nothing
            self.findings.check("space", self._room)
        return True

    def _room(self) -> Lines:
        try:
            weights = self._weights_bytes()
        except Exception as error:  # an import that fails, a model that is not there
            reason = f"{type(error).__name__}: {error}"
            yield warn("space", f"the size of the model is not known here, {size(WEIGHTS_BYTES)} are assumed: {reason}")
            weights = WEIGHTS_BYTES
        self.need = need = self._need(places.jobs_at_a_time(self.site_file, self.site), weights)
        yield from storage.room(self.folder, need)
        self.quotas = quota.quotas_on(self.folder)
        yield from quota.quota_lines(self.quotas, need)

    def _quotas_of_job(self, facts: Mapping[str, Any]) -> Lines:
        """Of file systems whose quotas only nodes tell."""
        told = [quota.Quota(**row) for row in (facts.get("first_host") or {"quotas": []})["quotas"]]
        here = {known.where for known in self.quotas}
        new = [each for each in told if each.where not in here]
        if new and self.need:
            yield from quota.quota_lines(new, self.need, "quota on nodes")

    def _weights_bytes(self) -> int:
        models = {run.recipe.model for run in self.study.runs.values()}
        return max(software.trained_bytes(model, self.study.config.dataset.num_classes) for model in models)

    def _need(self, at_a_time: int, weights: int) -> storage.Need:
        runs = list(self.study.runs.values())
        return storage.need_of(
            runs=len(runs),
            at_a_time=at_a_time,
            ranks=max(self.study.where(run).ranks for run in runs),
            # weights and up to two things that the optimizer remembers of each; fp64 has twice as much
            checkpoint_bytes=3 * weights * (2 if any(run.recipe.precision == "fp64" for run in runs) else 1),
            keep_weights=self.study.config.placement.keep_weights,
        )

    @property
    def _reads_data(self) -> bool:
        return bool(self.study.runs) or any(each.reads_data for each in self.study.measurements.values())

    def _data(self, look: Look) -> bool:
        config = self.study.config.dataset
        if config.name == "digits" and not Path(config.root).exists():
            self.findings.add(ok("data set", f"{config.root} is not there yet: the workflow writes it"))
            return True
        return self.findings.check("data set", dataset, config, look, full=self.arguments.full)

    def _report(self, facts: dict[str, Any]) -> None:
        lines = [dataclasses.asdict(line) for line in self.findings.lines]
        site = str(self.site_file) if self.site_file else None
        report = {"time": time.time(), "study": self.study.name, "site": site, "lines": lines, **facts}
        write_json(self.folder / "report.json", report)
