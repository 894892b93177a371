import math
import re

import pytest

from .reading import errors_of, read, write


@pytest.fixture
def runs(tmp_path):
    def make(header, *rows, name="runs.csv"):
        return write(tmp_path / name, header, *rows)

    return make


def test_run_has_levels_seed_metrics_and_state(runs):
    path = runs("warmup_epochs,seed,top1,device_name,hours", "0,1,70.5,V100,3.5", "5,1,76.5,V100,3.25")
    row = read(runs=path).runs.iloc[1]
    assert (row.warmup_epochs, row.seed, row.top1, row.state) == (5, 1, 76.5, "finished")
    assert (row.device_name, row.hours, row.source) == ("V100", 3.25, str(path))


def test_ids_are_made_of_source_levels_and_seed(runs):
    path = runs("warmup_epochs,rule,seed,top1", "0.5,a/b,1,70.5", "0.5,linear,1,70", "5,linear,1,76.5", name="1 x.csv")
    ids = list(read(runs=path).runs.run_id)
    assert ids[1:] == ["run-1-x-warmup_epochs0.5-rulelinear-seed1", "run-1-x-warmup_epochs5-rulelinear-seed1"]
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9._-]*", run_id) for run_id in ids)


def test_given_ids_are_kept(runs):
    path = runs("run_id,lr,top1", "first,0.1,76", "b/2,0.2,76", "3,0.4,76")
    assert list(read(runs=path).runs.run_id) == ["first", "b-2", "run-3"]


def test_ids_that_are_the_same_but_for_case_are_told_apart(runs):
    path = runs("run_id,lr,top1", "a,0.1,76", "A,0.2,76")
    assert list(read(runs=path).runs.run_id) == ["a", "A-2"]


def test_seeds_are_numbered_within_the_cell_where_absent(runs):
    path = runs("lr,seed,top1", "0.1,,76.1", "0.1,1,76.2", "0.1,,76.3", "0.2,,75.0", "0.2,7,75.1")
    assert list(read(runs=path).runs.seed) == [2, 1, 3, 1, 7]


@pytest.mark.parametrize("text", ["", "nan", "inf", "N/A"])
def test_run_without_a_finite_metric_has_diverged(runs, text):
    path = runs("lr,seed,top1", f"0.1,1,{text}", "0.1,2,76.0")
    imported = read(runs=path)
    assert list(imported.runs.state) == ["diverged", "finished"]
    assert math.isnan(imported.runs.top1[0])
    assert f"{path}: runs without a finite top1 count as diverged: 1" in imported.notes


def test_diverged_run_is_at_chance_level_where_that_is_given(runs):
    path = runs("lr,seed,state,top1,top5", "0.1,1,diverged,12.5,30", "0.1,2,,76.0,93")
    run = read(runs=path, chance=0.1).runs.iloc[0]
    assert run.top1 == 0.1 and math.isnan(run.top5)


def test_failed_run_has_no_metrics(runs):
    path = runs("lr,seed,state,top1", "0.1,1,failed,12.5", "0.1,2,finished,76.0")
    imported = read(runs=path)
    assert list(imported.runs.state) == ["failed", "finished"] and math.isnan(imported.runs.top1[0])


def test_finished_run_must_have_a_number(runs):
    path = runs("lr,state,top1", "0.1,finished,")
    assert errors_of(runs=path) == [f"{path}, row 2, column top1: is no number, and state is finished"]


def test_unknown_state_names_the_closest(runs):
    path = runs("lr,state,top1", "0.1,finnished,76")
    (line,) = errors_of(runs=path)
    assert line.endswith("is 'finnished', must be finished or diverged or failed; did you mean finished?")


def test_unknown_metric_names_those_that_are_there(runs):
    path = runs("lr,seed,error,val_loss", "0.1,1,24.0,1.1")
    assert errors_of(runs=path) == [f"{path}: has no column top1; metric columns it has: error, val_loss"]


def test_any_column_may_be_the_metric(runs):
    path = runs("lr,seed,bleu", "0.1,1,24.5", "0.2,1,25.5")
    assert list(read(runs=path, metrics=["bleu"]).runs.bleu) == [24.5, 25.5]


def test_further_metrics_are_kept(runs):
    path = runs("lr,top1,top5,val_loss", "0.1,0.76,0.93,1.05")
    run = read(runs=path, unit="fraction").runs.iloc[0]
    assert (run.top1, run.top5, run.val_loss) == pytest.approx((76, 93, 1.05))


def test_metric_of_a_claim_must_be_somewhere(runs):
    (line,) = errors_of(runs=runs("lr,top1", "0.1,76"), metrics=["top1", "time_min"])
    assert line == "replay: has no column time_min; columns it has: top1"


@pytest.mark.parametrize("seed", ["1.5", "-1", "one"])
def test_seed_must_be_a_whole_number(runs, seed):
    path = runs("lr,seed,top1", f"0.1,{seed},76")
    assert errors_of(runs=path) == [f"{path}, row 2, column seed: is '{seed}', must be a whole number from 0"]


def test_same_run_twice_is_refused(runs):
    path = runs("lr,seed,top1", "0.1,1,76", "0.2,1,76", "0.1,1,77")
    assert errors_of(runs=path) == [f"{path}, row 4: is the same run as {path}, row 2 (lr 0.1, seed 1)"]


def test_same_id_twice_is_refused(runs):
    path = runs("run_id,lr,top1", "a,0.1,76", "a,0.2,76")
    assert errors_of(runs=path) == [
        f"{path}, row 3, column run_id: is a as in {path}, row 2: each run has its own, or none"
    ]


def test_levels_have_one_type_over_all_files(runs, tmp_path):
    runs("warmup,seed,top1", "5,1,76", name="a.csv")
    runs("warmup,seed,top1", "none,1,76", name="b.csv")
    assert list(read(runs=str(tmp_path / "*.csv")).runs.warmup) == ["5", "none"]


def test_truth_values_are_truth_values(runs):
    path = runs("nesterov,top1", "True,76", "false,75")
    assert list(read(runs=path).runs.nesterov) == [True, False]


def test_column_that_only_looks_like_a_metric_is_left_out_where_it_is_wrong(runs):
    path = runs("lr,top1,train_acc,error", "0.1,76,0.91,out of memory", "0.2,75,0.92,")
    imported = read(runs=path)
    assert not {"train_acc", "error"} & set(imported.runs)
    assert any(note.startswith(f"{path}: train_acc is left out: train_acc is 0.92 at most") for note in imported.notes)


@pytest.mark.parametrize("name", ["acc_steps", "error_feedback", "top5k_classes", "accumulate"])
def test_settings_with_such_words_are_no_metrics(runs, name):
    path = runs(f"{name},top1", "1,76", "2,75")
    assert read(runs=path).factors == (name,)


@pytest.mark.parametrize(
    "name", ["val_acc", "test_accuracy", "top1_error", "error_rate", "val/acc1", "final_top1", "acc@1"]
)
def test_names_of_accuracies_are_metrics(runs, name):
    path = runs(f"lr,{name}", "0.1,0.76", "0.2,0.75")
    assert read(runs=path, metrics=[name], unit="fraction").runs[name].tolist() == pytest.approx([76, 75])


def test_single_fraction_among_percentages_is_noted(runs):
    path = runs("lr,seed,top1", "0.1,1,76", "0.1,2,0.76", "0.2,1,75")
    note = f"{path}, row 3: top1 is 0.76 percent, far below the others: a fraction, or a run that diverged?"
    assert note in read(runs=path).notes


def test_accuracies_that_are_all_0_are_no_fractions(runs):
    assert read(runs=runs("lr,seed,top1", "0.1,1,0", "0.1,2,0")).runs.top1.tolist() == [0, 0]
