"""The files of a plan: plan.csv, a row a run, which Snakemake reads; claims.csv, a row a claim; taken.csv, a row a
finished run; plan.json, all else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..cluster.site import Site
from ..records import rows_to_csv, write_atomic
from ..study.planned import FACTS, PLAN, digest
from ..study.staleness import fingerprint
from .exponent_power import simulated_exponents
from .plan import Plan, PlannedClaim, PlannedRun
from .simulation import Simulated, simulated_powers
from .summary import early_look

RUN_COLUMNS = (
    "run_id", "experiments", "cell", "seed", "decision", "nodes", "ranks_per_node", "walltime_min", "attempts",
    "step_sec", "train_hours", "node_hours", "node_hours_low", "node_hours_high", "priority", "start_hour", "end_hour",
    "claims",
)  # fmt: skip
CLAIM_COLUMNS = (
    "claim", "kind", "weight", "standing", "planned", "seeds_needed", "seeds_configured", "seeds_planned", "power",
    "power_simulated", "power_standard_error", "power_simulated_alone", "level", "sd", "sd_is", "effect", "node_hours",
    "more_node_hours", "note",
)  # fmt: skip
TAKEN_COLUMNS = (
    "run_id", "cell", "nodes", "ranks_per_node", "attempts", "node_hours", "predicted_node_hours",
    "predicted_node_hours_low", "predicted_node_hours_high", "train_hours", "predicted_train_hours",
    "predicted_train_hours_low", "predicted_train_hours_high", "fitted_to", "is_inside",
)  # fmt: skip
CLAIMS = "plan/claims.csv"
TAKEN = "plan/taken.csv"
DIGITS = 6
"""Significant ones of costs, which are not known to more."""


def write_plan(plan: Plan, site: Site, results: Path, simulated: Mapping[str, Simulated | None]) -> None:
    """Write the files of a plan under results/<study>; plan.csv last, and plan.json has its digest."""
    runs = rows_to_csv(run_rows(plan), RUN_COLUMNS)
    told = facts(plan, site) | {"digest": digest(runs.encode())}
    write_atomic(results / CLAIMS, rows_to_csv(claim_rows(plan, simulated), CLAIM_COLUMNS))
    write_atomic(results / TAKEN, rows_to_csv(taken_rows(plan), TAKEN_COLUMNS))
    write_atomic(results / FACTS, json.dumps(told, indent=2) + "\n")
    write_atomic(results / PLAN, runs)


def simulate(plan: Plan) -> dict[str, Simulated | None]:
    """{claim: power at the seeds that are there or planned, by simulation}; None where there is nothing to simulate."""
    needs, seeds = [one.need for one in plan.claims], [one.seeds or 0 for one in plan.claims]
    config = plan.study.config
    return simulated_powers(needs, seeds, config) | simulated_exponents(needs, seeds, config)


def run_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    """A row a run, cell by cell."""
    for run in plan.runs:
        row = {"run_id": run.run_id, "cell": run.cell, "decision": run.decision, "priority": run.priority}
        row |= {"experiments": ";".join(plan.study.experiments_of(run.run_id)), "claims": ";".join(run.claims)}
        yield row | {"seed": plan.study.runs[run.run_id].seed} | _cost(run)


def _cost(run: PlannedRun) -> dict[str, Any]:
    """Columns that a finished run does not have, or one that is left out."""
    if run.cost is None:
        return {}
    names = ("nodes", "ranks_per_node", "walltime_min", "step_sec", "node_hours", "node_hours_low", "node_hours_high")
    row = {name: _rounded(getattr(run.cost, name)) for name in names}
    row |= {"attempts": run.cost.jobs, "train_hours": _rounded(run.cost.train_sec / 3600)}
    if run.span:
        row |= {"start_hour": _rounded(run.span.start_hour), "end_hour": _rounded(run.span.end_hour)}
    return row


def claim_rows(plan: Plan, simulated: Mapping[str, Simulated | None]) -> Iterator[dict[str, Any]]:
    """A row a claim, in the order of the study."""
    for one in plan.claims:
        need, checked = one.need, simulated[one.need.claim.id]
        row = {name: getattr(need.claim, name) for name in ("kind",)} | {"claim": need.claim.id, "weight": need.weight}
        row |= {"standing": need.standing, "planned": "yes" if one.is_bought else "no", "note": note_of(one)}
        row |= {"seeds_needed": seeds_needed(plan, one), "seeds_configured": need.configured}
        row |= {"seeds_planned": one.seeds, "power": _known(need.power(one.seeds or 0)), "level": _known(need.level)}
        row |= {"sd": _known(need.sd), "effect": _known(need.effect)}
        row |= {"sd_is": "" if math.isnan(need.sd) else "assumed" if need.sd_is_assumed else "observed"}
        row |= {"node_hours": _rounded(one.node_hours), "more_node_hours": _known(one.more_node_hours)}
        if checked:
            row |= {"power_simulated": checked.power, "power_simulated_alone": checked.alone}
            row |= {"power_standard_error": _rounded(checked.standard_error)}
        yield row


def taken_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    """A row a finished run: what it took, and what is predicted of it by what was measured of other cells."""
    for one in plan.taken:
        row = {"run_id": one.run_id, "cell": one.cell, "attempts": one.attempts}
        row |= {"nodes": one.where and one.where.nodes, "ranks_per_node": one.where and one.where.ranks_per_node}
        row |= {"node_hours": _rounded(one.node_hours), "train_hours": _rounded(one.train_hours)}
        for end in ENDS if one.predicted else ():
            row[f"predicted_node_hours{end}"] = _rounded(getattr(one.predicted, f"node_hours{end}"))
            row[f"predicted_train_hours{end}"] = _rounded(getattr(one.predicted, f"train_sec{end}") / 3600)
        inside = {True: "yes", False: "no", None: None}[one.is_inside]
        yield row | {"fitted_to": one.fitted_to if one.predicted else None, "is_inside": inside}


def seeds_needed(plan: Plan, one: PlannedClaim) -> str | int | None:
    """As tables/claims.csv has it: `>16` where more are needed than the study thinks of."""
    most, needed = plan.study.config.max_seeds, one.need.needed
    return f">{most}" if needed is not None and needed > most else needed


def note_of(one: PlannedClaim) -> str:
    """What is to be said of a claim."""
    if one.need.verdict:
        return f"it is {one.need.verdict}"
    fits = "it does not fit the budget" if one.need.can_be_settled and not one.is_bought else ""
    return "; ".join(filter(None, [one.need.note, fits, early_look(one)]))


def facts(plan: Plan, site: Site) -> dict[str, Any]:
    """What a plan was made from and what it comes to, but for its runs and claims."""
    config, chosen = plan.study.config, plan.fitted.chosen
    to_do = plan.having("planned", "required")
    ends = {f"node_hours{end}": math.fsum(getattr(run.cost, f"node_hours{end}") for run in to_do) for end in ENDS}
    return {
        "study": plan.study.name,
        "fingerprint": fingerprint(plan.study, site),
        "budget": config.budget and config.budget.model_dump(),
        "planning": config.planning.model_dump(mode="json"),
        "eligible_jobs": site.eligible_jobs,
        "runs": {decision: len(plan.having(decision)) for decision in DECISIONS},
        "spent_node_hours": _rounded(plan.taken_off.spent),
        "measurements": {name: _rounded(value) for name, value in asdict(plan.taken_off.measuring).items()},
        **{name: _rounded(value) for name, value in ends.items()},
        "makespan_hours": _rounded(plan.fitted.hours),
        "keeps_deadline": plan.keeps_deadline,
        "claims_planned": list(chosen.settled),
        "weight": chosen.weight,
        "solver": plan.solver or None,
        "gap": _rounded(chosen.gap),
        "is_cheapest": chosen.is_cheapest,
    }


ENDS = ("", "_low", "_high")
DECISIONS = ("finished", "required", "planned", "left_out")


def _rounded(value: float | int | None) -> float | int | None:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _known(value: float) -> float | None:
    return None if math.isnan(value) else _rounded(value)
