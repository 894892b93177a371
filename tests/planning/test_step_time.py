from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.machines import RESNET50, changed, weak
from warmscale.planning.hardware import PRESETS
from warmscale.planning.step_time import (
    BACKWARD_SHARE,
    StepShape,
    all_reduce_sec,
    expected_maximum,
    exposed,
    ring_sec,
    step_time,
    training_pass_sec,
    update_sec,
)
from warmscale.planning.workload import workload

SUMMIT = PRESETS["summit-v100"]
machines = st.sampled_from(list(PRESETS.values()))
algorithms = st.sampled_from(["ring", "tree", "hierarchical", "fastest"])
works = st.builds(
    workload,
    st.sampled_from(["resnet8", "resnet18", "resnet50"]),
    st.sampled_from([16, 64, 224]),
    st.just(1000),
    st.sampled_from(["fp32", "bf16", "fp64"]),
)
shapes = st.builds(weak, st.integers(1, 64), st.integers(1, 8), st.integers(1, 256))


@given(machines, works, algorithms, st.integers(1, 256))
def test_one_rank_has_no_communication_and_no_stragglers(machine, work, algorithm, images):
    step = step_time(weak(1, 1, images), work, replace(machine, all_reduce=algorithm), has_input=False)
    assert step.communication_sec == step.exposed_sec == step.straggler_sec == step.input_sec == 0
    assert step.step_sec == step.computation_sec


@given(machines, works, algorithms, shapes)
def test_more_nodes_never_lower_communication(machine, work, algorithm, shape):
    machine = replace(machine, all_reduce=algorithm)
    more = replace(shape, nodes=shape.nodes + 1)
    assert all_reduce_sec(more, work, machine) >= all_reduce_sec(shape, work, machine) * (1 - 1e-12)


@given(machines, works, shapes)
def test_the_fastest_algorithm_is_the_faster_of_ring_and_tree(machine, work, shape):
    times = {
        kind: all_reduce_sec(shape, work, replace(machine, all_reduce=kind)) for kind in ("ring", "tree", "fastest")
    }
    assert times["fastest"] == min(times["ring"], times["tree"])


@given(machines, works, st.integers(2, 8))
def test_within_a_node_the_hierarchy_is_a_ring(machine, work, ranks):
    ring, hierarchy = (
        all_reduce_sec(weak(1, ranks), work, replace(machine, all_reduce=kind)) for kind in ("ring", "hierarchical")
    )
    assert hierarchy == pytest.approx(ring)


def test_a_ring_of_two_sends_all_bytes_once_in_two_hops():
    machine = changed(SUMMIT, intra_latency_sec=1e-5, intra_bytes_per_sec=1e9)
    machine = replace(machine, all_reduce="ring")
    expected = RESNET50.gradient_bytes / 1e9 + RESNET50.all_reduces * 2 * 1e-5
    assert all_reduce_sec(weak(1, 2), RESNET50, machine) == pytest.approx(expected)


@given(st.integers(2, 10_000), st.floats(1, 1e9), st.floats(1e3, 1e12))
def test_a_rings_time_tends_to_twice_the_bytes_by_the_bandwidth(ranks, size, bandwidth):
    limit = 2 * size / bandwidth
    assert limit * (1 - 2 / ranks) <= ring_sec(ranks, size, bandwidth, 0.0) < limit


def test_on_many_nodes_latency_makes_trees_faster_than_rings():
    few, many = (
        {kind: all_reduce_sec(weak(nodes), RESNET50, replace(SUMMIT, all_reduce=kind)) for kind in ("ring", "tree")}
        for nodes in (1, 256)
    )
    assert few["ring"] < few["tree"]
    assert many["tree"] < many["ring"] / 2


def test_a_flat_ring_is_as_slow_as_its_slowest_link_and_ranks_of_a_node_share_its_adapters():
    machine = replace(
        changed(
            SUMMIT, nic_bytes_per_sec=1e9, intra_bytes_per_sec=1e12, intra_latency_sec=1e-12, inter_latency_sec=1e-12
        ),
        all_reduce="ring",
    )
    one, two, six = (all_reduce_sec(StepShape(2, ranks, 12, 32), RESNET50, machine) for ranks in (1, 2, 6))
    size = RESNET50.gradient_bytes
    assert one == pytest.approx(size / 1e9, rel=1e-3)  # two ranks, one adapter each
    assert two == pytest.approx(2 * 3 / 4 * size / 2e9, rel=1e-3)
    assert six == pytest.approx(2 * 11 / 12 * size / 2e9, rel=1e-3)  # a node of Summit has two


@given(machines, works, shapes)
def test_a_step_is_the_sum_of_its_parts_or_waits_for_images(machine, work, shape):
    step = step_time(shape, work, machine)
    parts = step.computation_sec + step.exposed_sec + step.straggler_sec
    assert step.step_sec == max(parts, step.input_sec)
    assert step.alone_sec == max(step.computation_sec + step.straggler_sec, step.input_sec) <= step.step_sec
    assert 0 <= step.exposed_sec <= step.communication_sec * (1 + 1e-12)


@given(machines, works, shapes, st.integers(1, 64))
def test_more_images_never_make_a_step_shorter(machine, work, shape, more):
    larger = replace(shape, worker_batch_size=shape.worker_batch_size + more)
    # beside the overlap: a longer pass may hide more, but never more than it adds
    assert step_time(larger, work, machine).step_sec >= step_time(shape, work, machine).step_sec * (1 - 1e-12)


def test_ranks_that_share_a_node_compute_more_slowly_and_other_nodes_do_not_matter():
    machine = changed(PRESETS["cpu"], contention=0.6)
    one, two, three, apart = (
        step_time(weak(nodes, ranks), RESNET50, machine).computation_sec - update_sec(RESNET50, machine)
        for nodes, ranks in ((1, 1), (1, 2), (1, 3), (3, 1))
    )
    assert (two / one, three / one, apart / one) == pytest.approx((1.3, 1.4, 1.0))


def test_small_passes_take_the_launch_floor_and_large_ones_their_images():
    machine = changed(SUMMIT, launch_floor_sec=0.05, pass_sec=0.001, images_per_sec=400)
    assert training_pass_sec(1, RESNET50, machine) == training_pass_sec(19, RESNET50, machine) == 0.05
    assert training_pass_sec(400, RESNET50, machine) == pytest.approx(1.001)
    resnet18 = workload("resnet18", 224, 1000, "fp32")
    assert training_pass_sec(1, resnet18, machine) == pytest.approx(0.05 * 18 / 50)


def test_workers_of_a_rank_are_passes_one_after_the_other():
    machine = changed(SUMMIT, launch_floor_sec=0.05, pass_sec=0.001, images_per_sec=400, contention=1e-12)
    update = update_sec(RESNET50, machine)

    def computation(**together):
        return step_time(StepShape(1, 2, 16, 8, **together), RESNET50, machine, has_input=False).computation_sec

    assert computation() == pytest.approx(8 * 0.05 + update)  # 8 images do not fill a pass
    assert computation(workers_per_pass=8) == pytest.approx(64 / 400 + 0.001 + update)


def test_only_the_last_backward_pass_hides_communication_and_never_the_last_bucket():
    slow = changed(SUMMIT, intra_bytes_per_sec=1e9, overlap_share=0.5, launch_floor_sec=0.06, contention=1e-12)
    for workers in (6, 60):
        step = step_time(StepShape(1, 6, workers, 1), RESNET50, slow, has_input=False)
        assert step.exposed_sec == pytest.approx(step.communication_sec - 0.5 * BACKWARD_SHARE * 0.06)
    assert exposed(1.0, 10.0, 5) == 1 / 5
    assert exposed(1.0, 0.0, 5) == 1.0


@given(machines, works, shapes)
def test_without_overlap_all_communication_is_exposed(machine, work, shape):
    step = step_time(replace(shape, overlaps=False), work, machine, has_input=False)
    assert step.exposed_sec == step.communication_sec


@pytest.mark.parametrize(
    ("number", "exact"), [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi)), (100, 2.50759)]
)
def test_the_expected_maximum_of_normal_numbers_is_the_tabulated_one(number, exact):
    assert expected_maximum(number) == pytest.approx(exact, abs=2e-5)


def test_a_step_waits_for_the_slowest_of_its_ranks():
    machine = changed(SUMMIT, straggler_cv=0.1)
    step = step_time(weak(1, 2), RESNET50, machine)
    assert step.straggler_sec == pytest.approx(step.computation_sec * 0.1 / math.sqrt(math.pi))


def test_images_that_come_slowly_bound_a_step_unless_they_are_made_up():
    slow = changed(SUMMIT, input_images_per_sec=10)
    assert step_time(weak(1), RESNET50, slow).step_sec == pytest.approx(3.2)
    assert step_time(weak(1), RESNET50, slow, has_input=False).step_sec < 1
    small = workload("resnet50", 112, 1000, "fp32")
    assert step_time(weak(1), small, slow).input_sec == pytest.approx(0.8)
