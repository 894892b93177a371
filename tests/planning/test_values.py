from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.machines import RESNET50
from warmscale.planning.hardware import PRECISIONS, PRESETS
from warmscale.planning.step_time import training_pass_sec
from warmscale.planning.values import FITTED, machine_at, point_of, sds_of, slopes
from warmscale.planning.workload import workload

machines = st.sampled_from(list(PRESETS.values()))


@given(machines, st.sampled_from(PRECISIONS))
def test_a_machine_is_found_again_at_its_point(machine, precision):
    work = workload("resnet18", 64, 10, precision)
    again = machine_at(point_of(machine, work), machine, work)
    for name in FITTED:
        assert again.value(name, precision).of == pytest.approx(machine.value(name, precision).of)
    assert list(sds_of(machine, work)) == [machine.value(name, precision).sd for name in FITTED]


@given(machines, st.lists(st.floats(-3, 3), min_size=len(FITTED), max_size=len(FITTED)))
def test_wherever_a_fit_goes_values_are_positive_and_shares_between_0_and_1(machine, steps):
    there = machine_at(point_of(machine, RESNET50) + np.array(steps), machine, RESNET50)
    assert all(there.value(name, "fp32").of > 0 for name in FITTED)
    assert there.overlap_share.of < 1


def test_other_precisions_keep_their_rates():
    machine = PRESETS["summit-v100"]
    there = machine_at(point_of(machine, RESNET50) + 1, machine, RESNET50)
    assert there.images_per_sec["fp16"] == machine.images_per_sec["fp16"]
    assert there.images_per_sec["fp32"].of == pytest.approx(np.e * 367)


def test_the_time_of_large_passes_falls_as_the_rate_rises():
    machine = PRESETS["summit-v100"]

    def log_time(point):
        return np.log([training_pass_sec(10_000, RESNET50, machine_at(point, machine, RESNET50))])

    found = dict(zip(FITTED, slopes(log_time, point_of(machine, RESNET50))[0], strict=True))
    assert found.pop("images_per_sec") == pytest.approx(-1, abs=1e-3)
    assert all(abs(slope) < 1e-3 for slope in found.values())
