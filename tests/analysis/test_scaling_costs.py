"""What an epoch and the target cost, from runs and from measurements."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from warmscale.analysis.scaling_costs import (
    bytes_sent,
    costs_frame,
    epoch_costs,
    epochs_of_measurements,
    epochs_of_trainings,
    target_frame,
    training_rows,
)

from .measured_rows import GRADIENT_BYTES, measured, throughput_of

RUN = {"state": "finished", "total_steps": 200, "total_epochs": 10, "workers": 4, "mini_batch_size": 64}


def runs_of(*changes: dict) -> pd.DataFrame:
    """Runs on two ranks of a node, called a, b, c."""
    rows = [{"run_id": "abcdef"[index], "nodes": 1, "ranks": 2} | RUN | own for index, own in enumerate(changes)]
    return pd.DataFrame(rows)


def epochs_of(top1: dict[str, list[float]], train_sec: float = 1800.0) -> pd.DataFrame:
    """Epochs of half an hour with these accuracies."""
    rows = [
        {"run_id": run_id, "epoch": epoch, "top1": value, "train_sec": train_sec}
        for run_id, values in top1.items()
        for epoch, value in enumerate(values, start=1)
    ]
    return pd.DataFrame(rows)


def test_an_epoch_has_an_update_for_each_of_its_mini_batches():
    rows = epochs_of_trainings(runs_of({}), epochs_of({"a": [1.0] * 10}), {"a": 1e6})
    assert rows[["updates", "epoch_sec"]].values.tolist() == [[20.0, 1800.0]]


def test_a_ring_of_two_sends_all_gradients_once_and_a_large_one_twice():
    ranks, gradients = pd.Series([1, 2, 4, 10**6]), pd.Series([1e6] * 4)
    assert bytes_sent(ranks, gradients).tolist() == pytest.approx([0.0, 1e6, 1.5e6, 2e6])


def test_bytes_of_an_epoch_are_those_of_its_updates():
    rows = epochs_of_trainings(runs_of({}, {"ranks": 1}), epochs_of({"a": [1.0], "b": [1.0]}), {"a": 1e6, "b": 1e6})
    assert rows["bytes"].tolist() == [20 * 1e6, 0.0]


def test_a_model_whose_size_is_not_known_sends_an_unknown_number_of_bytes():
    rows = epochs_of_trainings(runs_of({}), epochs_of({"a": [1.0]}), {"a": math.nan})
    assert math.isnan(rows["bytes"].iloc[0]) and rows["updates"].iloc[0] == 20


def test_an_epoch_of_a_run_is_the_median_over_its_epochs_and_of_a_cell_the_mean_over_runs():
    epochs = pd.concat([epochs_of({"a": [1.0] * 3}), epochs_of({"b": [1.0] * 3}, 1806.0)], ignore_index=True)
    epochs.loc[0, "train_sec"] = 9999.0  # caches fill
    (row,) = epoch_costs(epochs_of_trainings(runs_of({}, {}), epochs, {}), "trainings").to_dict("records")
    logs = np.log([1800, 1806])
    assert (row["n"], row["epoch_sec"]) == (2, pytest.approx(stats.gmean([1800, 1806])))
    expected = np.exp(stats.t.interval(0.95, 1, np.mean(logs), stats.sem(logs)))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(expected)


@pytest.mark.parametrize("change", [{"state": "diverged"}, {"state": "failed"}, {"nodes": None}])
def test_only_finished_runs_of_one_placement_tell_what_an_epoch_takes(change):
    assert epochs_of_trainings(runs_of(change), epochs_of({"a": [1.0]}), {}).empty


def test_an_epoch_at_the_speed_of_a_measurement():
    rows = epochs_of_measurements(throughput_of(nodes=(2,), batches=(64,)), num_train_images=1300)
    (row,) = epoch_costs(rows, "measurements").to_dict("records")
    step_sec = stats.gmean([measured(2, 64, repeat)["step_sec"] for repeat in (1, 2, 3)])
    assert (row["updates"], row["bytes"], row["n"]) == (10, 10 * GRADIENT_BYTES, 3)  # 1300 // 128
    assert row["epoch_sec"] == pytest.approx(10 * step_sec)


def test_a_mini_batch_larger_than_the_training_set_has_no_epoch():
    assert epochs_of_measurements(throughput_of(nodes=(2,), batches=(64,)), num_train_images=100).empty


def test_lines_of_costs_are_placements():
    rows = epochs_of_trainings(runs_of({}, {"nodes": 4, "ranks": 24}), epochs_of({"a": [1.0], "b": [1.0]}), {})
    frame = costs_frame(epoch_costs(rows, "trainings"))
    assert frame["series"].tolist() == ["2 ranks on 1 node", "24 ranks on 4 nodes"]


@pytest.mark.parametrize(
    "changed",
    [{"model": "resnet18"}, {"precision": "bf16"}, {"data": "dataset"}, {"device_name": "A100"}, {"engine": "ddp"}],
)
def test_costs_of_what_is_not_alike_are_no_mean_and_no_line(changed):
    alike = throughput_of((2,), (16, 64))
    both = pd.concat([alike, throughput_of((2,), (16, 64), slower=0.3, **changed)], ignore_index=True)
    frame, alone = (
        costs_frame(epoch_costs(epochs_of_measurements(rows, 10_000), "measurements")) for rows in (both, alike)
    )
    ((column, level),) = changed.items()
    own = frame[frame[column] == alike[column].iloc[0]]
    assert own["epoch_sec"].tolist() == alone["epoch_sec"].tolist() and set(frame["n"]) == {3}
    assert f"2 ranks on 2 nodes,\n{level}" in set(frame["series"]) and frame["series"].nunique() == 2
    assert set(alone["series"]) == {"2 ranks on 2 nodes"}


def test_trainings_of_two_models_are_two_lines_of_costs():
    runs = runs_of({"model": "resnet50"}, {"model": "resnet18"}).assign(precision="fp32", tf32=True)
    rows = epochs_of_trainings(runs, epochs_of({"a": [1.0], "b": [1.0]}), {})
    assert rows["precision"].tolist() == ["tf32"] * 2
    frame = costs_frame(epoch_costs(rows, "trainings"))
    assert set(frame["series"]) == {"2 ranks on 1 node,\nresnet18", "2 ranks on 1 node,\nresnet50"}


def test_workers_are_lines_of_costs_unless_they_go_along_with_the_batch():
    def lines(*points):
        rows = [
            {"run_id": f"{index}", "nodes": 1, "ranks": 2, "workers": workers, "mini_batch_size": size, "updates": 9.0,
             "bytes": 9.0, "epoch_sec": 9.0}
            for index, (workers, size) in enumerate(points)
        ]  # fmt: skip
        return set(costs_frame(epoch_costs(pd.DataFrame(rows), "trainings"))["series"])

    place = "2 ranks on 1 node"
    assert lines((8, 64), (8, 256), (4, 64)) == {f"{place},\n8 workers", f"{place},\n4 workers"}
    assert f"{place},\n1 worker" in lines((1, 64), (1, 256), (4, 64))
    assert lines((4, 64), (8, 128)) == lines((4, 64), (4, 128)) == {place}


def reached(top1: dict[str, list[float]], **of_run: object) -> pd.DataFrame:
    """The frame of the target 75 of runs of one cell, on four nodes."""
    runs = runs_of(*({"nodes": 4, **of_run} for _ in top1))
    points = runs[["run_id"]].assign(level="64", seed=range(1, len(runs) + 1), mini_batch_size=64)
    return target_frame(points, runs, epochs_of(top1), ["mini_batch_size"], "top1", 75.0)


def test_the_target_is_reached_by_the_first_epoch_that_is_at_it():
    (row,) = reached({"a": [50.0, 75.0, 74.0, 80.0]}).to_dict("records")
    assert (row["reached"], row["epoch"], row["hours"], row["node_hours"]) == (1, 2, 1.0, 4.0)


def test_a_run_that_does_not_reach_it_has_the_hours_of_all_its_training():
    (row,) = reached({"a": [50.0, 60.0, 74.9]}).to_dict("records")
    assert (row["reached"], row["hours"]) == (0, 1.5) and math.isnan(row["epoch"])
    assert (row["n"], row["reached_of_n"]) == (1, 0)


def test_a_cell_has_a_mean_only_if_all_its_runs_reached_the_target():
    frame = reached({"a": [75.0], "b": [50.0, 75.0]})
    assert frame[["n", "reached_of_n", "mean", "node_mean"]].values.tolist() == [[2, 2, 0.75, 3.0]] * 2
    censored = reached({"a": [75.0], "b": [50.0, 60.0]})
    assert censored["reached_of_n"].tolist() == [1, 1] and censored[["mean", "ci_low"]].isna().all(axis=None)


@pytest.mark.parametrize("state", ["failed", "pending", "paused"])
def test_a_run_without_a_result_says_nothing_of_the_target(state):
    frame = reached({"a": [50.0, 80.0]}, state=state)
    assert frame[["reached", "hours", "node_hours"]].isna().all(axis=None) and frame["n"].tolist() == [0]


def test_a_diverged_run_has_not_reached_the_target_and_no_hours_that_would_be_few():
    frame = reached({"a": [50.0, 60.0]}, state="diverged")
    assert frame["reached"].tolist() == [0] and frame["n"].tolist() == [1]
    assert frame[["hours", "node_hours"]].isna().all(axis=None)


@pytest.mark.parametrize("other", [{"nodes": 8, "ranks": 2}, {"nodes": 4, "ranks": 4}, {"nodes": None, "ranks": None}])
def test_hours_of_other_placements_share_no_mean(other):
    alike, mixed = ({"nodes": 4, "ranks": 2} | own for own in ({}, other))
    for second, has_mean in ((alike, True), (mixed, False)):
        runs = runs_of({"nodes": 4}, second)
        points = runs[["run_id"]].assign(level="64", seed=[1, 2], mini_batch_size=64)
        epochs = epochs_of({"a": [75.0], "b": [50.0, 75.0]})
        frame = target_frame(points, runs, epochs, ["mini_batch_size"], "top1", 75.0)
        assert frame["hours"].tolist() == [0.5, 1.0] and frame["reached_of_n"].tolist() == [2, 2]
        assert frame[["mean", "node_mean"]].notna().all(axis=None) == has_mean


def test_a_training_that_may_use_tf32_has_that_precision_as_measurements_have_it():
    one = {"state": "finished", "nodes": 1, "ranks": 2, "workers": 4, "mini_batch_size": 64, "images_per_sec": 9.0}
    kinds = [("fp32", True), ("fp32", False), ("bf16", True)]
    runs = pd.DataFrame([one | {"precision": precision, "tf32": tf32} for precision, tf32 in kinds])
    assert training_rows(runs, 224)["precision"].tolist() == ["tf32", "fp32", "bf16"]
