from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.planning.coverage import LARGE, SMALL, Setting, coverage
from tests.planning.machines import RESNET50, changed, compared, measured_on, predict_larger, weak
from warmscale.planning.calibration import SPREAD, calibrate
from warmscale.planning.hardware import PRESETS
from warmscale.planning.measured import Measured
from warmscale.planning.step_time import StepShape, step_time, validation_image_sec
from warmscale.planning.values import FITTED
from warmscale.planning.workload import workload

SUMMIT = PRESETS["summit-v100"]
MACHINES = 30
"""Of four predictions each, which rise and fall together."""


def test_without_measurements_the_preset_predicts_with_a_wide_interval():
    model = calibrate(RESNET50, SUMMIT, [])
    shape = weak(40)
    predicted = model.predict(shape)
    assert not model.is_fitted and model.hardware == SUMMIT
    assert predicted.step_sec == step_time(shape, RESNET50, SUMMIT).step_sec
    assert 1.3 < predicted.high_sec / predicted.step_sec < 3
    assert predicted.step_sec / predicted.low_sec == pytest.approx(predicted.high_sec / predicted.step_sec)


def test_planted_hardware_is_recovered():
    planted = changed(SUMMIT, images_per_sec=280, nic_bytes_per_sec=6e9, launch_floor_sec=0.05, overlap_share=0.4)
    model = calibrate(RESNET50, SUMMIT, [measured_on(planted, shape) for shape in SMALL])
    found = {name: model.hardware.value(name, "fp32") for name in FITTED}
    for name, tolerance in {"images_per_sec": 0.02, "launch_floor_sec": 0.05, "nic_bytes_per_sec": 0.1}.items():
        assert found[name].provenance == "fitted"
        assert found[name].of == pytest.approx(planted.value(name, "fp32").of, rel=tolerance)
    assert found["images_per_sec"].source.startswith("fitted to 12 measurements of 12 shapes; published before: 367")


def test_what_measurements_say_nothing_of_stays_as_it_was():
    model = calibrate(RESNET50, SUMMIT, [measured_on(SUMMIT, weak(1, 1, images)) for images in (32, 64, 128)])
    for name in ("nic_bytes_per_sec", "inter_latency_sec", "input_images_per_sec", "overlap_share"):
        value, was = model.hardware.value(name, "fp32"), SUMMIT.value(name, "fp32")
        assert (value.provenance, value.source) == (was.provenance, was.source)
        assert value.of == pytest.approx(was.of)
    assert model.hardware.value("images_per_sec", "fp32").provenance == "fitted"


def test_measurements_narrow_the_interval_most_where_they_are():
    planted = changed(SUMMIT, images_per_sec=300)
    before = calibrate(RESNET50, SUMMIT, [])
    after = calibrate(RESNET50, SUMMIT, [measured_on(planted, weak(1, 6, images)) for images in (16, 32, 64)])

    def width(model, shape):
        return math.log(model.predict(shape).high_sec / model.predict(shape).low_sec)

    for shape in (weak(1, 6, 32), weak(40, 6, 16)):
        assert width(after, shape) < width(before, shape)
    assert width(after, weak(1, 6, 32)) < width(after, weak(40, 6, 4))


def test_predictions_of_larger_placements_hold_planted_measurements():
    planted = changed(SUMMIT, images_per_sec=290, nic_bytes_per_sec=8e9, straggler_cv=0.04, overlap_share=0.6)
    model = calibrate(RESNET50, SUMMIT, [measured_on(planted, shape) for shape in SMALL])
    found = compared(model, [measured_on(planted, shape) for shape in LARGE])
    assert all(each.is_inside and each.ratio == pytest.approx(1, abs=0.1) for each in found)


def test_placements_are_predicted_from_smaller_ones_only():
    planted = changed(SUMMIT, images_per_sec=290, nic_bytes_per_sec=8e9)
    all_of_them = [measured_on(planted, shape) for shape in SMALL]
    found = predict_larger(RESNET50, SUMMIT, all_of_them)
    assert {each.measured.shape.ranks for each in found} == {6, 12, 24}
    # whatever is measured on the most ranks, it is predicted the same
    wrong = [replace(each, step_sec=each.step_sec * 3) if each.shape.ranks == 24 else each for each in all_of_them]
    for before, after in zip(found, predict_larger(RESNET50, SUMMIT, wrong), strict=True):
        assert before.predicted == after.predicted
    assert sum(not each.is_inside for each in predict_larger(RESNET50, SUMMIT, wrong)) >= 3


def test_a_time_of_communication_on_one_rank_is_passed_over():
    alone = replace(measured_on(SUMMIT, weak(1, 1)), communication_sec=0.1)
    without = replace(alone, communication_sec=None)
    found, expected = (calibrate(RESNET50, SUMMIT, [each]).predict(weak(1)) for each in (alone, without))
    assert found == expected


def test_repeats_that_differ_widen_the_interval():
    def half_width(noise: float) -> float:
        made = [measured_on(SUMMIT, shape, noise=noise**sign) for shape in SMALL for sign in (-1, 1)]
        predicted = calibrate(RESNET50, SUMMIT, made).predict(weak(2))
        return math.log(predicted.high_sec / predicted.step_sec)

    assert half_width(1.02) < half_width(1.1) < half_width(1.5)
    assert half_width(1.5) == pytest.approx(2 * math.log(1.5), rel=0.2)  # two standard deviations


@pytest.mark.parametrize("repeats", [1, 3, 30])
def test_intervals_hold_however_often_a_shape_is_measured_that_the_model_misses(repeats):
    setting = Setting(SMALL[-3:], LARGE, noise=0.01, model_error=0.08, repeats=repeats, apart=False)
    assert coverage(setting, MACHINES)[0] >= 0.9


def test_repeats_of_a_shape_count_once():
    once = [measured_on(SUMMIT, shape, noise=0.9) for shape in SMALL[:3]]
    one, many = (calibrate(RESNET50, SUMMIT, made) for made in (once, once * 30))
    assert many.predict(weak(8)) == one.predict(weak(8))
    assert len(many.measured) == 90
    source = many.hardware.images_per_sec["fp32"].source
    assert source.startswith("fitted to 90 measurements of 3 shapes")


def test_of_repeats_the_middle_counts():
    one = measured_on(SUMMIT, weak(1, 1), apart=False)
    slow = replace(one, step_sec=one.step_sec * 20)
    alone, among = (calibrate(RESNET50, SUMMIT, made).predict(weak(1, 1)) for made in ([one], [slow, one, one]))
    assert among.step_sec == pytest.approx(alone.step_sec)
    assert among.high_sec > alone.high_sec  # of one further measurement, which may be as slow


def test_computation_is_timed_with_its_stragglers():
    planted = changed(SUMMIT, images_per_sec=250, straggler_cv=0.3)
    shapes = [weak(nodes, ranks, images) for nodes, ranks in ((1, 1), (1, 6), (4, 6)) for images in (32, 128)]
    model = calibrate(RESNET50, SUMMIT, [measured_on(planted, shape) for shape in shapes])
    assert model.hardware.images_per_sec["fp32"].of == pytest.approx(250, rel=0.02)
    assert model.hardware.straggler_cv.of == pytest.approx(0.3, rel=0.2)


def test_steps_that_wait_for_images_tell_what_input_takes_and_nothing_of_computation():
    planted = changed(SUMMIT, input_images_per_sec=60)
    made = [measured_on(planted, weak(1, 1, images), has_input=True) for images in (32, 64, 128)]
    machine = calibrate(RESNET50, SUMMIT, made).hardware
    assert machine.input_images_per_sec.of == pytest.approx(60, rel=0.05)
    assert machine.input_images_per_sec.provenance == "fitted"
    rate, was = machine.images_per_sec["fp32"], SUMMIT.images_per_sec["fp32"]
    assert (rate.of, rate.provenance) == (pytest.approx(was.of), was.provenance)


@pytest.mark.parametrize("apart", [True, False])
def test_intervals_of_95_percent_hold_about_95_percent(apart):
    assert 0.90 <= coverage(Setting(SMALL, LARGE, noise=0.08, apart=apart), MACHINES)[0] <= 0.99


def of_this_machine(model: str, ranks: int, image_size: int, images: int, step_ms: float) -> Measured:
    """A row of benchmarks/results/step.csv (ours, engine: deepspeed; AMD EPYC, 2 cores)."""
    return Measured(
        shape=StepShape(1, ranks, ranks, images),
        step_sec=step_ms / 1000,
        computation_sec=None,
        communication_sec=None,
        source=f"step.csv, {model} on {ranks} ranks",
        model=model,
        image_size=image_size,
        precision="fp32",
        device="AMD EPYC",
        has_input=False,
    )


@pytest.mark.parametrize(
    ("model", "image_size", "images", "one_ms", "two_ms"),
    [("resnet8", 16, 32, 8.22, 13.3), ("resnet18", 64, 16, 128.85, 180.81)],
)
def test_two_ranks_of_this_machine_are_within_the_interval_predicted_from_one(
    model, image_size, images, one_ms, two_ms
):
    work = workload(model, image_size, 1000, "fp32")
    made = [of_this_machine(model, ranks, image_size, images, ms) for ranks, ms in ((1, one_ms), (2, two_ms))]
    (found,) = predict_larger(work, PRESETS["cpu"], made)
    assert found.is_inside


@pytest.mark.parametrize(
    ("device", "counts_for"),
    [
        ("Tesla V100-SXM2-16GB", {"summit-v100"}),
        ("NVIDIA H200", {"h200-node"}),
        ("NVIDIA H100 80GB HBM3", {"h100-node"}),
        ("NVIDIA A100-SXM4-80GB", {"summit-v100", "h100-node", "h200-node"}),
        ("AMD EPYC 9454 48-Core Processor", {"cpu"}),
        ("x86_64", {"cpu"}),
    ],
)
def test_measurements_of_another_known_device_do_not_count(device, counts_for):
    made = replace(measured_on(SUMMIT, weak(1)), device=device)
    assert {name for name, machine in PRESETS.items() if calibrate(RESNET50, machine, [made]).is_fitted} == counts_for


@pytest.mark.parametrize(
    "other", [{"model": "resnet18"}, {"image_size": 128}, {"precision": "fp16"}, {"precision": "tf32"}]
)
def test_measurements_of_another_workload_do_not_count(other):
    assert not calibrate(RESNET50, SUMMIT, [replace(measured_on(SUMMIT, weak(1)), **other)]).is_fitted


def test_fp32_is_no_tf32():
    made = [measured_on(SUMMIT, weak(1))]
    assert not calibrate(workload("resnet50", 224, 1000, "tf32"), SUMMIT, made).is_fitted


def trained(step_sec: float, **told: float) -> Measured:
    """What a finished training tells."""
    return replace(measured_on(SUMMIT, weak(1, 1, 1), apart=False, has_input=True), step_sec=step_sec, **told)


@pytest.mark.parametrize("step_sec", [0.03, 0.5])
def test_validation_is_as_fast_as_in_the_trainings_whatever_their_steps_take(step_sec):
    made = [trained(step_sec, eval_images_per_sec=rate) for rate in (640.0, 960.0, 1280.0)]
    machine = calibrate(RESNET50, SUMMIT, made).hardware
    assert 1 / validation_image_sec(RESNET50, machine) == pytest.approx(960.0)
    assert machine.evaluation_speedup.provenance == "fitted"


def test_validation_comes_no_faster_than_its_images():
    slow = changed(SUMMIT, input_images_per_sec=100)
    assert 1 / validation_image_sec(RESNET50, slow) == pytest.approx(100)
    assert 1 / validation_image_sec(RESNET50, SUMMIT) == pytest.approx(3 * 367)


def test_start_up_is_what_the_trainings_took_beside_steps_validations_and_checkpoints():
    waits = SUMMIT.checkpoint_sec.of
    made = [trained(0.1, start_up_sec=start, checkpoints=20) for start in (60.0, 70.0, None)]
    machine = calibrate(RESNET50, SUMMIT, made).hardware
    assert machine.start_up_sec.of == pytest.approx(65.0 - 20 * waits)
    assert machine.start_up_sec.provenance == "fitted"
    assert machine.checkpoint_sec == SUMMIT.checkpoint_sec


def test_the_surer_a_median_of_trainings_the_less_they_differ():
    def sd(*starts: float) -> float:
        made = [trained(0.1, start_up_sec=start) for start in starts]
        return calibrate(RESNET50, SUMMIT, made).hardware.start_up_sec.sd

    assert sd(60.0) == SPREAD
    assert sd(60.0, 60.0, 60.0) < SPREAD < sd(30.0, 60.0, 120.0)
