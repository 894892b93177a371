"""Event files as torch's writer makes them, with scalars of both kinds."""

import math

import pytest

from .reading import errors_of, read

torch_tensorboard = pytest.importorskip("torch.utils.tensorboard")
TAGS = {"top1": "val/acc"}


def write_run(
    folder, accuracies, *, tag="val/acc", first=0, every=100, new_style=False, hparams=None, wall=1000.0, suffix=""
):
    with torch_tensorboard.SummaryWriter(str(folder), filename_suffix=suffix) as writer:
        for index, value in enumerate(accuracies):
            writer.add_scalar(tag, value, first + every * (index + 1), walltime=wall + index, new_style=new_style)
        if hparams:
            writer.add_hparams(hparams, {"hparam/acc": accuracies[-1]})
    return folder


def events(pattern, tags=TAGS):
    return {"files": str(pattern), "tags": tags}


@pytest.mark.parametrize("new_style", [False, True])
def test_scalars_of_both_kinds_are_read(tmp_path, new_style):
    write_run(tmp_path / "run", [50.0, 60.0, 75.5], new_style=new_style)
    imported = read(tensorboard=events(tmp_path / "run/events*"))
    assert imported.epochs[["epoch", "step", "top1"]].values.tolist() == [[1, 100, 50], [2, 200, 60], [3, 300, 75.5]]
    assert imported.runs.top1[0] == 75.5 and imported.runs.state[0] == "finished"


def test_folder_may_stand_for_its_files(tmp_path):
    write_run(tmp_path / "run", [50.0])
    assert read(tensorboard=events(tmp_path / "run")).runs.top1[0] == 50


def test_names_in_the_path_become_factors(tmp_path):
    for size in (256, 8192):
        for seed in (1, 2):
            write_run(tmp_path / f"mb{size}/seed{seed}", [70.0 + seed])
    imported = read(tensorboard=events(tmp_path / "mb{mini_batch_size}/seed{seed}/events*"))
    assert imported.factors == ("mini_batch_size",)
    assert imported.runs[["mini_batch_size", "seed", "top1"]].values.tolist() == [
        *([256, 1, 71], [256, 2, 72]),
        *([8192, 1, 71], [8192, 2, 72]),
    ]


def test_fractions_become_percent(tmp_path):
    write_run(tmp_path / "run", [0.5, 0.75])
    assert read(tensorboard=events(tmp_path / "run"), unit="fraction").runs.top1[0] == 75


def test_fractions_under_percent_are_refused(tmp_path):
    write_run(tmp_path / "run", [0.5, 0.75])
    (line,) = errors_of(tensorboard=events(tmp_path / "run"))
    assert line == "replay.tensorboard: top1 is 0.75 at most: fractions? write `unit: fraction` under replay"


def test_files_of_one_folder_are_one_run_and_the_later_value_counts(tmp_path):
    write_run(tmp_path / "run", [50.0, 60.0, 61.0], wall=1000, suffix=".a")
    write_run(tmp_path / "run", [65.0, 70.0], first=100, wall=2000, suffix=".b")
    imported = read(tensorboard=events(tmp_path / "run/events*"))
    assert len(imported.runs) == 1 and imported.epochs.top1.tolist() == [50, 65, 70]


def test_writer_that_purges_replaces_the_rest(tmp_path):
    write_run(tmp_path / "run", [50.0, 60.0, 61.0, 62.0], wall=1000, suffix=".a")
    with torch_tensorboard.SummaryWriter(str(tmp_path / "run"), purge_step=200, filename_suffix=".b") as writer:
        writer.add_scalar("val/acc", 66.0, 250)
    assert read(tensorboard=events(tmp_path / "run")).epochs.step.tolist() == [100, 250]


def test_hparams_become_factors(tmp_path):
    for lr in (0.1, 0.2):
        hparams = {"lr": lr, "nesterov": True, "rule": "linear", "batch": 256}
        write_run(tmp_path / f"lr{lr}", [70.0 + lr], hparams=hparams)
    imported = read(tensorboard=events(tmp_path / "*/events*"))
    assert imported.factors == ("lr",)
    assert imported.runs[["lr", "rule", "batch"]].values.tolist() == [[0.1, "linear", 256], [0.2, "linear", 256]]


def test_folder_of_hparams_below_a_run_is_no_run(tmp_path):
    write_run(tmp_path / "a", [70.0], hparams={"lr": 0.1})
    assert len(read(tensorboard=events(tmp_path / "**/events*")).runs) == 1


def test_other_scalars_have_their_last_value_since_the_epoch_before(tmp_path):
    folder = write_run(tmp_path / "run", [50.0, 60.0])
    write_run(folder, [3.0, 2.0, 1.5], tag="loss", every=50, suffix=".loss")
    tags = TAGS | {"train_loss": "loss"}
    assert read(tensorboard=events(folder, tags)).epochs.train_loss.tolist()[0] == 2.0


def test_last_value_that_is_not_finite_is_divergence(tmp_path):
    write_run(tmp_path / "run", [50.0, math.nan])
    assert read(tensorboard=events(tmp_path / "run")).runs.state[0] == "diverged"


def test_unknown_tag_names_the_closest(tmp_path):
    write_run(tmp_path / "run", [50.0], tag="val/accuracy")
    assert errors_of(tensorboard=events(tmp_path / "run")) == [
        f"{tmp_path}/run: has no scalar val/acc; did you mean val/accuracy?"
    ]


def test_metric_of_the_study_must_have_a_tag(tmp_path):
    write_run(tmp_path / "run", [50.0])
    (line,) = errors_of(tensorboard=events(tmp_path / "run"), metrics=["error"])
    assert line == "replay.tensorboard.tags: has no error; it has: top1"


def test_file_that_holds_no_events_is_named(tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"no events")
    assert errors_of(tensorboard=events(path)) == [f"{tmp_path}: has no scalar val/acc; it has: none"]


def test_value_that_was_written_later_counts_whichever_file_began_first(tmp_path):
    write_run(tmp_path / "run", [50.0, 60.0, 61.0], wall=1000, suffix=".a")
    with torch_tensorboard.SummaryWriter(str(tmp_path / "run"), filename_suffix=".b") as writer:
        writer.add_scalar("val/acc", 1.0, 200, walltime=1000.5)
    assert read(tensorboard=events(tmp_path / "run")).epochs.top1.tolist() == [50, 60, 61]
