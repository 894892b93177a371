"""Throughput by placement: means, the ideal, and how much of it is reached."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from warmscale.analysis.scaling_frames import families, placements, ratio_frame, throughput_frame, trainings_frame

from .measured_rows import COMMUNICATION_SEC, RATE, measured, table_of, throughput_of


def at(frame: pd.DataFrame, **wanted: object) -> pd.Series:
    """The one row with these values."""
    chosen = frame
    for name, value in wanted.items():
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_a_placement_is_the_geometric_mean_over_its_repeats_with_students_interval():
    row = at(placements(throughput_of()), nodes=2, worker_batch_size=64)
    values = [measured(2, 64, repeat)["images_per_sec"] for repeat in (1, 2, 3)]
    logs = np.log(values)
    expected = np.exp(stats.t.interval(0.95, 2, np.mean(logs), stats.sem(logs)))
    assert (row["n"], row["failed"], row["pending"]) == (3, 0, 0)
    assert row["images_per_sec"] == pytest.approx(stats.gmean(values))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(expected)


def test_one_repeat_has_a_mean_and_no_interval():
    row = at(placements(throughput_of(nodes=[2], batches=[64], repeats=1)), nodes=2)
    assert row["n"] == 1 and math.isnan(row["ci_low"])
    assert row["images_per_sec"] == pytest.approx(measured(2, 64)["images_per_sec"])


def test_failed_and_pending_measurements_are_counted_and_no_part_of_a_mean():
    rows = [measured(2, 16, 1), measured(2, 16, 2, state="failed"), measured(2, 16, 3, state="running")]
    row = at(placements(table_of([*rows, measured(4, 16, state="pending", device_name=None)])), nodes=2)
    assert (row["n"], row["failed"], row["pending"]) == (1, 1, 1)
    assert row["images_per_sec"] == pytest.approx(measured(2, 16, 1)["images_per_sec"])


def test_a_placement_without_a_measurement_has_a_row_without_numbers():
    rows = [measured(1, 16), measured(4, 16, state="pending", device_name=None, workers_per_pass=None)]
    row = at(placements(table_of(rows)), nodes=4)
    assert row["n"] == 0 and row["pending"] == 1
    assert row[["images_per_sec", "computation_to_communication", "ci_low"]].isna().all()


def test_the_overlap_is_of_the_means_and_not_a_mean_of_ratios():
    exposed, communication = [0.01, -0.004, 0.03], [0.02, 0.01, 0.1]
    pairs = zip(exposed, communication, strict=True)
    rows = [
        measured(2, 16, repeat) | {"exposed_sec": hidden, "communication_sec": whole, "overlap": 1 - hidden / whole}
        for repeat, (hidden, whole) in enumerate(pairs, start=1)
    ]
    row = at(placements(table_of(rows)), nodes=2)
    assert row["overlap"] == pytest.approx(1 - 0.036 / 0.13)
    assert abs(row["overlap"] - np.mean([each["overlap"] for each in rows])) > 0.05
    assert at(placements(throughput_of(batches=(16,))), nodes=1)[["overlap"]].isna().all()  # nothing to average


def test_averaging_that_is_wholly_exposed_overlaps_by_nothing():
    row = at(placements(throughput_of((2,), (16,), repeats=1, slower=1 / 0.99)), nodes=2)
    assert row["exposed_sec"] == pytest.approx(COMMUNICATION_SEC) and row["overlap"] == pytest.approx(0.0)


def test_weak_efficiency_has_the_closed_form_of_its_machine():
    frame = families(placements(throughput_of(nodes=(1, 2, 8), batches=(16, 64))))
    assert set(frame["scaling"]) == {"weak"}
    for batch in (16, 64):
        row = at(frame, nodes=8, worker_batch_size=batch)
        computation = batch / RATE
        assert row["efficiency"] == pytest.approx(computation / (computation + COMMUNICATION_SEC))
        assert row["ideal"] == pytest.approx(8 * at(frame, nodes=1, worker_batch_size=batch)["images_per_sec"])


def test_strong_efficiency_has_the_closed_form_of_its_machine():
    frame = families(placements(throughput_of(nodes=(1, 2, 8), batches=(16,), workers=8)))
    assert set(frame["scaling"]) == {"strong"}
    whole = 8 * 16 / RATE
    for nodes in (2, 8):
        expected = whole / nodes / (whole / nodes + COMMUNICATION_SEC)
        assert at(frame, nodes=nodes)["efficiency"] == pytest.approx(expected)


def test_the_smallest_placement_is_its_own_ideal_without_an_interval():
    row = at(families(placements(throughput_of(batches=(16,)))), nodes=1)
    assert (row["efficiency"], row["base_ranks"], row["base_n"]) == (1.0, 1, 3)
    assert math.isnan(row["efficiency_low"]) and math.isnan(row["efficiency_high"])


def test_the_interval_of_an_efficiency_is_welchs_on_the_logarithm():
    row = at(families(placements(throughput_of(batches=(16,)))), nodes=4)
    means, errors = [], []
    for nodes in (4, 1):
        values = [measured(nodes, 16, repeat)["images_per_sec"] for repeat in (1, 2, 3)]
        means.append(stats.gmean(values))
        errors.append(stats.sem(np.log(values)) ** 2)
    freedom = sum(errors) ** 2 / sum(error**2 / 2 for error in errors)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(errors))
    efficiency = means[0] / means[1] / 4
    assert row["efficiency"] == pytest.approx(efficiency)
    ends = (efficiency * math.exp(-half), efficiency * math.exp(half))
    assert (row["efficiency_low"], row["efficiency_high"]) == pytest.approx(ends)


def test_without_two_repeats_on_both_sides_an_efficiency_has_no_interval():
    rows = [measured(1, 16), *(measured(2, 16, repeat) for repeat in (1, 2, 3))]
    row = at(families(placements(table_of(rows))), nodes=2)
    assert row["efficiency"] > 0 and math.isnan(row["efficiency_low"])


def test_equal_repeats_have_an_interval_of_no_width():
    rows = [measured(nodes, 16, 2) | {"repeat": repeat} for nodes in (1, 2) for repeat in (1, 2)]
    row = at(families(placements(table_of(rows))), nodes=2)
    assert row["efficiency_low"] == row["efficiency"] == row["efficiency_high"]


def test_ranks_alone_make_a_family():
    # two ranks on one node and on two: as many ranks, so nothing scales
    rows = [measured(1, 16, repeat, a_node=2) for repeat in (1, 2)] + [measured(2, 16, repeat) for repeat in (1, 2)]
    assert families(placements(table_of(rows))).empty
    assert set(throughput_frame(placements(table_of(rows)))["scaling"]) == {"alone"}


WAYS = [measured(nodes, 16, repeat, a_node=a_node) for nodes in (1, 2) for a_node in (1, 2) for repeat in (1, 2, 3)]


def test_ranks_on_nodes_in_several_ways_are_several_lines():
    frame = throughput_frame(placements(table_of(WAYS)))
    assert frame.sort_values("order")["series"].unique().tolist() == [
        "16 images a worker,\n1 rank a node",
        "16 images a worker,\n2 ranks a node",
    ]
    assert not frame.duplicated(["series", "ranks"]).any()
    one_node = throughput_frame(placements(table_of([row for row in WAYS if row["nodes"] == 1])))
    assert set(one_node["series"]) == {"16 images a worker"}  # ranks are what is added


def test_an_efficiency_is_against_fewer_ranks_only():
    more = table_of([row for row in WAYS if row["ranks"] > 1])
    frame = families(placements(more))
    assert at(frame, nodes=1)["efficiency"] == 1.0
    assert math.isnan(at(frame, nodes=2, ranks_per_node=1)["efficiency"])  # two ranks as well
    assert at(frame, nodes=2, ranks_per_node=2)["efficiency"] > 0


def test_devices_are_lines_of_their_own_and_what_is_missing_stands_in_each():
    rows = [
        measured(nodes, 16, repeat, device_name=device)
        for nodes in (2, 4) for device in ("A100", "V100") for repeat in (1, 2)
    ]  # fmt: skip
    found = placements(table_of([*rows, measured(8, 16, state="pending", device_name=None)]))
    for frame, name in ((throughput_frame(found), "16 images a worker"), (ratio_frame(found), "2 ranks on 2 nodes")):
        assert {f"{name},\nA100", f"{name},\nV100"} <= set(frame["series"])
        assert not frame.duplicated(["series", "ranks"]).any()
        assert (frame["ranks"] == 8).sum() == 2


@given(st.lists(st.floats(1e-2, 1e3), min_size=3, max_size=3))
def test_intervals_of_ratios_and_speeds_are_above_zero(ratios):
    rows = [
        measured(2, 16, repeat) | {"computation_to_communication": ratio, "images_per_sec": 100 * ratio}
        for repeat, ratio in enumerate(ratios, start=1)
    ]
    row = at(placements(table_of(rows)), nodes=2)
    assert 0 <= row["ratio_low"] <= row["computation_to_communication"] * (1 + 1e-9)
    assert row["computation_to_communication"] == pytest.approx(stats.gmean(ratios))
    assert 0 <= row["ci_low"] <= row["images_per_sec"] * (1 + 1e-9)


def test_other_devices_and_other_precisions_are_not_compared():
    rows = [
        measured(1, 16),
        measured(2, 16, device_name="H200"),
        measured(4, 16, precision="bf16"),
    ]
    assert families(placements(table_of(rows))).empty


def test_what_is_not_measured_yet_stands_on_the_ideal_line():
    rows = [*(measured(1, 16, repeat) for repeat in (1, 2, 3)), measured(4, 16, state="pending", device_name=None)]
    row = at(families(placements(table_of(rows))), nodes=4)
    assert row["n"] == 0 and math.isnan(row["efficiency"])
    assert row["ideal"] == pytest.approx(
        4 * stats.gmean([measured(1, 16, repeat)["images_per_sec"] for repeat in (1, 2, 3)])
    )


def test_the_ideal_is_of_the_smallest_placement_that_was_measured():
    rows = [measured(1, 16, state="failed"), *(measured(nodes, 16, repeat) for nodes in (2, 4) for repeat in (1, 2))]
    frame = families(placements(table_of(rows)))
    assert at(frame, nodes=2)["efficiency"] == 1.0
    assert at(frame, nodes=1)["ideal"] == pytest.approx(at(frame, nodes=2)["images_per_sec"] / 2)
    assert set(frame["base_ranks"]) == {2}


def test_lines_are_named_by_what_is_held():
    weak = throughput_frame(placements(throughput_of(batches=(64, 16))))
    assert weak.sort_values("order")["series"].unique().tolist() == ["16 images a worker", "64 images a worker"]
    strong = throughput_frame(placements(throughput_of(batches=(16,), workers=4)))
    assert set(strong["series"]) == {"4 workers of 16 images"}


def test_trainings_stand_beside_the_line_of_their_batch_only():
    found = placements(throughput_of())
    trained = placements(throughput_of(nodes=(2,), batches=(16, 128), slower=2.0, data="dataset", engine=None))
    frame = throughput_frame(found, trained)
    beside = frame[frame["source"] == "trainings"]
    assert beside[["nodes", "worker_batch_size", "series"]].values.tolist() == [[2, 16, "16 images a worker"]]


def test_one_rank_has_no_ratio():
    frame = ratio_frame(placements(throughput_of(nodes=(1, 2, 4), batches=(16, 64))))
    assert set(frame["ranks"]) == {2, 4}
    row = at(frame, nodes=2, worker_batch_size=64)
    assert row["computation_to_communication"] == pytest.approx(64 / RATE / COMMUNICATION_SEC)
    assert row["series"] == "2 ranks on 2 nodes"


@settings(max_examples=20)
@given(
    slower=st.floats(1e-3, 1e3),
    nodes=st.lists(st.integers(1, 64), min_size=2, max_size=4, unique=True),
    wider=st.floats(0, 1),
)
def test_efficiencies_do_not_depend_on_how_fast_the_machine_is(slower, nodes, wider):
    plain, slow = (
        families(placements(throughput_of(nodes, (16,), wider=wider, slower=factor))) for factor in (1.0, slower)
    )
    columns = ["efficiency", "efficiency_low", "efficiency_high"]
    np.testing.assert_allclose(slow[columns], plain[columns], rtol=1e-9)
    assert plain["efficiency"].max() <= 1 + 1e-12


UNKNOWN = {"data": "dataset", "engine": None, "zero_stage": None}
"""What the table of runs does not say of trainings."""


def test_trainings_alone_have_families_of_their_own():
    rows = pd.concat(
        [throughput_of((1, 4), (16,), **UNKNOWN), throughput_of((1, 4), (16,), workers=4, **UNKNOWN)],
        ignore_index=True,
    )
    frame = trainings_frame(placements(rows))
    assert set(frame["source"]) == {"trainings"}
    assert set(zip(frame["series"], frame["scaling"], strict=True)) == {
        ("16 images a worker", "weak"),
        ("4 workers of 16 images", "strong"),
    }
    for scaling, batch in (("weak", 16), ("strong", 4 * 16)):
        computation = batch / RATE / (1 if scaling == "weak" else 4)
        row = at(frame, scaling=scaling, nodes=4)
        assert row["efficiency"] == pytest.approx(computation / (computation + COMMUNICATION_SEC))


def test_ranks_a_node_of_trainings_tell_lines_apart_only_where_as_many_ranks_stood_in_several_ways():
    rows = [
        measured(*place, 16, repeat, a_node=a_node, **UNKNOWN)
        for place, a_node in [((1,), 2), ((2,), 3)]
        for repeat in (1, 2)
    ]
    assert set(trainings_frame(placements(table_of(rows)))["series"]) == {"16 images a worker"}
    rows += [measured(2, 16, repeat, **UNKNOWN) for repeat in (1, 2)]  # two ranks on two nodes
    assert trainings_frame(placements(table_of(rows)))["series"].nunique() == 3


def test_trainings_of_two_models_are_two_lines_and_none_is_lost():
    alike, other = (
        throughput_of(nodes, (16,), model=model, **UNKNOWN)
        for nodes, model in (((1, 2), "resnet50"), ((2,), "resnet18"))
    )
    frame = trainings_frame(placements(pd.concat([alike, other], ignore_index=True)))
    assert frame[["model", "scaling", "nodes"]].values.tolist() == [
        ["resnet50", "weak", 1], ["resnet50", "weak", 2], ["resnet18", "alone", 2],
    ]  # fmt: skip
    assert set(frame["series"]) == {"16 images a worker,\nresnet50", "16 images a worker,\nresnet18"}
