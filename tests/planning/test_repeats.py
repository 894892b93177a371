from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.machines import measured_on, weak
from warmscale.planning.hardware import PRESETS
from warmscale.planning.repeats import repeat_variance, times_of

SUMMIT = PRESETS["summit-v100"]
ONE = measured_on(SUMMIT, weak(2), apart=False)
seconds = st.floats(0.01, 10)


@given(st.lists(seconds, min_size=1, max_size=9))
def test_of_equal_shapes_there_is_one_time_the_median(found):
    (time,) = times_of([replace(ONE, step_sec=sec) for sec in found])
    assert time.log == pytest.approx(statistics.median(map(math.log, found)))
    assert (time.shape, time.part, len(time.logs)) == (ONE.shape, "step_sec", len(found))


def test_kinds_of_time_of_one_shape_count_together_as_the_square_root_of_their_number():
    apart, trained = measured_on(SUMMIT, weak(2)), replace(ONE, has_input=True)
    times = times_of([apart, apart, trained, measured_on(SUMMIT, weak(4), apart=False)])
    kinds = [(time.shape.nodes, time.has_input, time.part) for time in times]
    two = [(2, False, "step_sec"), (2, False, "alone_sec"), (2, False, "communication_sec"), (2, True, "step_sec")]
    assert kinds == [*two, (4, False, "step_sec")]
    assert sum(time.weight**2 for time in times[:4]) == pytest.approx(math.sqrt(4))
    assert times[4].weight == 1


def test_without_repeats_they_differ_by_nothing():
    assert repeat_variance(times_of([ONE, measured_on(SUMMIT, weak(4))]))[0] == 0
    assert repeat_variance([])[0] == 0


@given(st.lists(st.lists(seconds, min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_variance_of_repeats_is_pooled_over_shapes_but_for_what_a_mean_of_them_keeps(found):
    made = [
        replace(measured_on(SUMMIT, weak(nodes)), step_sec=sec) for nodes, own in enumerate(found, 1) for sec in own
    ]
    variance, dof = repeat_variance(times_of(made))
    assert variance == pytest.approx(np.mean(np.var(np.log(found), axis=1, ddof=1)) * 2 / 3)
    assert dof == 2 * len(found)
