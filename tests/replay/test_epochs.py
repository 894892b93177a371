import pytest

from .reading import errors_of, read, write

CURVES = [(lr, seed, epoch, 10 * epoch + seed + lr) for lr in (0.1, 0.2) for seed in (1, 2) for epoch in range(1, 8)]


@pytest.fixture
def epochs(tmp_path):
    def make(header, *rows):
        return write(tmp_path / "epochs.csv", header, *rows)

    return make


def curves(*columns):
    return [",".join([*(f"{value:g}" for value in row), *columns]) for row in CURVES]


def test_rows_of_a_run_are_put_together(epochs):
    imported = read(epochs=epochs("lr,seed,epoch,top1", *curves()))
    assert len(imported.runs) == 4 and len(imported.epochs) == 28
    assert imported.factors == ("lr",)
    assert list(imported.runs.seed) == [1, 2, 1, 2]
    assert set(imported.epochs.run_id) == set(imported.runs.run_id)


@pytest.mark.parametrize(("rule", "top1"), [("last", 71.1), ("median_last_5", 51.1)])
def test_number_of_a_run_follows_the_rule(epochs, rule, top1):
    assert read(epochs=epochs("lr,seed,epoch,top1", *curves()), rule=rule).runs.top1[0] == pytest.approx(top1)


def test_order_of_the_rows_does_not_matter(epochs):
    imported = read(epochs=epochs("lr,seed,epoch,top1", *reversed(curves())))
    assert sorted(imported.runs.top1) == pytest.approx([71.1, 71.2, 72.1, 72.2])


def test_what_varies_over_epochs_is_no_factor(epochs):
    rows = [f"{lr:g},{seed},{epoch},{top1:g},{epoch // 3},{top1 / 7}" for lr, seed, epoch, top1 in CURVES]
    path = epochs("lr,seed,epoch,top1,drops,norm", *rows)
    imported = read(epochs=path)
    assert imported.factors == ("lr",) and len(imported.runs) == 4
    assert f"{path}: measured, not set, by how they vary, and left out: drops, norm" in imported.notes


def test_a_rate_that_follows_a_schedule_is_no_factor(epochs):
    rows = [f"{lr:g},{seed},{epoch},{top1:g},{lr * 0.1 ** (epoch // 4):g}" for lr, seed, epoch, top1 in CURVES]
    imported = read(epochs=epochs("lr,seed,epoch,top1,learning_rate", *rows))
    assert imported.factors == ("lr",) and not any("left out" in note for note in imported.notes)
    assert imported.epochs.learning_rate[:4].tolist() == [0.1, 0.1, 0.1, 0.01]


def test_loss_rate_step_and_time_of_epochs_are_kept(epochs):
    path = epochs("lr,seed,epoch,top1,val_loss,learning_rate,step,time", *curves("1.5", "0.4", "100", "60"))
    assert read(epochs=path).epochs.loc[0, ["val_loss", "learning_rate", "step", "time"]].tolist() == [
        1.5,
        0.4,
        100,
        60,
    ]


@pytest.mark.parametrize("text", ["", "nan", "-inf"])
def test_run_whose_last_epoch_has_no_number_has_diverged(epochs, text):
    path = epochs("lr,seed,epoch,top1", "0.1,1,1,10", f"0.1,1,2,{text}", "0.1,2,1,10", "0.1,2,2,60")
    assert list(read(epochs=path).runs.state) == ["diverged", "finished"]


def test_epochs_without_an_evaluation_are_passed_over(epochs):
    path = epochs("run_id,epoch,top1", *(f"a,{epoch},{epoch if epoch % 4 == 0 else ''}" for epoch in range(2, 41)))
    imported = read(epochs=path, rule="median_last_5")
    assert imported.runs.top1[0] == 32


def test_sparse_epochs_are_noted(epochs):
    path = epochs("run_id,epoch,top1", *(f"a,{epoch},{epoch}" for epoch in range(4, 41, 4)))
    assert any("spans up to 17 epochs" in note for note in read(epochs=path, rule="median_last_5").notes)


def test_same_epoch_twice_is_refused(epochs):
    path = epochs("lr,epoch,top1", "0.1,1,10", "0.1,2,20", "0.1,2,21")
    assert errors_of(epochs=path) == [f"{path}, row 4: is epoch 2 of the same run as row 3: give seed or run_id"]


def test_settings_of_a_run_may_not_change(epochs):
    path = epochs("run_id,lr,epoch,top1", "a,0.1,1,10", "a,0.2,2,20")
    (line,) = errors_of(epochs=path, referenced=["lr"])
    assert line == f"{path}, row 3, column lr: is 0.2, and 0.1 in row 2 of the same run"


@pytest.mark.parametrize("epoch", ["1.5", "-1", ""])
def test_epoch_must_be_a_whole_number(epochs, epoch):
    path = epochs("run_id,epoch,top1", f"a,{epoch},10")
    assert errors_of(epochs=path)[0].startswith(f"{path}, row 2, column epoch: is ")


def test_curves_belong_to_runs_with_the_same_seed_and_levels(epochs, tmp_path):
    path = write(tmp_path / "runs.csv", "lr,seed,top1", "0.1,1,76.1", "0.1,2,76.2", "0.2,1,75.1")
    imported = read(runs=path, epochs=epochs("lr,seed,epoch,top1", *curves()))
    assert list(imported.runs.top1) == pytest.approx([76.1, 76.2, 75.1, 72.2])
    assert imported.epochs.groupby("run_id").size().tolist() == [7, 7, 7, 7]
    assert "3 of 3 rows of runs have epochs; their own numbers are kept" in imported.notes


def test_missing_epoch_column_is_named(epochs):
    path = epochs("lr,Epochs,top1", "0.1,1,76")
    assert errors_of(epochs=path) == [f"{path}: has no column epoch; did you mean Epochs?"]
