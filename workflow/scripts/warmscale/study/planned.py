"""A plan as `snakemake plan` left it: which runs are carried out, where, how long, in which order.

It is read as it is, at every start of Snakemake, and never made again by that.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cluster.placement import Where
from ..monitoring.manifest import read_manifest
from ..records import OUTCOMES, read_json
from .errors import StudyError

if TYPE_CHECKING:
    from .study import Study

PLAN = "plan/plan.csv"
FACTS = "plan/plan.json"
TO_DO = ("planned", "required")
CARRIED_OUT = ("finished", *TO_DO)
"""Decisions on runs that are carried out, or have been."""
DECISIONS = (*CARRIED_OUT, "left_out")
COLUMNS = {"run_id", "decision", "nodes", "ranks_per_node", "walltime_min", "priority"}
"""Of plan.csv, those that are read here."""
ANALYSED = ("hardware", "model")
"""Of `planning`, what tables and figures of scaling are predicted from."""


class PlanFileError(StudyError):
    """A plan that cannot be read, said in one line."""


@dataclass(frozen=True)
class StudyPlan:
    """A plan, as it stands in its files."""

    decisions: Mapping[str, str]
    """{run_id: finished, planned, required or left_out}, of the study as it was planned."""
    jobs: Mapping[str, tuple[Where, int | None]]
    """{run_id: where, and the minutes that each of its jobs asks for} of planned and required runs; None: what the
    site has."""
    priorities: Mapping[str, int]
    """{run_id: the larger, the sooner} of all runs."""
    fingerprint: str
    """Of what it was made from."""

    def kept(self, run_ids: Iterable[str], results: Path) -> list[str]:
        """Those of these runs that are carried out, in their order: the plan says so, or they have been already."""
        published = set(os.listdir(results / "runs")) if (results / "runs").is_dir() else set()
        return [
            run_id
            for run_id in run_ids
            if self.decisions.get(run_id) in CARRIED_OUT or (run_id in published and _is_done(results, run_id))
        ]


def read_plan(results: Path) -> StudyPlan | None:
    """The plan of results/<study>, None where there is none; raises PlanFileError where it is not one as written."""
    path = results / PLAN
    if not path.exists():
        return None
    try:
        facts, text = _facts(results / FACTS), path.read_bytes()
        if facts.get("digest") != digest(text):
            raise _DamagedError(f"{Path(FACTS).name} beside it is of another text")
        rows = csv.DictReader(io.StringIO(text.decode(), newline=""))
        if lacking := COLUMNS.difference(rows.fieldnames or ()):
            raise _DamagedError(f"it has no column {', '.join(sorted(lacking))}")
        planned = {row["run_id"]: _planned(row) for row in rows}
    except _DamagedError as error:
        hint = "make it again by `snakemake plan`, or delete it: all runs are carried out then"
        raise PlanFileError([f"{path}: is not the plan that was written there: {error}; {hint}"]) from None
    return StudyPlan(
        decisions={run_id: decision for run_id, (decision, _, _) in planned.items()},
        jobs={run_id: job for run_id, (_, job, _) in planned.items() if job},
        priorities={run_id: priority for run_id, (_, _, priority) in planned.items()},
        fingerprint=facts.get("fingerprint", ""),
    )


def digest(text: bytes) -> str:
    """Of plan.csv, for plan.json: of a file that was cut short, changed, or left by an earlier plan it is another."""
    return hashlib.sha256(text).hexdigest()


def with_plan(study: Study, results: Path) -> Study:
    """The study, knowing which of its runs the plan under results/<study> leaves out, if there is one.

    And which of its measurements the last call that carried it out had no place for.
    """
    study = replace(study, not_here=_not_here(study, results))
    plan = read_plan(results)
    if plan is None:
        return study
    return replace(study, left_out=frozenset(study.runs).difference(plan.kept(study.runs, results)))


def as_analysed(config: str) -> str:
    """A config, as JSON, without what only a plan is made from: of `planning` predictions read sizes and machines."""
    raw = json.loads(config)
    raw.pop("budget", None)
    planning = {name: value for name, value in (raw.pop("planning", None) or {}).items() if name in ANALYSED}
    return json.dumps(raw | ({"planning": planning} if planning else {}))


def left_out_line(kept: int, total: int) -> str:
    """How many of all runs are carried out, where a plan leaves any out."""
    runs, names = ("1 run", "is") if total - kept == 1 else (f"{total - kept:,} runs", "are")
    return f"{PLAN}: {kept:,} of {total:,} runs are carried out; {runs} {names} not in the plan"


def _is_done(results: Path, run_id: str) -> bool:
    """Whether a run has a result."""
    return (read_json(results / "runs" / run_id / "run.json") or {}).get("state") in OUTCOMES


def _not_here(study: Study, results: Path) -> frozenset[str]:
    """Measurements that are not done, and of which the last call left no word."""
    manifest = read_manifest(str(results)) if study.measurements else None
    if manifest is None:
        return frozenset()
    others = study.measurements.keys() - manifest.runs.keys()
    return frozenset(one for one in others if not (results / "throughput" / one / "measurement.json").exists())


class _DamagedError(ValueError):
    """What is wrong with plan.csv."""


def _facts(path: Path) -> dict[str, Any]:
    """What is in plan.json; raises _DamagedError."""
    try:
        return dict(read_json(path) or {})
    except (ValueError, TypeError):
        raise _DamagedError(f"{path.name} beside it cannot be read") from None


def _planned(row: Mapping[str, str]) -> tuple[str, tuple[Where, int | None] | None, int]:
    """Decision, place with minutes of a job, and priority of a row; raises _DamagedError."""
    run_id, decision = row["run_id"], row["decision"]
    if decision not in DECISIONS:
        raise _DamagedError(f"{run_id} has the decision {decision!r}, not one of {', '.join(DECISIONS)}")
    job = None
    if decision in TO_DO:
        minutes = _number(row, "walltime_min") if row["walltime_min"] else None
        job = Where(_number(row, "nodes"), _number(row, "ranks_per_node")), minutes
    return decision, job, _number(row, "priority", least=0)


def _number(row: Mapping[str, str], name: str, least: int = 1) -> int:
    """A whole number of a row; raises _DamagedError."""
    text = row[name] or ""
    if not text.isdecimal() or int(text) < least:
        raise _DamagedError(f"{row['run_id']} has {name} {text!r}, which must be a whole number from {least}")
    return int(text)
