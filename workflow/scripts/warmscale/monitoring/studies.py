"""Where all runs of a study are."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..records import OUTCOMES
from .files import heartbeat, names_in, read_all, read_object
from .manifest import NAME, read_manifest
from .runs import SILENT_SEC, UNDER_WAY, RunStatus, is_measurement, published_run, read_run

DEFAULT_CONFIG = "config/config.yaml"
"""The one that the Snakefile takes by itself."""
PROFILES = {"lsf": "lsf", "slurm": "slurm"}


@dataclass(frozen=True)
class StudyStatus:
    """A study at one moment."""

    folder: str
    """results/<study>"""
    runs: list[RunStatus]
    """In the order of the config, where that is known."""
    is_complete: bool
    """Whether runs that have no folder yet are known."""
    others: int
    """Runs that have a folder, but that the config does not name any more."""
    command: str
    """The one that trains what is missing."""
    under_way: bool = False
    """Whether a Snakemake works on it."""

    @property
    def counts(self) -> Counter[str]:
        """Runs in each state."""
        return Counter(run.state for run in self.runs)

    @property
    def fraction(self) -> float:
        """How much is trained; an epoch of any run is as much work as of any other."""
        total = sum(run.epochs or 1 for run in self.runs)
        return sum(run.fraction * (run.epochs or 1) for run in self.runs) / total if total else 0.0

    @property
    def node_hours(self) -> float:
        """Of all attempts, also those that go on or failed."""
        return sum(run.node_hours for run in self.runs)

    @property
    def eta_sec(self) -> float | None:
        """Until all but the failed runs are trained, at the rate of those that go on; None where that is unknown."""
        going = [run for run in self.runs if run.eta_sec and run.fraction < 1]
        per_sec = sum((1 - run.fraction) * (run.epochs or 1) / run.eta_sec for run in going)
        if not per_sec:
            return None
        left = sum((1 - run.fraction) * (run.epochs or 1) for run in self.runs if run.state != "failed")
        return max(left / per_sec, *(run.eta_sec for run in going), 0.0)


def read_study(
    folder: str, planned: Mapping[str, Mapping[str, Any]] | None, config: str | None, now: float
) -> StudyStatus:
    """Read all runs that a config plans; without one those of the manifest, without that those that have a folder."""
    manifest = read_manifest(folder)
    if planned is None and manifest:
        planned = manifest.runs
    elif manifest:  # which measurements there are depends on the site, which a config does not know
        planned = {**planned, **{one: of for one, of in manifest.runs.items() if is_measurement(one)}}
    states = set(names_in(f"{folder}/state"))
    published = {*names_in(f"{folder}/runs"), *names_in(f"{folder}/throughput")}
    known = states | published

    def read(run_id: str) -> RunStatus:
        plan = (planned or {}).get(run_id) or {}
        if run_id in states:
            return read_run(folder, run_id, plan, now)
        if run_id in published:
            return published_run(folder, run_id)
        return RunStatus(run_id, "pending", epochs=plan.get("epochs"), total_steps=plan.get("total_steps"))

    runs = read_all(read, sorted(known) if planned is None else list(planned))
    others = len(known.difference(planned)) if planned is not None else 0
    command = (manifest and manifest.command) or _likely_command(folder, runs, config)
    return StudyStatus(folder, runs, planned is not None, others, command, _is_under_way(folder, runs, now))


def _is_under_way(folder: str, runs: list[RunStatus], now: float) -> bool:
    """Whether a Snakemake works on a study: by the heartbeat of its lease, without one by what its runs do."""
    if not os.path.isdir(f"{folder}/master"):
        return any(run.state in UNDER_WAY for run in runs)
    beat = heartbeat(f"{folder}/master")
    return beat is not None and now - beat < SILENT_SEC


def study_folders(results: str) -> list[str]:
    """Folders under `results` that a study has written to."""
    folders = [f"{results}/{name}" for name in sorted(names_in(results))]
    marks = ("state", "runs", "throughput", NAME)
    return [folder for folder in folders if any(os.path.exists(f"{folder}/{mark}") for mark in marks)]


def command_for_study(folder: str, runs: list[RunStatus]) -> str:
    """The command that trains what is missing of a study, of which these are some runs."""
    manifest = read_manifest(folder)
    return (manifest and manifest.command) or _likely_command(folder, runs, None)


def _likely_command(folder: str, runs: list[RunStatus], config: str | None) -> str:
    """What was probably typed, where the workflow left no word of it: by the scheduler of the first job there was."""
    started = next((run.run_id for run in runs if run.job_id or run.state not in ("pending", *OUTCOMES)), "")
    scheduler = read_object(f"{folder}/state/{started}/job.json").get("scheduler") if started else None
    command = f"snakemake --profile {PROFILES.get(str(scheduler), 'profiles/local')}"
    if config is None:
        name = os.path.basename(folder)
        config = next((path for path in (f"config/{name}.yaml", f"config/{name}.yml") if os.path.exists(path)), None)
    return command if config in (None, DEFAULT_CONFIG) else f"{command} --configfile {shlex.quote(config)}"
