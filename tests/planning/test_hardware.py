from __future__ import annotations

from typing import get_args

import pytest

from tests.planning.machines import RESNET50
from warmscale.planning.hardware import PRECISIONS, PRESETS, SHARES, preset
from warmscale.planning.step_time import StepShape, step_time
from warmscale.planning.values import FITTED
from warmscale.planning.workload import PlanningError
from warmscale.study.planning import HardwareName

OTHERS = ("evaluation_speedup", "start_up_sec", "checkpoint_sec", "checkpoint_write_sec")
VALUES = [
    (name, value, precision)
    for name in PRESETS
    for value in (*FITTED, *OTHERS)
    for precision in (PRECISIONS if value == "images_per_sec" else ("fp32",))
]


@pytest.mark.parametrize(("machine", "name", "precision"), VALUES)
def test_every_number_says_where_it_is_from(machine, name, precision):
    value = PRESETS[machine].value(name, precision)
    assert value.of > 0 and value.sd > 0
    assert value.of < 1 or name not in SHARES
    assert value.provenance in ("published", "assumed")
    assert value.provenance == "assumed" or any(who in value.source for who in ("NVIDIA", "NCCL", "OLCF"))


def test_the_config_offers_the_machines_that_are_known():
    assert set(get_args(HardwareName)) == set(PRESETS)


def test_published_numbers_are_surer_than_assumed_ones_of_the_same_kind():
    summit = PRESETS["summit-v100"].images_per_sec
    assert summit["fp32"].provenance == "published" and summit["fp64"].provenance == "assumed"
    assert summit["fp32"].sd < summit["fp64"].sd


def test_a_v100_has_no_tf32():
    tf32, fp32 = (PRESETS["summit-v100"].images_per_sec[name] for name in ("tf32", "fp32"))
    assert (tf32.of, tf32.sd, tf32.provenance) == (fp32.of, fp32.sd, "assumed")


def test_latencies_name_the_version_of_nccl():
    for name in ("summit-v100", "h100-node", "h200-node"):
        assert "NCCL 2.17.1" in PRESETS[name].intra_latency_sec.source


def test_without_a_name_it_is_a_cpu_and_an_unknown_one_is_one_line():
    assert preset(None) is PRESETS["cpu"]
    with pytest.raises(PlanningError, match=r"planning\.hardware: abacus is none of summit-v100, h100-node"):
        preset("abacus")


@pytest.mark.parametrize(("precision", "one", "eight"), [("fp32", 367, 2855), ("fp16", 1200, 8322)])
def test_summits_preset_gives_nvidias_throughput_of_one_and_eight_v100s_within_an_eighth(precision, one, eight):
    # NVIDIA DeepLearningExamples, ResNet-50 on a DGX-1; 256 images a GPU
    machine = PRESETS["summit-v100"]
    work = type(RESNET50)(**{**RESNET50.__dict__, "precision": precision})
    for ranks, published in ((1, one), (8, eight)):
        shape = StepShape(1, ranks, ranks, 256)
        predicted = shape.mini_batch_size / step_time(shape, work, machine, has_input=False).step_sec
        assert predicted == pytest.approx(published, rel=1 / 8)
