"""When runs start and end: within the limits at every moment, by priority, never far from the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmscale.planning.choices import Candidate, CellChoice, Goal, Limits, Option
from warmscale.planning.fitting import fit
from warmscale.planning.packing import Work, makespan, pack


def least_makespan(works: Sequence[Work], limits: Limits) -> float:
    """A bound that no order can go below: by the longest run, the nodes and the jobs at a time, in hours."""
    longest = max((work.wall_hours for work in works), default=0.0)
    node_hours = math.fsum(work.nodes * work.wall_hours for work in works)
    job_hours = math.fsum(work.wall_hours for work in works)
    return max(longest, node_hours / limits.concurrent_nodes, job_hours / limits.jobs)


def spans_of(*works, **limits):
    spans = pack([Work(f"r{number}", *work) for number, work in enumerate(works)], Limits(**limits))
    return [(spans[f"r{number}"].start_hour, spans[f"r{number}"].end_hour) for number in range(len(works))]


def test_without_limits_all_runs_start_at_once():
    assert spans_of((40, 3.0), (10, 1.0)) == [(0, 3), (0, 1)]


def test_runs_wait_for_nodes_in_the_order_of_their_priority():
    assert spans_of((3, 2.0), (3, 1.0), (3, 1.0), concurrent_nodes=4) == [(0, 2), (2, 3), (3, 4)]


def test_a_small_run_fills_the_gap_before_one_that_does_not_fit():
    assert spans_of((3, 2.0), (2, 1.0), (1, 1.0), concurrent_nodes=4) == [(0, 2), (2, 3), (0, 1)]


def test_no_more_jobs_run_together_than_are_considered():
    assert spans_of((1, 2.0), (1, 2.0), (1, 2.0), jobs=2) == [(0, 2), (0, 2), (2, 4)]


def test_a_chain_of_jobs_goes_on_by_its_priority():
    first, second = spans_of((1, 4.0, 2), (1, 1.0), jobs=1)
    assert (first, second) == ((0, 4), (4, 5))


def test_a_chain_of_low_priority_lets_others_in_between_its_jobs():
    assert spans_of((1, 1.0), (1, 4.0, 2), (1, 1.0), jobs=1, concurrent_nodes=1)[1] == (1, 5)


def test_nothing_takes_no_time():
    assert makespan(pack([], Limits())) == 0.0


WORKS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 8).map(float), st.integers(1, 3)), min_size=1, max_size=12)


@given(WORKS, st.one_of(st.just(math.inf), st.integers(4, 9)), st.one_of(st.just(math.inf), st.integers(1, 4)))
@settings(max_examples=200, deadline=None)
def test_limits_hold_at_every_moment_and_no_run_is_shortened(works, nodes, jobs):
    found = [Work(f"r{number}", *work) for number, work in enumerate(works)]
    limits = Limits(concurrent_nodes=nodes, jobs=jobs)
    spans = pack(found, limits)
    for work in found:
        span = spans[work.run_id]
        assert span.end_hour - span.start_hour >= work.wall_hours - 1e-9
    whole = [work for work in found if work.jobs == 1]  # a chain may be interrupted, so that its span says less
    for moment in {spans[work.run_id].start_hour for work in whole}:
        there = [work for work in whole if spans[work.run_id].start_hour <= moment < spans[work.run_id].end_hour]
        assert sum(work.nodes for work in there) <= nodes
        assert len(there) <= jobs
    assert makespan(spans) >= least_makespan(found, limits) - 1e-9
    if jobs == math.inf and all(work.nodes == 1 and work.jobs == 1 for work in found):
        assert makespan(spans) <= (2 - 1 / nodes) * least_makespan(found, limits) + 1e-9  # Graham 1969


def test_runs_of_one_node_are_packed_as_graham_promises():
    limits = Limits(concurrent_nodes=3)
    works = [Work(f"r{number}", 1, hours) for number, hours in enumerate((1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0))]
    assert makespan(pack(works, limits)) == pytest.approx(5.0)
    assert least_makespan(works, limits) == pytest.approx(3.0)


def test_a_choice_that_cannot_be_packed_is_made_smaller_and_says_how_far_it_is_from_the_best():
    """Three runs of two nodes for two hours: three nodes could hold all by their area, but only one at a time."""
    options = (Option(2, 2.0, 4.0),)
    cells = [CellChoice(name, 0, (Candidate(name, options),)) for name in "abc"]
    goals = [Goal(name, 1.0, {name: 1}) for name in "abc"]
    limits = Limits(deadline_hours=4.0, concurrent_nodes=3)

    def works(chosen):
        return [Work(name, option.nodes, option.wall_hours) for name, option in chosen.taken.items()]

    found = fit(cells, goals, limits, works)
    assert len(found.chosen.settled) == 2
    assert found.hours == 4.0
    assert found.chosen.gap == pytest.approx(1 / 3)


def test_where_no_order_keeps_the_deadline_the_one_that_misses_it_by_least_is_kept():
    options = (Option(2, 2.0, 4.0),)
    cells = [CellChoice("a", 0, tuple(Candidate(f"a{number}", options, required=True) for number in range(3)))]
    limits = Limits(deadline_hours=4.0, concurrent_nodes=3)
    found = fit(cells, [], limits, lambda chosen: [Work(name, 2, 2.0) for name in chosen.taken])
    assert found.hours == 6.0 and not limits.keeps(found.hours)
