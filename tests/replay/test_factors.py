import pytest

from warmscale.replay.factors import told_apart

from .reading import errors_of, read, write


@pytest.fixture
def runs(tmp_path):
    def make(header, *rows):
        return write(tmp_path / "runs.csv", header, *rows)

    return make


def test_names_that_tell_no_cells_apart_are_no_factors(runs):
    header = "mini_batch_size,seed,top1,date,host,job_id,commit,notes,train_sec,device_name,val_loss"
    rows = [f"{size},{seed},7{seed},2020-01-0{seed},n{seed},{seed},c{seed},x,{seed}.5,V100,1.{seed}"
            for size in (256, 512) for seed in (1, 2)]  # fmt: skip
    assert read(runs=runs(header, *rows)).factors == ("mini_batch_size",)


def test_column_with_one_value_is_a_constant_unless_it_is_referred_to(runs):
    path = runs("model,lr,top1", "resnet50,0.1,76", "resnet50,0.2,75")
    imported = read(runs=path)
    assert imported.factors == ("lr",) and list(imported.runs.model) == ["resnet50"] * 2
    assert "one value everywhere: model" in imported.notes
    assert read(runs=path, referenced=["model"]).factors == ("model", "lr")


def test_numbers_that_differ_within_cells_are_measured(runs):
    rows = [f"{lr},{x},{seed},76,{10 + lr + seed / 7}" for lr in (0.1, 0.2) for x in (0.5, 1.5) for seed in (1, 2, 3)]
    imported = read(runs=runs("lr,x,seed,top1,quality", *rows))
    assert imported.factors == ("lr", "x")
    assert "measured, not set, by how they vary, and left out: quality" in imported.notes
    assert "quality" not in imported.runs


def test_fractions_of_a_setting_are_levels_even_with_one_run_each(runs):
    path = runs("base_lr,top1", "0.05,70", "0.1,71", "0.25,72")
    assert read(runs=path).factors == ("base_lr",)


def test_doubtful_column_is_set_where_its_values_come_back_and_seeds_are_all_different():
    columns = {"x": [0.5, 0.5, 1.5, 1.5], "y": [0.11, 0.12, 0.13, 0.14]}
    assert told_apart(columns, [1, 2, 3, 4], ()) == (["x"], ["y"])


def test_column_that_is_referred_to_is_a_factor_whatever_it_is(runs):
    path = runs("lr,device_name,top1", "0.1,V100,76", "0.1,A100,75")
    assert read(runs=path, referenced=["device_name"]).factors == ("device_name",)


def test_given_factors_are_taken(runs):
    path = runs("lr,x,seed,top1", "0.1,a,1,76", "0.1,b,2,75", "0.2,c,1,75")
    imported = read(runs=path, factors=["lr"])
    assert imported.factors == ("lr",) and "x" not in imported.runs
    assert not any(note.startswith("factors") for note in imported.notes)


def test_given_factor_must_be_a_column(runs):
    (line,) = errors_of(runs=runs("warmup_epochs,top1", "5,76"), factors=["warmup"])
    assert line == "replay: has no column warmup; did you mean warmup_epochs?"


def test_cells_and_runs_share_their_factors(runs, tmp_path):
    cells = write(tmp_path / "cells.csv", "lr,warmup,n,mean,sd", "0.1,none,5,76,0.1", "0.1,gradual,5,77,0.1")
    imported = read(cells=cells, runs=runs("lr,warmup,top1", "0.2,none,75", "0.2,none,74"))
    assert imported.factors == ("lr", "warmup")
    assert set(imported.factors) <= set(imported.runs) & set(imported.cells)
