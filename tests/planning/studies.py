"""A study to plan, and published runs of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.analysis.published_runs import publish
from tests.unit.study_builders import make_config
from warmscale.analysis.looks import Look, claim_hash
from warmscale.planning.cells import tables_in_memory
from warmscale.planning.needs import Need, needs_of
from warmscale.records import MEASURED_COLUMNS, rows_to_csv, write_atomic, write_json
from warmscale.study import Study, load_study
from warmscale.study.claims import Claim

SEEDS = 8
WARMUPS = {"name": "warmups", "grid": {"warmup_epochs": [0, 1, 2]}}
RULES = {"name": "rules", "recipe": {"warmup_epochs": 1}, "grid": {"lr_scaling.rule": ["linear", "none"]}}
"""Shares a cell with WARMUPS."""


def claim(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    about = {"experiment": "warmups", "factor": "warmup_epochs"}
    return {"id": name, "statement": name, "kind": kind} | about | fields


BETTER = claim("better", "better", levels=[1, 0])
BEST = claim("best", "best", level=1)
RULE = claim("rule", "better", experiment="rules", factor="lr_scaling.rule", levels=["linear", "none"])


def study_of(*claims: dict[str, Any], **sections: Any) -> Study:
    """Four cells of eight seeds, one of them in both experiments; a spread of 1 and an effect of 2, one look."""
    planning = {"sd": 1.0, "smallest_effect": 2.0}
    raw = make_config(experiments=[WARMUPS, RULES], seeds=SEEDS, claims=list(claims), planning=planning, max_looks=1)
    return load_study(raw | sections)


def needs(study: Study, results: Path, *looks: Look) -> list[Need]:
    return needs_of(study, tables_in_memory(study, results), looks)


def look_at(one: Claim, verdict: str, number: int = 1) -> Look:
    return Look(one.id, number, "2026-11-20T00:00:00Z", "hash", claim_hash(one), 8, 4, 0.01, 0.9, verdict)


def finish(study: Study, results: Path, experiment: str, seeds: int, spread: float = 1.0, state: str = "finished"):
    """Publish the first seeds of every cell of an experiment, around 50 with this spread, one epoch each."""
    for point in study.points:
        if point.experiment == experiment and point.seed <= seeds:
            value = 50.0 + spread * (-1) ** point.seed
            publish(results, study.runs[point.run_id], state, [value])


SPEED = {"name": "speed", "kind": "throughput", "ranks_per_node": [1, 2], "worker_batch_size": [8], "repeats": 1}
"""Two measurements, on one rank and on two."""
OF_RANKS = {"workers_per_pass": 1, "channels_last": False, "compile": "none", "cuda_graphs": False}


def measure(results: Path, measurement_id: str, *, step_sec: float = 0.5, state: str = "finished", **changed: Any):
    """Publish a measurement: three of each kind of step; `changed` are fields of measurement.json."""
    folder = results / "throughput" / measurement_id
    kinds = {"step": step_sec, "computation": 0.8 * step_sec, "communication": 0.3 * step_sec}
    rows = [{"kind": kind, "number": number, "sec": sec} for kind, sec in kinds.items() for number in (1, 2, 3)]
    write_atomic(folder / "steps.csv", rows_to_csv(rows if state == "finished" else [], MEASURED_COLUMNS))
    record = {"state": state, "device_name": "AMD EPYC", "attempts": [{}], "speed": OF_RANKS, "node_hours": 0.5}
    write_json(folder / "measurement.json", record | changed)
