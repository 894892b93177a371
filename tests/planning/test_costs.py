from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.planning.machines import changed
from tests.unit.study_builders import ROOT, make_dataset, make_recipe
from warmscale.cluster.placement import Where
from warmscale.cluster.site import Site, SiteError, load_site
from warmscale.planning.calibration import CostModel, calibrate
from warmscale.planning.costs import RunCost, run_cost, step_shape
from warmscale.planning.hardware import PRESETS
from warmscale.planning.values import FITTED
from warmscale.planning.workload import PlanningError, workload
from warmscale.study.config import Placement
from warmscale.study.planning import Planning
from warmscale.study.run import Run, make_run
from warmscale.study.steps import EpochClock
from warmscale.training.speed import choose_speed
from warmscale.training.training import micro_batch_size

SUMMIT = load_site(ROOT / "profiles/lsf/presets/summit.yaml")
VAL_IMAGES, START_SEC, CHECKPOINT_SEC, WRITE_SEC = 7200, 90.0, 3.0, 20.0
PAUSE_SEC = CHECKPOINT_SEC + WRITE_SEC
TINY = 1e-12
FORTY = Where(40, 6)


def steady(step_sec: float = 1.0, sd: float = TINY) -> CostModel:
    """A machine on which every step takes so long, whoever takes part; validating an image takes a third of a step."""
    machine = changed(
        PRESETS["summit-v100"],
        images_per_sec=1 / step_sec,
        launch_floor_sec=TINY,
        pass_sec=TINY,
        memory_bytes_per_sec=1e30,
        intra_bytes_per_sec=1e30,
        nic_bytes_per_sec=1e30,
        intra_latency_sec=TINY,
        inter_latency_sec=TINY,
        straggler_cv=TINY,
        contention=TINY,
    )
    times = {"start_up_sec": START_SEC, "checkpoint_sec": CHECKPOINT_SEC, "checkpoint_write_sec": WRITE_SEC}
    machine = changed(machine, evaluation_speedup=3.0, **times)
    surer = {name: replace(machine.value(name, "fp32"), sd=sd) for name in FITTED}
    return calibrate(workload("resnet50", 224, 1000, "fp32"), machine.with_values(surer, "fp32"), [])


def run_of_steps(steps: int, epochs: int = 1, workers: int = 240) -> Run:
    """A run of so many steps, of one image a worker."""
    dataset = make_dataset(workers * steps // epochs, num_val_images=VAL_IMAGES)
    return make_run(
        make_recipe(epochs=epochs, workers=workers, mini_batch_size=workers, **{"decay.kind": "cosine"}), dataset, 1
    )


def cost(
    steps: int = 3600, epochs: int = 1, where: Where = FORTY, site: Site = SUMMIT, steps_done: int = 0, **rest
) -> RunCost:
    model = rest.pop("model", None) or steady()
    planning = Planning(margin=rest.pop("margin", 0.25))
    run = run_of_steps(steps, epochs, where.ranks)
    return run_cost(run, where, site, model, planning, steps_done, **rest)


def test_a_run_of_an_hour_is_one_job_of_its_parts():
    found = cost(3600, epochs=4)
    assert (found.nodes, found.ranks_per_node, found.jobs) == (40, 6, 1)
    assert found.step_sec == pytest.approx(1.0)
    assert found.train_sec == pytest.approx(3600)
    assert found.eval_sec == pytest.approx(4 * VAL_IMAGES / 240 / 3)
    assert found.checkpoint_sec == 3 * CHECKPOINT_SEC  # none at the end of the last epoch
    assert found.startup_sec == START_SEC
    assert found.wall_sec == pytest.approx(found.train_sec + found.eval_sec + found.checkpoint_sec + START_SEC)
    assert found.node_hours == pytest.approx(40 * found.wall_sec / 3600)


def test_a_run_of_five_hours_on_forty_nodes_of_summit_is_a_chain_of_three_jobs_of_two_hours():
    found = cost(5 * 3600, epochs=10)
    assert (found.jobs, found.walltime_min) == (3, 120)
    assert found.startup_sec == 3 * START_SEC
    assert found.checkpoint_sec == 9 * CHECKPOINT_SEC + 2 * PAUSE_SEC  # whoever pauses waits for the write


def test_the_same_run_on_more_than_45_nodes_is_one_job_of_up_to_six_hours():
    found = cost(4 * 3600, epochs=10, where=Where(46, 6))
    assert found.jobs == 1
    assert 240 < found.walltime_min <= 360


@pytest.mark.parametrize("nodes", [45, 46])
def test_queues_of_summit_end_at_45_and_more_nodes(nodes):
    assert cost(20 * 3600, where=Where(nodes, 6)).walltime_min == {45: 120, 46: 360}[nodes]


def test_more_nodes_than_the_site_has_is_the_sites_error():
    with pytest.raises(SiteError, match="5000 nodes are too many"):
        cost(where=Where(5000, 1))


def test_this_machine_has_no_walltime_and_no_chain():
    found = cost(50 * 3600, where=Where(1, 1), site=Site())
    assert (found.jobs, found.walltime_min) == (1, None)


def test_jobs_ask_for_what_the_upper_end_needs_and_a_share_on_top_in_steps_of_five_minutes():
    model = steady()
    high = model.predict(step_shape(run_of_steps(1800), Where(40, 6), Placement(), on_cpu=False)).high_sec
    validation = VAL_IMAGES / 240 / 3 * high
    room = 2 * (high + validation + CHECKPOINT_SEC) + 2 * WRITE_SEC
    for margin in (0.0, 0.25, 1.0):
        needed = (1800 * high + validation + START_SEC) * (1 + margin) + room + SUMMIT.margin_sec
        assert cost(1800, margin=margin).walltime_min == 5 * math.ceil(needed / 300)


def test_a_job_that_may_need_more_than_the_limit_asks_for_the_limit():
    found = cost(6500)
    assert (found.jobs, found.walltime_min) == (1, 120)


def test_the_interval_of_node_hours_is_that_of_the_step_time():
    narrow, wide = cost(1800), cost(1800, model=steady(sd=0.5))
    for found in (narrow, wide):
        assert found.node_hours_low < found.node_hours < found.node_hours_high
    assert wide.node_hours_high / wide.node_hours_low > narrow.node_hours_high / narrow.node_hours_low


jobs_of = st.integers(1, 200_000)


@given(jobs_of, st.integers(1, 90), st.integers(1, 45))
def test_node_hours_are_the_work_and_one_start_a_job(steps, epochs, nodes):
    found = cost(steps * epochs, epochs, Where(nodes, 6))
    parts = found.train_sec + found.eval_sec + found.checkpoint_sec + found.jobs * START_SEC
    assert found.wall_sec == pytest.approx(parts)
    assert found.checkpoint_sec == (epochs - 1) * CHECKPOINT_SEC + (found.jobs - 1) * PAUSE_SEC
    assert found.node_hours == pytest.approx(nodes * parts / 3600)


@given(jobs_of)
def test_a_chain_has_as_few_jobs_as_hold_the_work(steps):
    found = cost(steps)
    longest_sec = 1 + VAL_IMAGES / 240 / 3 + CHECKPOINT_SEC
    a_job_sec = 7200 - SUMMIT.margin_sec - START_SEC - 2 * longest_sec - 2 * WRITE_SEC
    work_sec = found.train_sec + found.eval_sec

    def holds(jobs: int) -> bool:
        return work_sec + (jobs - 1) * PAUSE_SEC <= jobs * a_job_sec + 1e-6

    assert holds(found.jobs) and (found.jobs == 1 or not holds(found.jobs - 1))


@given(st.integers(2, 20_000), st.data())
def test_resuming_costs_less_the_more_is_done(steps, data):
    less, more = sorted(data.draw(st.lists(st.integers(0, steps - 1), min_size=2, max_size=2, unique=True)))
    before, after = (cost(steps, steps_done=done) for done in (less, more))
    assert after.train_sec == pytest.approx(steps - more)
    assert after.node_hours < before.node_hours


def test_resuming_in_an_epoch_validates_at_its_end():
    one = VAL_IMAGES / 240 / 3
    assert cost(400, epochs=4, steps_done=150).eval_sec == pytest.approx(3 * one)
    assert cost(400, epochs=4, steps_done=200).eval_sec == pytest.approx(2 * one)


@given(st.integers(240, 5000), st.integers(1, 8), st.data())
def test_validations_left_are_those_of_the_trainers_epochs(images, epochs, data):
    recipe = make_recipe(
        epochs=epochs, workers=240, mini_batch_size=240, last_batch="carry", **{"decay.kind": "cosine"}
    )
    run = make_run(recipe, make_dataset(images, num_val_images=VAL_IMAGES), 1)
    clock = EpochClock(images, 240, "carry")
    done = data.draw(st.integers(0, run.total_steps - 1))
    left = [epoch for epoch in range(1, epochs + 1) if clock.steps_until(epoch) > done]
    found = run_cost(run, FORTY, SUMMIT, steady(), Planning(), done)
    assert found.eval_sec == pytest.approx(len(left) * VAL_IMAGES / 240 / 3)


@pytest.mark.parametrize("images", [1, 8, 32])
def test_validation_takes_as_long_whatever_the_steps_are(images):
    recipe = make_recipe(epochs=1, workers=240, mini_batch_size=240 * images, **{"decay.kind": "cosine"})
    run = make_run(recipe, make_dataset(240 * 320, num_val_images=VAL_IMAGES), 1)
    machine = changed(steady().hardware, launch_floor_sec=16.0)
    model = calibrate(workload("resnet50", 224, 1000, "fp32"), machine, [])
    assert run_cost(run, FORTY, Site(), model, Planning()).eval_sec == pytest.approx(VAL_IMAGES / 240 / 3)


def test_checkpoints_by_the_clock_are_as_many_as_fit_in():
    found = cost(3600, epochs=4, placement=Placement(checkpoint_minutes=10))
    assert found.checkpoint_sec == 6 * CHECKPOINT_SEC
    for minutes in (0, 0.001):  # at most one a step
        assert cost(50, placement=Placement(checkpoint_minutes=minutes)).checkpoint_sec == 49 * CHECKPOINT_SEC


def test_a_queue_that_is_too_short_to_train_in_is_one_line_that_says_so():
    site = SUMMIT.model_copy(update={"walltime": [SUMMIT.walltime[0].model_copy(update={"minutes": 4})]})
    with pytest.raises(PlanningError) as caught:
        cost(site=site)
    (line,) = caught.value.lines
    assert "a job on 40 nodes may run 4 minutes, but margin_sec 120, 90 s to start" in line
    longest_sec = 1 + VAL_IMAGES / 240 / 3 + CHECKPOINT_SEC
    assert f"{2 * longest_sec + 2 * WRITE_SEC + PAUSE_SEC:.0f} s to pause" in line
    assert "allow other placement.nodes" in line


@given(
    st.sampled_from([1, 2, 5, 12, 20]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 8, 32]),
    st.sampled_from([16, 64, 224]),
    st.sampled_from(["auto", 1, 3, 8]),
    st.booleans(),
    st.sampled_from([1, 2, 4]),
)
def test_workers_go_through_the_model_together_as_in_the_trainer(
    workers, ranks, images, image_size, asked, on_cpu, parts
):
    placement = Placement(workers_per_pass=asked)
    recipe = make_recipe(
        model="resnet8",
        workers=workers * ranks,
        mini_batch_size=workers * ranks * images * parts,
        batchnorm_batch_size=images,
    )
    run = make_run(recipe, make_dataset(10_000, image_size=image_size), 1)
    speed = choose_speed(
        placement.model_dump(),
        {"model": "resnet8", "dataset": {"image_size": image_size}, "optimizer": {"name": "sgd"}, "precision": "fp32"},
        nn.Identity(),
        images_a_worker=micro_batch_size(run.content),
        workers=workers * parts,
        ranks=ranks,
        device=torch.device("cpu" if on_cpu else "cuda"),
    )
    shape = step_shape(run, Where(1, ranks), placement, on_cpu=on_cpu)
    assert shape.workers_per_pass == speed.workers_per_pass
    assert shape.passes * shape.workers_per_pass == workers * parts
    assert shape.mini_batch_size == recipe.mini_batch_size


@pytest.mark.parametrize(
    ("asked", "on_cpu", "overlaps"),
    [
        ({}, False, True),
        ({"compile": "default"}, True, False),
        ({"cuda_graphs": True}, False, False),
        ({"cuda_graphs": True}, True, True),  # without effect there
        ({"zero_stage": 1}, False, False),
    ],
)
def test_what_hands_over_gradients_all_at_once_hides_no_communication(asked, on_cpu, overlaps):
    shape = step_shape(run_of_steps(100), FORTY, Placement(**asked), on_cpu=on_cpu)
    assert shape.overlaps == overlaps
