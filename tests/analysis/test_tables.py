"""runs, epochs, points and steps: from published files to tables."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmscale.analysis import published
from warmscale.analysis.catalogue import TABLES
from warmscale.analysis.schemas import EPOCHS, leaf_type, runs_schema
from warmscale.analysis.tables import make_tables, read_tables
from warmscale.records import EPOCH_COLUMNS, STEP_COLUMNS, rows_to_csv
from warmscale.study import load_study
from warmscale.study.recipe import Recipe

from .conftest import accuracy, raw_study
from .published_runs import epoch_rows, publish, run_at


def row_of(tables, run_id):
    return tables.runs.set_index("run_id").loc[run_id]


def test_every_run_of_the_study_has_one_row_in_its_order(study, tables):
    assert tables.runs["run_id"].tolist() == list(study.runs)


def test_runs_has_the_fields_of_the_run_and_its_outcome(study, tables):
    fields = next(iter(study.runs.values())).columns()
    outcome = ["state", "failure_class", "diverged_step", "epochs_done", "top1", "top5", "metric_rule", "attempts"]
    outcome += ["top1_last", "top1_median_last_5", "top5_last", "top5_median_last_5"]
    outcome += ["node_hours", "images_per_sec", "device_name", "total_epochs", "imported", "nodes", "ranks"]
    assert set(tables.runs.columns) == {"run_id", "experiments", *fields, *outcome}


def test_tables_of_epochs_and_steps_have_the_columns_of_the_records(results):
    assert tuple(pd.read_csv(results / "tables" / "epochs.csv").columns) == EPOCH_COLUMNS
    assert tuple(pd.read_csv(results / "tables" / "steps.csv").columns) == STEP_COLUMNS


@pytest.mark.parametrize("table", TABLES)
def test_csv_and_parquet_say_the_same(results, table):
    parquet = pd.read_parquet(results / "tables" / f"{table}.parquet")
    csv = pd.read_csv(results / "tables" / f"{table}.csv", dtype=parquet.dtypes.to_dict())
    pd.testing.assert_frame_equal(csv, parquet, check_exact=True)


def test_a_run_of_several_experiments_is_one_row_and_named_by_all(study, tables):
    shared = run_at(study, "warmup", warmup_epochs=0).run_id
    assert (tables.runs["run_id"] == shared).sum() == 1
    assert row_of(tables, shared)["experiments"] == "sizes;warmup;scaling"
    assert set(tables.points.loc[tables.points["run_id"] == shared, "experiment"]) == set(study.experiments_of(shared))


def test_two_points_of_an_experiment_may_be_one_run(study, tables):
    first, second = (run_at(study, "scaling", lr_scaling__rule="none", warmup_epochs=level) for level in (0, 2))
    assert first.run_id == second.run_id
    levels = tables.points.loc[tables.points["run_id"] == first.run_id, "warmup_epochs"]
    assert levels.tolist() == [0.0, 2.0]


def test_points_are_the_points_of_the_study(study, tables):
    found = tables.points[["experiment", "run_id", "seed"]].itertuples(index=False, name=None)
    assert list(found) == [(point.experiment, point.run_id, point.seed) for point in study.points]


def test_dotted_factors_keep_their_names(tables):
    scaling = tables.points[tables.points["experiment"] == "scaling"]
    assert scaling["lr_scaling.rule"].unique().tolist() == ["linear", "none"]
    assert tables.points.loc[tables.points["experiment"] == "warmup", "lr_scaling.rule"].isna().all()


def test_both_metrics_of_a_finished_run_follow_from_its_epochs(study, tables):
    run = run_at(study, "warmup", warmup_epochs=2)
    row = row_of(tables, run.run_id)
    assert row["top1_last"] == accuracy(run, 8)
    assert row["top1_median_last_5"] == accuracy(run, 6)  # accuracy rises: the third of the epochs 4 to 8
    assert row["top5_median_last_5"] == 50 + accuracy(run, 6) / 2
    assert row["images_per_sec"] == 1004.5


@pytest.mark.parametrize(("rule", "epoch"), [("last", 8), ("median_last_5", 6)])
def test_the_metric_of_a_run_is_the_one_of_the_studys_rule(tmp_path, rule, epoch):
    study = load_study(raw_study() | {"metric": {"of_run": rule}})
    run = run_at(study, "warmup", warmup_epochs=2)
    publish(tmp_path, run, "finished", [accuracy(run, epoch) for epoch in range(1, 9)])
    make_tables(study, tmp_path)
    row = row_of(read_tables(tmp_path / "tables"), run.run_id)
    assert (row["top1"], row["metric_rule"]) == (accuracy(run, epoch), rule)
    assert row["top5"] == 50 + accuracy(run, epoch) / 2


def test_a_diverged_run_is_at_chance_level_whatever_it_had_reached(tables, odd_runs):
    row = row_of(tables, odd_runs["diverged"])
    assert row[["top1", "top1_last", "top1_median_last_5"]].tolist() == [10.0] * 3
    assert row[["top5", "top5_last", "top5_median_last_5"]].tolist() == [50.0] * 3
    assert (row["state"], row["diverged_step"], row["epochs_done"]) == ("diverged", 12, 3)


@pytest.mark.parametrize("state", ["failed", "pending"])
def test_a_run_without_a_result_has_no_metric(tables, odd_runs, state):
    row = row_of(tables, odd_runs[state])
    assert row["state"] == state
    assert row[["top1", "top5", "top1_last", "top5_median_last_5"]].isna().all()


def test_a_failed_run_has_its_class_and_a_pending_one_no_attempt(tables, odd_runs):
    assert row_of(tables, odd_runs["failed"])["failure_class"] == "node"
    assert row_of(tables, odd_runs["failed"])["attempts"] == 1
    assert row_of(tables, odd_runs["pending"])["attempts"] == 0


def test_columns_without_a_value_have_the_type_of_one_with_values(study, tmp_path):
    make_tables(study, tmp_path)
    types = {field.name: field.type for field in pa.parquet.read_schema(tmp_path / "tables" / "runs.parquet")}
    assert types["top1"] == types["images_per_sec"] == types["lr_scaling.exponent"] == pa.float64()
    assert types["diverged_step"] == pa.int64()
    assert types["failure_class"] == pa.string()
    assert pa.parquet.read_schema(tmp_path / "tables" / "epochs.parquet") == EPOCHS
    assert (pd.read_parquet(tmp_path / "tables" / "runs.parquet")["state"] == "pending").all()


def test_leaves_that_may_be_a_word_or_a_number_are_text():
    types = {field.name: field.type for field in runs_schema()}
    assert types["warmup_start"] == types["decay.epochs"] == types["optimizer.name"] == pa.string()
    assert types["tf32"] == pa.bool_()
    assert types["mini_batch_size"] == types["data_seed"] == pa.int64()
    assert types["warmup_epochs"] == types["base_lr"] == pa.float64()
    assert leaf_type(Recipe.model_fields["batchnorm_batch_size"].annotation) == pa.int64()


def test_a_header_alone_is_no_epoch(study, tmp_path):
    run = run_at(study, "warmup", warmup_epochs=2)
    publish(tmp_path, run, "failed", [])
    make_tables(study, tmp_path)
    assert read_tables(tmp_path / "tables").epochs.empty


def test_a_line_that_a_crash_cut_off_is_left_out(study, tmp_path):
    run = run_at(study, "warmup", warmup_epochs=2)
    publish(tmp_path, run, "failed", [10.0, 20.0])
    path = tmp_path / "runs" / run.run_id / "epochs.csv"
    path.write_text(path.read_text() + f"{run.run_id},3,60")
    make_tables(study, tmp_path)
    assert read_tables(tmp_path / "tables").epochs["epoch"].tolist() == [1, 2]


def test_a_column_that_an_older_run_lacks_is_empty(study, tmp_path):
    new, old = (run_at(study, "warmup", seed=seed, warmup_epochs=2) for seed in (1, 2))
    for run in (new, old):
        publish(tmp_path, run, "finished", [10.0, 20.0])
    path = tmp_path / "runs" / old.run_id / "epochs.csv"
    path.write_text("\n".join(line.rpartition(",")[0] for line in path.read_text().splitlines()) + "\n")
    make_tables(study, tmp_path)
    epochs = read_tables(tmp_path / "tables").epochs.set_index(["run_id", "epoch"])
    assert epochs[EPOCH_COLUMNS[-1]].isna().groupby("run_id").all().to_dict() == {new.run_id: False, old.run_id: True}
    assert epochs.loc[(old.run_id, 2), "top1"] == 20.0


def test_a_loss_that_is_not_finite_is_read(study, tmp_path):
    run = run_at(study, "warmup", warmup_epochs=2)
    publish(tmp_path, run, "diverged", [10.0, 20.0])
    path = tmp_path / "runs" / run.run_id / "epochs.csv"
    first, second = epoch_rows(run, [10.0, 20.0])
    rows = [first | {"val_loss": float("inf")}, second | {"val_loss": float("nan"), "top1": None}]
    path.write_text(rows_to_csv(rows, EPOCH_COLUMNS))
    make_tables(study, tmp_path)
    epochs = read_tables(tmp_path / "tables").epochs
    assert epochs["val_loss"][0] == float("inf")
    assert epochs["top1"].isna().tolist() == [False, True]


@given(chunk_bytes=st.integers(1, 6000))
def test_tables_do_not_depend_on_how_much_is_parsed_at_once(results, study, chunk_bytes):
    paths = [results / "runs" / run_id / "epochs.csv" for run_id in study.runs]
    tables = list(published.read_csvs(paths, EPOCHS, chunk_bytes))
    assert pa.concat_tables(tables).equals(pa.parquet.read_table(results / "tables" / "epochs.parquet"))
