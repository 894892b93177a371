"""The page of a plan: assumptions, what the budget buys and what it does not, and when each run would be done."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..analysis import page_text, style
from ..analysis.templates import page_template
from ..records import write_atomic
from .calibration import CostModel
from .chart import timetable
from .files import RUN_COLUMNS, TAKEN_COLUMNS, claim_rows, run_rows, taken_rows
from .hardware import Value
from .plan import Plan, PlannedClaim
from .simulation import Simulated
from .summary import STATES, claims_text, early_look, limits_text, node_hours, runs_text, state_of, use_text, warnings

PAGE = "plan/index.html"
WORDS = {
    "settled": "settled",
    "planned": "planned",
    "all_seeds": "all seeds",
    "does_not_fit": "does not fit",
    "too_few": "too few seeds",
    "spent": "no look left",
    "untestable": "not testable",
    "left_out": "left out",
}
"""{what becomes of a claim: in a word}"""
LOOKS = {"settled": "supported", "planned": "supported", "all_seeds": "inconclusive", "does_not_fit": "refuted"}
"""{what becomes of a claim: class of its mark}, of the others not_run."""


def write_page(plan: Plan, simulated: Mapping[str, Simulated | None], results: Path, template: Path) -> None:
    """Write results/<study>/plan/index.html, one self-contained file."""
    write_atomic(results / PAGE, page(plan, simulated, template))


def page(plan: Plan, simulated: Mapping[str, Simulated | None], template: Path) -> str:
    """The page as HTML."""
    config = plan.study.config
    return page_template(template).render(
        study=plan.study,
        runs_text=runs_text(plan),
        use_text=use_text(plan),
        claims_text=claims_text(plan),
        warnings=warnings(plan),
        assumptions=dict(_assumptions(plan)),
        machines=[_machine(model) for model in plan.models],
        budget=_budget(plan),
        solver=_solver_text(plan),
        claims=[_claim(plan, row, number) for number, row in enumerate(claim_rows(plan, simulated))],
        runs=[dict.fromkeys(RUN_COLUMNS) | row for row in run_rows(plan) if row["decision"] != "finished"],
        finished=len(plan.having("finished")),
        taken=[dict.fromkeys(TAKEN_COLUMNS) | row for row in taken_rows(plan)],
        taken_text=_taken_text(plan),
        measuring=plan.taken_off.measuring.number,
        figure=_figure(plan),
        power=f"{100 * config.planning.power:g}",
        margin=f"{100 * config.planning.margin:g}",
        risk=f"{100 * (1 - config.confidence):g}",
    )


def _assumptions(plan: Plan) -> Iterator[tuple[str, str]]:
    """(what, its value) of what is taken for granted until there are data."""
    config = plan.study.config
    known = [one.need for one in plan.claims if not math.isnan(one.need.sd)]
    for is_assumed, what in ((True, "assumed"), (False, "seen in the runs that are there")):
        spreads = sorted({need.sd for need in known if need.sd_is_assumed is is_assumed})
        if spreads:
            yield f"standard deviation over seeds, {what}", _ends(spreads)
    if config.planning.sd is None:
        yield "standard deviation over seeds", "none assumed (planning.sd)"
    effects = sorted({need.effect for need in known})
    if effects:
        yield "effect that power is for", f"{_ends(effects)} beyond the bound of a claim"
    yield "power aimed at", f"{100 * config.planning.power:g} %"
    levels = {need.level for need in (one.need for one in plan.claims)}
    if levels:
        yield "level of each look at each claim (Bonferroni)", f"{max(levels):.3g}"
    yield "walltime of a job", f"upper end of its predicted time and {100 * config.planning.margin:g} % of it on top"


def _ends(values: Sequence[float]) -> str:
    """The smallest and the largest of values in order, or what they all are."""
    return " to ".join(dict.fromkeys((f"{values[0]:.3g}", f"{values[-1]:.3g}")))


def _budget(plan: Plan) -> list[dict[str, str]]:
    """A row a limit: what it is, how much there is, how much of it the plan takes; measurements have theirs first."""
    hours, low, high = node_hours(plan)
    widest = max((run.cost.nodes for run in plan.having("planned", "required")), default=0)
    used = {
        "node-hours": f"{hours:,.1f} (from {low:,.1f} to {high:,.1f})",
        "hours until the deadline": f"{plan.fitted.hours:,.1f}",
        "nodes at a time": f"{widest:,} for its largest run",
    }
    limits = limits_text(plan.limits)
    if plan.taken_off.spent:
        used["node-hours"] += f", beside {plan.taken_off.spent:,.1f} spent before"
    names = dict.fromkeys([*limits, "node-hours", "hours until the deadline"])
    rows = [{"name": name, "limit": limits.get(name, "no limit"), "used": used.get(name, "")} for name in names]
    return [*_measuring(plan), *rows]


def _measuring(plan: Plan) -> Iterator[dict[str, str]]:
    """The row of the measurements that are not done yet, if there are any."""
    cost = plan.taken_off.measuring
    if cost.number:
        limit = "no limit" if math.isinf(plan.node_hours_left) else page_text.number(plan.node_hours_left)
        middle, low, high = map(page_text.number, (cost.node_hours, cost.node_hours_low, cost.node_hours_high))
        name = f"node-hours of {page_text.counted(cost.number, 'measurement')}"
        yield {"name": name, "limit": limit, "used": f"{middle} (from {low} to {high})"}


def _taken_text(plan: Plan) -> str:
    """How what finished runs took compares with what is predicted of them, in a sentence."""
    told = [one for one in plan.taken if one.predicted]
    inside = sum(map(bool, (one.is_inside for one in told)))
    taken = page_text.number(math.fsum(one.node_hours for one in told))
    predicted = page_text.number(math.fsum(one.predicted.node_hours for one in told))
    of = page_text.counted(len(told), "finished run")
    what = f"Of {of} with a prediction, {inside} took node-hours within its interval"
    return f"{what}; together they took {taken} node-hours, and {predicted} are predicted."


def _solver_text(plan: Plan) -> str:
    """How sure it is that this is the best plan."""
    chosen = plan.fitted.chosen
    if not plan.solver:
        return "No budget is given, so that all runs are planned."
    if chosen.gap > 0:
        more = f"claims of at most {100 * chosen.gap:.1f} % of the weight that is possible"
        return f"{plan.solver}: {more} are missing, as time ran out or no order was found for more by the deadline."
    cheapest = "" if chosen.is_cheapest else "; whether it is the cheapest of these is not proved"
    return f"{plan.solver}: no plan within the limits settles claims of more weight (gap 0){cheapest}."


def _claim(plan: Plan, row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A claim as text."""
    state, claim = state_of(plan.claims[number]), plan.study.config.claims[number]
    return {
        "id": claim.id,
        "statement": claim.statement,
        "word": WORDS[state],
        "state": LOOKS.get(state, "not_run"),
        "meaning": STATES[state],
        "weight": page_text.number(row["weight"]),
        "needed": _seeds(row["seeds_needed"]),
        "configured": page_text.number(row["seeds_configured"]),
        "planned": page_text.number(row["seeds_planned"]),
        "power": _percent(row["power"]),
        "simulated": _percent(row.get("power_simulated"), row.get("power_standard_error")),
        "sd": page_text.NOTHING if row["sd"] is None else f"{row['sd']:.3g}",
        "sd_is": row["sd_is"],
        "node_hours": page_text.number(row["node_hours"]) if row["seeds_planned"] is not None else page_text.NOTHING,
        "more": _more(row),
        "note": _note(plan.claims[number]) if state == "does_not_fit" else row["note"],  # its mark says it
    }


def _seeds(needed: str | int | None) -> str:
    return page_text.NOTHING if needed is None else str(needed).replace(">", "more than ")


def _note(one: PlannedClaim) -> str:
    return "; ".join(filter(None, [one.need.note, early_look(one)]))


def _more(row: Mapping[str, Any]) -> str:
    more = row["more_node_hours"]
    return page_text.NOTHING if not more or row["seeds_planned"] is None else f"{more:,.0f}"


def _percent(share: float | None, error: float | None = None) -> str:
    if share is None:
        return page_text.NOTHING
    return f"{100 * share:.0f} %" + (f" ± {100 * error:.1f}" if error is not None else "")


def _machine(model: CostModel) -> dict[str, Any]:
    """What the costs of one model on one machine were predicted from."""
    found = [(item.name, getattr(model.hardware, item.name)) for item in fields(model.hardware)]
    named = [(f"images_per_sec, {model.work.precision}", model.hardware.images_per_sec[model.work.precision])]
    named += [(name, value) for name, value in found if isinstance(value, Value)]
    return {
        "name": model.hardware.name,
        "work": f"{model.work.model}, {model.work.image_size} pixels, {model.work.precision}",
        "measured": len(model.measured),
        "values": [
            {"name": name.replace("_", " "), "value": f"{value.of:.3g}", "is": value.provenance, "source": value.source}
            for name, value in named
        ],
    }


def _figure(plan: Plan) -> str:
    """The timetable as the source of an image; empty where nothing is to be done."""
    if not plan.fitted.spans:
        return ""
    image = io.BytesIO()
    with style.applied():
        timetable(plan).savefig(image, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(image.getvalue()).decode()}"
