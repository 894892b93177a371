import math

import pytest

from .reading import errors_of, read, write

HEADER = "mini_batch_size,warmup,n,mean,sd"


@pytest.fixture
def cells(tmp_path):
    def make(*rows, header=HEADER):
        return write(tmp_path / "cells.csv", header, *rows)

    return make


def test_cell_has_its_numbers_and_its_levels(cells):
    table = read(cells=cells("256,none,5,76.4,0.12", "8192,gradual,5,76.26,0.09")).cells
    assert table.to_dict("records")[1] == {
        "mini_batch_size": 8192,
        "warmup": "gradual",
        "metric": "top1",
        "n": 5,
        "mean": 76.26,
        "sd": 0.09,
        "diverged": 0,
        "source": table.source[1],
    }


def test_metric_column_names_the_metric_of_a_row(cells):
    path = cells("256,5,76.4,0.1,top1", "256,5,61.2,2.0,time_min", header="mini_batch_size,n,mean,sd,metric")
    assert list(read(cells=path, metrics=["top1", "time_min"]).cells.metric) == ["top1", "time_min"]


def test_other_tables_are_empty_and_have_their_columns(cells):
    imported = read(cells=cells("256,none,5,76.4,0.12", "8192,none,5,76.2,0.1"))
    assert list(imported.runs.columns) == ["run_id", "seed", "state", "mini_batch_size", "warmup", "top1", "source"]
    assert list(imported.epochs.columns) == ["run_id", "epoch", "top1"]
    assert imported.runs.empty and imported.epochs.empty


def test_mean_and_sd_of_fractions_become_percent(cells):
    cell = read(cells=cells("256,none,5,0.764,0.0012"), unit="fraction").cells.iloc[0]
    assert (cell["mean"], cell["sd"]) == pytest.approx((76.4, 0.12))


def test_times_have_no_unit_to_convert(cells):
    cell = read(cells=cells("256,none,5,61.5,2.5"), unit="fraction", metrics=["time_min"]).cells.iloc[0]
    assert (cell["mean"], cell["sd"]) == (61.5, 2.5)


def test_all_fractions_under_percent_are_refused(cells):
    path = cells("256,none,5,0.76,0.01", "512,none,5,0.75,0.01")
    assert errors_of(cells=path) == [f"{path}: top1 is 0.76 at most: fractions? write `unit: fraction` under replay"]


def test_percent_under_fraction_is_refused(cells):
    path = cells("256,none,5,76.2,0.01", "512,none,5,0.75,0.01")
    (line,) = errors_of(cells=path, unit="fraction")
    assert line == f"{path}: top1 is 76.2 at most: percent? leave out `unit: fraction` under replay"


def test_errors_below_one_percent_are_believed_where_the_unit_is_written(cells):
    path = cells("256,none,5,0.31,0.02", "512,none,5,0.4,0.02")
    assert "or `unit: percent` if they are percent" in errors_of(cells=path, metrics=["error"])[0]
    assert read(cells=path, metrics=["error"], unit="percent").cells["mean"].max() == 0.4


@pytest.mark.parametrize("mean", ["100.5", "-3"])
def test_accuracy_outside_0_to_100_is_refused(cells, mean):
    path = cells("256,none,5,76.2,0.01", f"512,none,5,{mean},0.01")
    assert errors_of(cells=path) == [f"{path}, row 3, column mean: is {mean}, must be from 0 to 100"]


def test_missing_columns_are_named_with_the_closest(cells):
    path = cells("256,none,5,76.2,0.01", header="mini_batch_size,warmup,N,means,std")
    first, second, third = errors_of(cells=path)
    assert second == f"{path}: has no column mean; did you mean means?"
    assert first.startswith(f"{path}: has no column n;") and third.startswith(f"{path}: has no column sd;")


def test_everything_wrong_with_a_file_is_said_at_once(cells):
    path = cells("256,none,1.5,76.2,0.1", "512,none,0,76.2,0.1", "1024,none,5,76.2,-0.1", "2048,none,5,much,0.1")
    assert errors_of(cells=path) == [
        f"{path}, row 2, column n: is '1.5', must be a whole number",
        f"{path}, row 3, column n: is 0, must be 1 or more",
        f"{path}, row 4, column sd: is -0.1, must be 0 or more",
        f"{path}, row 5, column mean: is 'much', must be a number",
    ]


def test_several_runs_need_an_sd(cells):
    path = cells("256,none,5,76.2,")
    assert errors_of(cells=path) == [f"{path}, row 2, column sd: is empty, must be a number where n is 5"]


def test_sd_of_one_run_is_ignored_and_noted(cells):
    path = cells("256,none,1,76.2,0.1", "512,none,1,76.2,")
    imported = read(cells=path)
    assert imported.cells.sd.isna().all()
    assert f"{path}, row 2: the sd of one run is ignored" in imported.notes


def test_sd_of_0_is_kept_and_noted(cells):
    path = cells("256,none,3,76.2,0", "512,none,3,76.2,0.1")
    imported = read(cells=path)
    assert imported.cells.sd[0] == 0
    expected = "sd of 0 is below the resolution of the metric; tests borrow the spread of the other cells"
    assert f"{path}, row 2: {expected}" in imported.notes


def test_cell_of_which_all_runs_diverged_has_no_mean(cells):
    path = cells("256,none,5,76.2,0.1,0", "512,none,0,,,4", header=f"{HEADER},diverged")
    cell = read(cells=path).cells.iloc[1]
    assert (cell["n"], cell["diverged"]) == (0, 4) and math.isnan(cell["mean"])


def test_same_cell_twice_is_refused(cells):
    path = cells("256,none,5,76.2,0.1", "512,none,5,76.2,0.1", "256,none,5,76.3,0.1")
    (line,) = errors_of(cells=path)
    assert line == f"{path}, row 4: is the same cell as {path}, row 2 (mini_batch_size 256)"


def test_column_that_is_referred_to_must_be_there(cells):
    (line,) = errors_of(cells=cells("256,none,5,76.2,0.1"), referenced=["mini_batch"])
    assert line == "replay: has no column mini_batch; did you mean mini_batch_size?"
