"""The mixed-integer program, against all plans tried one by one, and at the edges of the limits."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmscale.planning.choices import Candidate, CellChoice, Goal, Limits, Option
from warmscale.planning.program import solve
from warmscale.planning.solver import InfeasibleError


def cell(name, runs=3, finished=0, required=0, options=((1, 2.0),)):
    """A cell whose runs all have these places, as (nodes, wall hours)."""
    places = tuple(Option(nodes, hours, nodes * hours) for nodes, hours in options)
    candidates = [Candidate(f"{name}-{number}", places, number < required) for number in range(runs)]
    return CellChoice(name, finished, tuple(candidates))


def goal(name, weight=1.0, **seeds):
    return Goal(name, weight, seeds)


def by_brute_force(cells, goals, limits):
    """(weight, node-hours) of the best plan, every one tried; None where what is required does not fit."""
    best = None
    for counts in itertools.product(*(range(one.required, len(one.runs) + 1) for one in cells)):
        runs = [run for one, count in zip(cells, counts, strict=True) for run in one.runs[:count]]
        there = {one.name: one.finished + count for one, count in zip(cells, counts, strict=True)}
        weight = sum(one.weight for one in goals if all(there[name] >= need for name, need in one.seeds.items()))
        for places in itertools.product(*([o for o in run.options if limits.fits(o)] for run in runs)):
            hours, jobs = sum(o.node_hours for o in places), sum(o.wall_hours for o in places)
            if hours <= limits.most_node_hours and jobs <= limits.most_job_hours:
                found = (weight, -hours)
                best = found if best is None else max(best, found)
    return best


HOURS = st.integers(1, 6).map(float)
OPTIONS = st.lists(st.tuples(st.integers(1, 3), HOURS), min_size=1, max_size=2, unique_by=lambda pair: pair[0])


@st.composite
def small_plans(draw):
    names = "abc"[: draw(st.integers(1, 3))]
    cells = []
    for name in names:
        runs = draw(st.integers(1, 3))
        required = draw(st.sampled_from([0, 0, 0, 1]))
        cells.append(cell(name, runs, draw(st.integers(0, 1)), required, draw(OPTIONS)))
    needs = st.dictionaries(st.sampled_from(names), st.integers(1, 4), min_size=1)
    goals = [
        Goal(f"goal{number}", float(draw(st.integers(1, 3))), draw(needs)) for number in range(draw(st.integers(0, 4)))
    ]
    limits = Limits(
        node_hours=draw(st.one_of(st.just(math.inf), st.integers(1, 30).map(float))),
        deadline_hours=draw(st.one_of(st.just(math.inf), st.integers(2, 10).map(float))),
        concurrent_nodes=draw(st.one_of(st.just(math.inf), st.integers(1, 4))),
        jobs=draw(st.one_of(st.just(math.inf), st.integers(1, 2))),
    )
    return cells, goals, limits


@given(small_plans())
@settings(max_examples=60, deadline=None)
def test_no_plan_settles_more_or_as_much_for_less(plan):
    cells, goals, limits = plan
    best = by_brute_force(cells, goals, limits)
    if best is None:
        with pytest.raises(InfeasibleError):
            solve(cells, goals, limits)
        return
    found = solve(cells, goals, limits)
    assert (found.weight, -found.node_hours) == pytest.approx(best)
    assert found.gap == 0 and found.is_cheapest
    assert all(limits.fits(option) for option in found.taken.values())
    assert found.node_hours <= limits.most_node_hours + 1e-6
    assert found.job_hours <= limits.most_job_hours + 1e-6


def test_a_comparison_counts_only_with_all_its_cells():
    cells = [cell("a"), cell("b")]
    short, enough = (solve(cells, [goal("claim", a=3, b=3)], Limits(node_hours=hours)) for hours in (11.0, 12.0))
    assert (short.settled, short.taken) == ((), {})
    assert enough.settled == ("claim",)
    assert len(enough.taken) == 6


def test_runs_that_are_there_cost_nothing():
    found = solve([cell("a", runs=1, finished=2)], [goal("claim", a=3)], Limits(node_hours=2.0))
    assert list(found.taken) == ["a-0"]


def test_what_no_goal_needs_is_left_out():
    found = solve([cell("a"), cell("b")], [goal("claim", a=2)], Limits())
    assert list(found.taken) == ["a-0", "a-1"]


def test_required_runs_are_kept_even_where_they_settle_nothing():
    found = solve([cell("a", required=2), cell("b")], [goal("claim", b=3)], Limits(node_hours=8.0))
    assert list(found.taken) == ["a-0", "a-1"]


def test_a_heavier_claim_goes_before_two_lighter_ones():
    cells = [cell("a"), cell("b"), cell("c")]
    goals = [goal("heavy", 3.0, a=3), goal("light", 1.0, b=1), goal("lighter", 1.0, c=1)]
    assert solve(cells, goals, Limits(node_hours=6.0)).settled == ("heavy",)


def test_of_plans_that_settle_as_much_the_cheaper_one_is_taken():
    cells = [cell("dear", options=((2, 2.0),)), cell("cheap")]
    assert solve(cells, [goal("dear", dear=3), goal("cheap", cheap=3)], Limits(node_hours=12.0)).settled == ("cheap",)


@pytest.mark.parametrize("ratio", [1e3, 1e5, 1e6, 1e7])
@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_a_claim_is_not_given_up_for_its_cost_however_little_it_is_worth(ratio, scale):
    cells = [cell("a"), cell("dear", options=((4, 9.0),)), cell("b")]
    goals = [goal("heavy", ratio * scale, a=3), goal("light", scale, dear=3), goal("lighter", 0.4 * scale, b=1)]
    found = solve(cells, goals, Limits(node_hours=1000.0))
    assert found.settled == ("heavy", "light", "lighter")
    assert solve(cells, goals, Limits(node_hours=115.0)).settled == ("heavy", "light")


def test_few_jobs_at_a_time_are_a_reason_for_more_nodes():
    one = cell("a", runs=2, options=((1, 8.0), (4, 3.0)))
    slow = solve([one], [goal("claim", a=2)], Limits(deadline_hours=10.0))
    fast = solve([one], [goal("claim", a=2)], Limits(deadline_hours=10.0, jobs=1))
    assert {option.nodes for option in slow.taken.values()} == {1}
    assert {option.nodes for option in fast.taken.values()} == {4}


def test_a_run_that_is_longer_than_the_deadline_is_never_taken():
    found = solve([cell("a", options=((1, 9.0),))], [goal("claim", a=1)], Limits(deadline_hours=8.0))
    assert found.settled == ()


def test_required_runs_that_do_not_fit_are_refused():
    with pytest.raises(InfeasibleError):
        solve([cell("a", required=2)], [], Limits(node_hours=3.0))
