"""What reaches the optimizer, and what validation counts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from warmscale.records import read_rows
from warmscale.training.images import Images
from warmscale.training.loader import train_batches, val_batches
from warmscale.training.model import build_model
from warmscale.training.tree import read_index

from .conftest import VAL_IMAGES, experiment, make_lab, run_ranks, small_run

# 5 workers of 16 images, without BatchNorm: the mini-batch's gradient is one backward pass over all of it
PLAIN = small_run(model="models:plain", workers=4)
AVERAGING = {"ours": None, "deepspeeds": "deepspeed averages"}


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """{(experiment, world size): notes of the first rank, with the rows of its files}."""
    noted = {}
    for world_size in (1, 2, 4):
        folder = make_lab(tmp_path_factory.mktemp(f"engine{world_size}"))
        plans = [experiment(name, PLAIN, sabotage=how) for name, how in AVERAGING.items()]
        plans += [experiment("zero1", PLAIN, zero_stage=1)]
        plans += [experiment("overflow", small_run(precision="fp16"), sabotage="overflow")] if world_size < 4 else []
        for name, ranks in run_ranks(folder, world_size, plans).items():
            state = folder / name / "state"
            rows = {"epochs": read_rows(state / "epochs.csv"), "steps": read_rows(state / "steps.csv")}
            noted[name, world_size] = ranks[0] | rows | {"folder": folder}
    return noted


def splits_of(folder):
    return read_index(folder / "index.tsv", folder / "tree")


def full_batch_gradient(folder) -> torch.Tensor:
    """Gradient of the mean loss over the first mini-batch, in double precision, without ranks or DeepSpeed."""
    images = Images(splits_of(folder)["train"], image_size=8, val_resize=9, augment=True, data_seed=1)
    batch = next(train_batches(images, [0], 80, images_per_epoch=320, data_seed=1, threads=0))
    model = build_model(f"{__package__}.models:plain", num_classes=5, zero_init_residual=False, init_seed=1).double()
    mean, std = (torch.tensor(v).double().view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    functional.cross_entropy(model((batch.images.double() / 255 - mean) / std), batch.labels).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("averaging", AVERAGING)
def test_averaged_gradient_is_the_full_batch_gradient(notes, averaging, world_size):
    exact = full_batch_gradient(notes[averaging, world_size]["folder"])
    ours = notes[averaging, world_size]["first_gradient"].double()
    assert (ours - exact).norm() < 1e-5 * exact.norm()


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_zero_stage_1_trains_as_stage_0_does(notes, world_size):
    one, zero = notes["zero1", world_size], notes["ours", world_size]
    assert one["ending"] == ("finished", None)
    close = (one["after_first_step"]["parameters"] - zero["after_first_step"]["parameters"]).norm()
    assert close < 1e-6 * zero["after_first_step"]["parameters"].norm()
    losses = [[float(row["train_loss"]) for row in noted["epochs"]] for noted in (one, zero)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("world_size", [1, 2])
def test_updates_that_the_fp16_scaler_skips_are_recorded_and_no_divergence(notes, world_size):
    noted = notes["overflow", world_size]
    assert noted["ending"] == ("finished", None)
    skipped = [row for row in noted["steps"] if row["skipped"] == "1"]
    assert [row["step"] for row in skipped[:3]] == ["0", "1", "2"]
    assert all(row["learning_rate"] == "" for row in skipped)
    assert noted["loss_scale"] < 2.0**127


@pytest.mark.parametrize("world_size", [1, 2, 4, 7])
def test_ranks_share_the_validation_images_without_overlap(lab, world_size):
    images = Images(splits_of(lab)["val"], image_size=8, val_resize=9, augment=False)
    bounds = [VAL_IMAGES * rank // world_size for rank in range(world_size + 1)]
    keys = [
        batch.sample_keys
        for start, stop in itertools.pairwise(bounds)
        for batch in val_batches(images, start, stop, 4, threads=0)
    ]
    assert np.concatenate(keys).tolist() == list(range(VAL_IMAGES))


def test_validation_does_not_depend_on_the_number_of_ranks(notes):
    rows = [notes["ours", world_size]["epochs"] for world_size in (1, 2, 4)]
    assert [[row["top1"] for row in each] for each in rows[1:]] == [[row["top1"] for row in rows[0]]] * 2
    for each in rows[1:]:
        for row, alone in zip(each, rows[0], strict=True):
            assert float(row["val_loss"]) == pytest.approx(float(alone["val_loss"]), rel=1e-5)
            assert float(row["top1"]) * VAL_IMAGES / 100 == pytest.approx(round(float(row["top1"]) * VAL_IMAGES / 100))
