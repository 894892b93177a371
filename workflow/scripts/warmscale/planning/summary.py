"""A plan in a few lines, for the terminal and for the top of its page."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from ..analysis.page_text import counted, number
from .choices import Limits
from .plan import Plan, PlannedClaim


def summary_lines(plan: Plan, results: Path) -> list[str]:
    """What a plan comes to, a line each, its page first."""
    lines = [f"The plan is {results / 'plan' / 'index.html'}: {runs_text(plan)}; {use_text(plan)}"]
    lines += [f"Of {counted(len(plan.claims), 'claim')}: {claims_text(plan)}"] if plan.claims else []
    return lines + warnings(plan)


def runs_text(plan: Plan) -> str:
    """How many runs are to be carried out, and how many not."""
    to_do, done = len(plan.having("planned", "required")), len(plan.having("finished"))
    left = len(plan.having("left_out"))
    parts = [counted(to_do, "run") + " planned", f"{done:,} done" if done else "", f"{left:,} left out" if left else ""]
    return ", ".join(filter(None, parts))


def use_text(plan: Plan) -> str:
    """What they take of the budget, the interval of the prediction with it; measurements by themselves."""
    hours, low, high = node_hours(plan)
    budget = plan.limits.node_hours
    left = " left" if plan.taken_off.node_hours else ""
    of = f" of {budget:,.0f}{left}" if math.isfinite(budget) else ""
    used = f"{_hours(hours)}{of} node-hours ({_hours(low)} to {_hours(high)})"
    return f"{used}{_beside(plan)}, {_hours(plan.fitted.hours)} hours if no job waits for another user's"


def _beside(plan: Plan) -> str:
    """What measurements take, which are carried out first."""
    cost = plan.taken_off.measuring
    if not cost.number:
        return ""
    ends = f"{_hours(cost.node_hours_low)} to {_hours(cost.node_hours_high)}"
    return f" beside {_hours(cost.node_hours)} ({ends}) for {counted(cost.number, 'measurement')}"


def node_hours(plan: Plan) -> tuple[float, float, float]:
    """Of the runs to be carried out: at the middle of the predicted step times, and at both ends."""
    costs = [run.cost for run in plan.having("planned", "required")]
    names = ("node_hours", "node_hours_low", "node_hours_high")
    return tuple(math.fsum(getattr(cost, name) for cost in costs) for name in names)


def claims_text(plan: Plan) -> str:
    """How many claims a plan can settle, and how many not, for which reason."""
    counts = Counter(map(state_of, plan.claims))
    return ", ".join(f"{counts[state]} {STATES[state]}" for state in STATES if counts[state])


STATES = {
    "settled": "settled already",
    "planned": "with the power aimed at",
    "all_seeds": "with all seeds of the config, as no formula tells their power",
    "does_not_fit": "beyond the budget",
    "too_few": "with too few seeds in the config",
    "spent": "without a look left",
    "untestable": "that cannot be tested",
    "left_out": "about something else than accuracy",
}
"""{what becomes of a claim: in words that follow a number}"""


def state_of(one: PlannedClaim) -> str:
    """What becomes of a claim, a key of STATES."""
    if not one.need.can_be_settled:
        return one.need.standing
    if not one.is_bought:
        return "does_not_fit"
    return "planned" if one.need.standing == "open" else "all_seeds"


def warnings(plan: Plan) -> list[str]:
    """What is not as it was asked for."""
    found, chosen = [], plan.fitted.chosen
    if not plan.keeps_deadline:
        late = f"{plan.fitted.hours:.1f} hours, after the deadline of {plan.limits.deadline_hours:g}"
        found.append(f"No order was found that is done in time: the best one ends after {late}")
    if chosen.gap > 0:
        found.append(f"The best plan may settle more: up to {100 * chosen.gap:.1f} % of the weight that is possible")
    if high_is_beyond(plan):
        found.append("At the upper end of the prediction the plan exceeds budget.node_hours: measure, and plan again")
    found += filter(None, [measuring_is_beyond(plan), more_seeds_text(plan), early_looks_text(plan)])
    return [*found, *plan.doubts]


def early_look(one: PlannedClaim) -> str:
    """What is to be said of a claim that the report will test before its seeds are there; empty of others."""
    is_early = one.need.standing in ("open", "unknown", "too_few") and not one.is_bought
    if not is_early or one.node_hours == 0 or (one.seeds or 0) < 2:  # no new run, or no test
        return ""
    return f"a look at it is spent with {one.seeds} seeds"


def early_looks_text(plan: Plan) -> str:
    """Which claims lose a look because others share their cells, and what can be done; empty where none do."""
    early = [one.need.claim.id for one in plan.claims if early_look(one)]
    if not early:
        return ""
    what = f"{counted(len(early), 'claim')} will be looked at with fewer seeds than needed ({', '.join(early)})"
    ways = "raise seeds or the budget, or allow a further look beforehand (max_looks)"
    return f"{what}: {ways}, or name their runs in planning.required"


def more_seeds_text(plan: Plan) -> str:
    """That runs are left out which the budget could pay, as claims need more seeds than the config has; else empty."""
    few = [one.need for one in plan.claims if one.need.standing == "too_few"]
    theirs = {run_id for need in few for choice in need.choices for run_id in choice.runs}
    left_out = [run for run in plan.having("left_out") if run.run_id in theirs]
    unused = plan.limits.node_hours - node_hours(plan)[0]
    if not left_out or min(run.cost.node_hours for run in left_out) > unused:
        return ""
    budget = f"{_hours(unused)} node-hours" if math.isfinite(unused) else "Parts"
    what = f"{budget} of the budget are unused while {counted(len(left_out), 'run')} are left out"
    why = f"for {len(few)} of {counted(len(plan.claims), 'claim')} the config has too few seeds"
    known = sorted({need.needed for need in few if need.needed <= plan.study.config.max_seeds})
    first = f" ({known[0]} are enough for the first)" if len(known) > 1 else ""
    ways = f"raise seeds to {known[-1]}{first}, or " if known else ""
    return f"{what}, as {why}: {ways}name the runs in planning.required"


def measuring_is_beyond(plan: Plan) -> str:
    """That measurements alone take more than there is, as they are always carried out; empty where they do not."""
    needed, left = plan.taken_off.measuring.node_hours, plan.node_hours_left
    if needed <= left:
        return ""
    what = f"Measurements alone take {_hours(needed)} node-hours, and budget.node_hours has {_hours(left)} left"
    return f"{what}: raise it, or give the throughput experiments fewer nodes or repeats"


def high_is_beyond(plan: Plan) -> bool:
    """Whether the upper end of the costs is beyond the budget, measurements and runs together."""
    return node_hours(plan)[2] + plan.taken_off.measuring.node_hours_high > plan.node_hours_left


def limits_text(limits: Limits) -> dict[str, str]:
    """{limit: value in words} of those that there are."""
    known = {
        "node-hours": limits.node_hours,
        "hours until the deadline": limits.deadline_hours,
        "nodes at a time": limits.concurrent_nodes,
        "jobs at a time (of the site)": limits.jobs,
    }
    return {name: number(value) for name, value in known.items() if math.isfinite(value)}


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"
