"""Logs as MLPerf's submissions write them."""

import json
import math

import pytest

from .reading import errors_of, read

MINUTE = 60_000
T0 = 1593141109250


def line(key, value=None, time_ms=T0, event_type="POINT_IN_TIME", **metadata):
    entry = {"namespace": "", "time_ms": time_ms, "event_type": event_type, "key": key, "value": value}
    return f":::MLLOG {json.dumps(entry | {'metadata': {'file': 'train.py', 'lineno': 83} | metadata})}"


def settings(optimizer="sgd", batch=832, warmup=3, lr=3.0, seed=12260):
    return [
        "+ echo 'Beginning trial 2 of 4'",
        line("submission_benchmark", "resnet"),
        line("submission_org", "Some Org"),
        line("submission_platform", "1xSOME BOX"),
        *([line("init_start")] * 4),
        *([line("seed", seed)] if seed is not None else []),
        line("global_batch_size", batch),
        line("opt_name", optimizer),
        line(f"{optimizer}_opt_weight_decay", 2.5e-05),
        line("opt_learning_rate_warmup_epochs", warmup),
        line(f"{optimizer}_opt_base_learning_rate", lr),
    ]


def evaluations(*accuracies, first=1, every=4, start=T0):
    return [
        line("eval_accuracy", value, time_ms=start + (index + 1) * MINUTE, epoch_num=first + every * index)
        for index, value in enumerate(accuracies)
    ]


def start(time_ms=T0):
    return line("run_start", time_ms=time_ms, event_type="INTERVAL_START")


def stop(status="success", time_ms=T0 + 90 * MINUTE):
    return line("run_stop", time_ms=time_ms, event_type="INTERVAL_END", status=status)


@pytest.fixture
def log(tmp_path):
    def make(*lines, name="result_0.txt", end="\n"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + end)
        return path

    return make


def test_log_is_a_run_with_settings_accuracies_and_time(log):
    path = log(*settings(), start(), *evaluations(0.25, 0.55, 0.7603), stop())
    imported = read(mllog=path)
    run = imported.runs.iloc[0]
    assert (run.mini_batch_size, run.warmup_epochs, run.peak_lr, run["optimizer.name"]) == (832, 3, 3.0, "sgd")
    assert (run.seed, run.org, run.device_name, run.status) == (12260, "Some Org", "1xSOME BOX", "success")
    assert run.top1 == pytest.approx(76.03) and run.time_min == 90 and run.state == "finished"
    assert imported.epochs.epoch.tolist() == [1, 5, 9]
    assert imported.epochs.top1.tolist() == pytest.approx([25, 55, 76.03])


def test_accuracies_are_fractions_whatever_the_unit(log):
    path = log(*settings(), start(), *evaluations(0.76), stop())
    assert read(mllog=path, unit="percent").runs.top1[0] == read(mllog=path, unit="fraction").runs.top1[0] == 76


def test_error_is_what_is_left_of_the_accuracy(log):
    path = log(*settings(), start(), *evaluations(0.76), stop())
    assert read(mllog=path, metrics=["error"]).runs.error[0] == pytest.approx(24)


def test_time_may_be_the_metric(log):
    path = log(*settings(), start(), *evaluations(0.76), stop())
    assert read(mllog=path, metrics=["time_min"]).runs.time_min[0] == 90


def test_keys_of_the_optimizer_that_was_used_count(log):
    foreign = [line("lars_opt_base_learning_rate", 9.5), line("duplicate_sgd_opt_base_learning_rate", 7)]
    run = read(mllog=log(*settings(), *foreign, start(), *evaluations(0.76), stop())).runs.iloc[0]
    assert run.peak_lr == 3.0


def test_last_line_of_a_key_counts(log):
    run = read(mllog=log(*settings(), line("global_batch_size", 1664), start(), *evaluations(0.76), stop())).runs.iloc[
        0
    ]
    assert run.mini_batch_size == 1664


def test_aborted_run_has_its_accuracy_and_no_time(log):
    imported = read(mllog=log(*settings(), start(), *evaluations(0.5, 0.7588), stop("aborted")))
    run = imported.runs.iloc[0]
    assert run.top1 == pytest.approx(75.88) and math.isnan(run.time_min)
    assert (run.state, run.status) == ("finished", "aborted")
    assert "mllog: 1 aborted run has no time_min" in imported.notes


def test_log_without_an_end_is_a_failed_run(log):
    imported = read(mllog=log(*settings(), start(), *evaluations(0.5, 0.7588)))
    assert imported.runs.state[0] == "failed" and math.isnan(imported.runs.top1[0]) and len(imported.epochs) == 2


def test_accuracy_that_is_no_number_at_the_end_is_divergence(log):
    run = read(mllog=log(*settings(), start(), *evaluations(0.5, math.nan), stop("aborted"))).runs.iloc[0]
    assert run.state == "diverged" and math.isnan(run.top1)


def test_restart_from_scratch_replaces_what_was_before(log):
    second = T0 + 500 * MINUTE
    path = log(
        *(*settings(), start(), *evaluations(0.2, 0.4, 0.6)),
        *(start(second), *evaluations(0.3, 0.5, start=second), stop(time_ms=second + 30 * MINUTE)),
    )
    imported = read(mllog=path)
    assert imported.epochs.top1.tolist() == [30, 50] and imported.runs.time_min[0] == 30


def test_restart_from_a_checkpoint_goes_on_and_its_time_too(log):
    second = T0 + 500 * MINUTE
    path = log(
        *(*settings(), start(), *evaluations(0.2, 0.4, 0.6)),
        *(start(second), *evaluations(0.65, 0.7, first=9, start=second), stop(time_ms=second + 30 * MINUTE)),
    )
    imported = read(mllog=path)
    assert imported.epochs.epoch.tolist() == [1, 5, 9, 13]
    assert imported.epochs.top1.tolist() == pytest.approx([20, 40, 65, 70]) and imported.runs.time_min[0] == 530


def test_log_that_starts_again_and_has_no_end_failed(log):
    path = log(*settings(), start(), *evaluations(0.2), stop("aborted"), start(T0 + 1), *evaluations(0.3))
    assert read(mllog=path).runs.state[0] == "failed"


def test_lines_behind_other_output_seconds_and_numbers_as_text_are_read(log):
    entries = [
        {"time_s": 0.0, "key": "lars_opt_momentum", "value": "0.94", "metadata": {}},
        {"metadata": {}, "key": "run_start", "namespace": "", "time_s": 1000.5},
        {"metadata": {"epoch_num": 56.0}, "value": 0.76066, "key": "eval_accuracy", "time_s": 1500.0},
        {"metadata": {"status": "success"}, "key": "run_stop", "namespace": "", "time_s": 1600.5},
    ]
    lines = [f"2020-06-23 Node[13] start, lr=6.0):::MLLOG {json.dumps(entry)} " for entry in entries]
    imported = read(mllog=log(*settings("lars"), *lines))
    assert imported.runs["optimizer.momentum"][0] == 0.94 and imported.runs.time_min[0] == 10
    assert imported.epochs.epoch.tolist() == [56]


def test_logs_that_differ_in_seed_alone_are_one_cell(log, tmp_path):
    for seed in (5, 6, 7):
        log(*settings(seed=seed), start(), *evaluations(0.7 + seed / 100), stop(), name=f"a/result_{seed}.txt")
    log(*settings(batch=1664, lr=6.0), start(), *evaluations(0.7), stop(), name="b/result_0.txt")
    imported = read(mllog=tmp_path / "*/result_*.txt")
    assert imported.factors == ("mini_batch_size", "peak_lr")
    assert imported.runs.groupby("mini_batch_size").seed.apply(sorted).to_dict() == {832: [5, 6, 7], 1664: [12260]}


@pytest.mark.parametrize("seed", [None, 3])
def test_logs_without_seeds_or_with_the_same_one_are_numbered(log, tmp_path, seed):
    for index in range(3):
        log(*settings(seed=seed), start(T0 + index), *evaluations(0.7), stop(), name=f"result_{index}.txt")
    imported = read(mllog=tmp_path / "*.txt")
    assert sorted(imported.runs.seed) == [1, 2, 3]
    assert imported.runs.run_id.is_unique


def test_copy_of_a_log_is_refused(log, tmp_path):
    for name in ("a.txt", "b.txt"):
        log(*settings(), start(), *evaluations(0.7), stop(), name=name)
    (error,) = errors_of(mllog=tmp_path / "*.txt")
    assert error == f"{tmp_path}/b.txt: is the same log as {tmp_path}/a.txt: take one of them out"


def test_json_that_does_not_parse_is_named_with_its_row(log):
    path = log(*settings(), ":::MLLOG {'key': 1}", ":::MLLOG [1]", start(), *evaluations(0.7), stop())
    row = len(settings()) + 1
    first, second = errors_of(mllog=path)
    assert first.startswith(f"{path}, row {row}: no valid JSON after :::MLLOG")
    assert second == f"{path}, row {row + 1}: has no key after :::MLLOG"


def test_last_line_that_is_cut_off_is_left_out(log):
    imported = read(mllog=log(*settings(), start(), *evaluations(0.7), ':::MLLOG {"names', end=""))
    assert imported.runs.state[0] == "failed" and any("cut off" in note for note in imported.notes)


@pytest.mark.parametrize("value", [24.8, {"BBOX": 0.37}, None, "high"])
def test_accuracy_that_is_no_fraction_is_refused(log, value):
    (error,) = errors_of(mllog=log(*settings(), start(), *evaluations(value), stop()))
    assert "must be a fraction from 0 to 1" in error


def test_file_without_such_lines_is_named(log):
    path = log(':::MLL 1556733699.708 run_start: {"value": null}')
    (error,) = errors_of(mllog=path)
    assert error == f"{path}: has no line with :::MLLOG: is it a log of MLPerf 0.7 or later?"
