"""Gradients are measured as they are, and measuring changes nothing."""

from __future__ import annotations

import math
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from warmscale.records import (
    EPOCH_COLUMNS,
    GRADIENT_COLUMNS,
    STEP_COLUMNS,
    TIMING_COLUMNS,
    read_json,
    read_rows,
    rows_to_csv,
    write_json,
)
from warmscale.study import Schedule
from warmscale.training.engine import Plan, make_engine
from warmscale.training.gradients import Gradients, noise_estimates, share_of
from warmscale.training.images import Images
from warmscale.training.loader import train_batches
from warmscale.training.model import build_model
from warmscale.training.tree import read_index

from .conftest import experiment, make_lab, run_ranks, small_run
from .launching import Started

ALL = {"gradients_every_steps": 1, "gradients_first_epochs": 99}
COMPARED = {"fp32": small_run(workers=4), "bf16": small_run(workers=4, precision="bf16")}
DIRECT = {
    "batchnorm": small_run(precision="fp64", workers=4),
    "plain": small_run(precision="fp64", workers=8, model="models:plain", gradient_clipping=0.5),
}
STILL = small_run(
    precision="fp64", model="models:plain", workers=20, epochs=10, base_lr=1e-30, augmentation="none", warmup_epochs=0,
    decay={"epochs": [5]}, optimizer={"weight_decay": 0.0},
)  # fmt: skip
"""Its weights never move."""


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """{(experiment, world size): notes of the first rank, with the rows of its files}."""
    noted = {}
    for world_size in (1, 2):
        folder = make_lab(tmp_path_factory.mktemp(f"gradients{world_size}"))
        plans = [
            experiment(f"{name}-{engine}-{'on' if on else 'off'}", run, engine=engine, **ALL, gradients=on)
            for name, run in COMPARED.items()
            for engine in ("deepspeed", "ddp")
            for on in (True, False)
        ]
        plans += [
            experiment(f"{name}-{engine}", run, engine=engine, **ALL)
            for name, run in DIRECT.items()
            for engine in ("deepspeed", "ddp")
        ]
        plans += [experiment("still", STILL, **ALL)]
        plans += [experiment("sparse", small_run(), gradients_every_steps=3, gradients_first_epochs=1)]
        plans += [experiment("zero1", small_run(workers=4), zero_stage=1, **ALL)]
        plans += [experiment("overflow", small_run(workers=4, precision="fp16"), sabotage="overflow", **ALL)]
        plans += [experiment("one-pass", small_run(workers=world_size), **ALL)] if world_size == 1 else []
        for name, ranks in run_ranks(folder, world_size, plans).items():
            state = folder / name / "state"
            rows = {"epochs": read_rows(state / "epochs.csv"), "steps": read_rows(state / "steps.csv")}
            noted[name, world_size] = ranks[0] | rows | {"folder": folder}
    return noted


def test_a_kept_gradient_is_let_go_where_nothing_is_measured(only_rank):
    engine = SimpleNamespace(model=torch.nn.Linear(2, 1), device=torch.device("cpu"), averaged=None)
    kept = {"step": 3, "parts": [torch.ones(1, 2), torch.ones(1)]}
    for every_steps, step in ((None, None), (5, 3)):
        gradients = Gradients(engine, every_steps=every_steps, mini_batch_size=4, images_per_pass=2, passes=2)
        gradients.set_state(kept)
        assert (gradients.state() or {}).get("step") == step


@given(st.lists(st.integers(1, 3_000_000), min_size=1, max_size=60), st.integers(1, 20))
def test_ranks_share_the_parameters_about_equally(sizes, ranks):
    shares = [share_of(sizes, rank, ranks) for rank in range(ranks)]
    assert [index for share in shares for index in share] == list(range(len(sizes)))
    assert max(sum(sizes[index] for index in share) for share in shares) <= sum(sizes) / ranks + max(sizes)


def without(rows, columns):
    return [{name: value for name, value in row.items() if name not in columns} for row in rows]


def numbers(rows, column):
    return [float(row[column]) if row[column] else math.nan for row in rows]


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("engine", ["deepspeed", "ddp"])
@pytest.mark.parametrize("name", COMPARED)
def test_measuring_changes_no_bit_of_weights_and_records(notes, name, engine, world_size):
    on, off = (notes[f"{name}-{engine}-{how}", world_size] for how in ("on", "off"))
    assert torch.equal(on["last"], off["last"])
    extra = (*GRADIENT_COLUMNS, "noise_scale", "run_id")
    assert without(on["epochs"], (*extra, *TIMING_COLUMNS)) == without(off["epochs"], (*extra, *TIMING_COLUMNS))
    steps = {row["step"]: row for row in without(on["steps"], extra)}
    assert [steps[row["step"]] for row in off["steps"]] == without(off["steps"], extra)
    assert all(row[column] == "" for row in off["epochs"] + off["steps"] for column in GRADIENT_COLUMNS)
    assert len(steps) == 8


def direct(run, folder):
    """What a plain loop over the same images measures: rows of GRADIENT_COLUMNS, in double precision, on one rank."""
    content, recipe = run.content, run.recipe
    model_name = recipe.model.replace("models:", f"{__package__}.models:")
    model = build_model(model_name, num_classes=5, zero_init_residual=False, init_seed=content["init_seed"]).double()
    parameters = list(model.parameters())
    settings = recipe.optimizer
    optimizer = torch.optim.SGD(
        parameters, lr=0, momentum=settings.momentum, nesterov=settings.nesterov, weight_decay=settings.weight_decay
    )
    schedule, size = Schedule.from_json(content["schedule"]), run.worker_batch_size
    images = Images(read_index(folder / "index.tsv", folder / "tree")["train"], image_size=8, val_resize=9,
                    augment=recipe.augmentation != "none", data_seed=content["data_seed"])  # fmt: skip
    starts = range(0, schedule.total_steps * content["mini_batch_size"], size)
    batches = train_batches(images, starts, size, images_per_epoch=320, data_seed=content["data_seed"], threads=0)
    mean, std = (torch.tensor(v).double().view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    before = None
    for step in range(schedule.total_steps):
        each = []
        for _ in range(content["workers"]):
            batch = next(batches)
            loss = functional.cross_entropy(model((batch.images.double() / 255 - mean) / std), batch.labels)
            each.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)]))
        gradient = torch.stack(each).mean(dim=0)
        start = torch.nn.utils.parameters_to_vector(parameters).detach().clone()
        optimizer.param_groups[0]["lr"] = schedule.learning_rate(step)
        used = gradient * min(1.0, (recipe.gradient_clipping or math.inf) / gradient.norm().item())
        parts = used.split([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        optimizer.step()
        change = torch.nn.utils.parameters_to_vector(parameters).detach() - start
        variance = torch.stack(each).var(dim=0).sum().item()  # of a pass's gradient, all components together
        yield {
            "gradient_norm": gradient.norm().item(),
            "gradient_cosine": functional.cosine_similarity(gradient, before, dim=0).item() if step else math.nan,
            "update_to_weight": (change.norm() / start.norm()).item(),
            "gradient_sq": gradient.norm().item() ** 2 - variance / len(each),
            "gradient_noise": size * variance,
        }
        before = gradient


@pytest.mark.parametrize("name", DIRECT)
def test_what_is_measured_is_what_a_plain_loop_computes(notes, name):
    expected = list(direct(DIRECT[name], notes[f"{name}-ddp", 1]["folder"]))
    for world_size in (1, 2):
        for engine in ("deepspeed", "ddp"):
            measured = notes[f"{name}-{engine}", world_size]["steps"]
            for column in GRADIENT_COLUMNS:
                ours, theirs = numbers(measured, column), [row[column] for row in expected]
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, err_msg=column)


@pytest.mark.parametrize("world_size", [1, 2])
def test_the_row_of_an_epoch_has_the_means_of_its_steps_and_their_ratio(notes, world_size):
    noted = notes["fp32-deepspeed-on", world_size]
    for epoch, steps in zip(noted["epochs"], (noted["steps"][:4], noted["steps"][4:]), strict=True):
        for column in GRADIENT_COLUMNS:
            assert float(epoch[column]) == pytest.approx(np.nanmean(numbers(steps, column)), rel=1e-12)
        ratio = np.mean(numbers(steps, "gradient_noise")) / np.mean(numbers(steps, "gradient_sq"))
        assert float(epoch["noise_scale"] or "nan") == pytest.approx(ratio if ratio > 0 else math.nan, nan_ok=True)


def test_noise_of_bf16_and_fp16_passes_is_of_unscaled_gradients(notes):
    exact = numbers(notes["fp32-ddp-on", 1]["steps"], "gradient_noise")[0]
    assert numbers(notes["bf16-ddp-on", 1]["steps"], "gradient_noise")[0] == pytest.approx(exact, rel=0.05)
    measured = [row for row in notes["overflow", 1]["steps"] if row["gradient_norm"]]
    assert measured == [] or float(measured[0]["gradient_norm"]) < 100


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_skipped_update_has_no_gradient(notes, world_size):
    skipped = [row for row in notes["overflow", world_size]["steps"] if row["skipped"] == "1"]
    assert skipped
    assert all(row[column] == "" for row in skipped for column in GRADIENT_COLUMNS)


def test_every_nth_step_is_measured_and_has_a_row_in_the_first_epochs(notes):
    steps = {int(row["step"]): row["gradient_norm"] != "" for row in notes["sparse", 1]["steps"]}
    assert steps == {0: True, 3: True, 4: False, 6: True}  # 6 for it is audited, 4 begins an epoch
    cosines = {int(row["step"]): row["gradient_cosine"] != "" for row in notes["sparse", 1]["steps"]}
    assert cosines == {0: False, 3: True, 4: False, 6: True}


@pytest.mark.parametrize("world_size", [1, 2])
def test_at_stage_1_nothing_is_measured(notes, world_size):
    noted = notes["zero1", world_size]
    assert noted["ending"] == ("finished", None)
    assert all(row[column] == "" for row in noted["epochs"] + noted["steps"] for column in GRADIENT_COLUMNS)


def test_one_pass_a_step_has_a_norm_and_no_noise(notes):
    for row in notes["one-pass", 1]["steps"]:
        assert row["gradient_norm"]
        assert row["gradient_noise"] == row["gradient_sq"] == ""


def gaussian_gradients(generator, count, *, dimension, sigma):
    """Gradients of (x w - y)^2 / 2 at w = 0, for x normal and y = x_1 + sigma * normal.  # (count, dimension)"""
    inputs = generator.standard_normal((count, dimension))
    targets = inputs[:, 0] + sigma * generator.standard_normal(count)
    return -inputs * targets[:, None]


def known_noise(dimension, sigma):
    """tr(Sigma) of that, by the fourth moments of a normal vector; its |G|^2 is 1."""
    return dimension + 1 + dimension * sigma**2


@pytest.mark.parametrize(("dimension", "sigma"), [(3, 0.0), (10, 1.0), (10, 3.0)])
@pytest.mark.parametrize(("small", "big"), [(1, 2), (8, 32), (8, 128)])
def test_estimates_are_unbiased_for_linear_regression_with_gaussian_noise(dimension, sigma, small, big):
    generator, found = np.random.default_rng(1), []
    for _ in range(4000):
        gradients = gaussian_gradients(generator, big, dimension=dimension, sigma=sigma)
        passes = gradients.reshape(-1, small, dimension).mean(axis=1)
        squares = (passes**2).sum(axis=1).mean(), (gradients.mean(axis=0) ** 2).sum()
        found.append(noise_estimates(*squares, small, big))
    means, errors = np.mean(found, axis=0), np.std(found, axis=0) / math.sqrt(len(found))
    assert abs(means[0] - 1) < 4 * errors[0]
    assert abs(means[1] - known_noise(dimension, sigma)) < 4 * errors[1]


def test_an_engine_with_linear_regression_has_the_noise_scale_that_is_known(only_rank):
    dimension, sigma, small, passes, steps = 10, 1.0, 8, 8, 400
    model = torch.nn.Linear(dimension, 1, bias=False).double()
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    plan = Plan(small * passes, small, passes, 0.0, "fp64", 0, torch.device("cpu"))
    engine = make_engine("ddp", model, optimizer, plan)
    gradients = Gradients(engine, every_steps=1, mini_batch_size=small * passes, images_per_pass=small, passes=passes)
    generator, found = torch.Generator().manual_seed(1), []
    for step in range(steps):
        gradients.begin(step, engine.loss_scale)
        for _ in range(passes):
            inputs = torch.randn(small, dimension, generator=generator, dtype=torch.float64)
            targets = inputs[:, :1] + sigma * torch.randn(small, 1, generator=generator, dtype=torch.float64)
            engine.backward((engine.forward(inputs) - targets).square().mean() / 2)
            engine.end_micro_batch()
        found.append(gradients.finish(skipped=False))
    sq, noise = ([row[name] for row in found] for name in ("gradient_sq", "gradient_noise"))
    for values, known in ((sq, 1.0), (noise, known_noise(dimension, sigma))):
        assert abs(np.mean(values) - known) < 4 * np.std(values) / math.sqrt(steps)
    assert np.mean(noise) / np.mean(sq) == pytest.approx(known_noise(dimension, sigma), rel=0.1)
    assert all(row["update_to_weight"] == 0.0 if "update_to_weight" in row else True for row in found)


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_run_whose_weights_stay_measures_the_noise_of_its_training_set(notes, world_size):
    noted = notes["still", world_size]
    each = gradients_of_images(noted["folder"])
    trace = each.var(dim=0).sum().item()
    # mini-batches are drawn without replacement: their mean squared length is that of the images' mean, and less
    square = each.mean(dim=0).norm().item() ** 2 - trace / len(each)
    for column, known in (("gradient_noise", trace), ("gradient_sq", square)):
        values = numbers(noted["steps"], column)
        assert len(values) == 40
        assert abs(np.mean(values) - known) < 4 * np.std(values) / math.sqrt(len(values))


def gradients_of_images(folder):
    """Of each image of the training set, at the initial weights of STILL.  # -> (N, parameters)"""
    images = Images(
        read_index(folder / "index.tsv", folder / "tree")["train"], image_size=8, val_resize=9, augment=False
    )
    model = build_model(f"{__package__}.models:plain", num_classes=5, zero_init_residual=False, init_seed=1).double()
    mean, std = (torch.tensor(v).double().view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    batches = train_batches(images, range(330), 1, images_per_epoch=330, data_seed=1, threads=0)
    found = []
    for batch in batches:
        loss = functional.cross_entropy(model((batch.images.double() / 255 - mean) / std), batch.labels)
        found.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))]))
    return torch.stack(found)


EVERY_STEP = {"checkpoint_minutes": 0}


@pytest.mark.parametrize(("ranks", "precision"), [(1, "bf16"), (2, "fp32")])
def test_a_resumed_run_has_the_rows_of_one_that_was_not_interrupted(tmp_path, lab, ranks, precision):
    run = small_run(precision=precision, epochs=3)
    undisturbed = Started(tmp_path / "undisturbed", lab, run, ranks=ranks, **ALL)
    assert undisturbed.finish().returncode == 0, undisturbed.log()
    disturbed = Started(tmp_path / "disturbed", lab, run, ranks=ranks, **ALL, **EVERY_STEP)
    assert disturbed.disturb(signal.SIGTERM, at_step=2) == 75
    assert disturbed.disturb(signal.SIGKILL, at_step=6) == -signal.SIGKILL
    assert disturbed.finish().returncode == 0, disturbed.log()
    assert disturbed.rows() == undisturbed.rows()
    assert all(row["gradient_cosine"] for row in disturbed.rows()[1][1:])


def test_a_state_of_before_gradients_were_measured_is_resumed(tmp_path, lab):
    run = small_run(epochs=3)
    undisturbed = Started(tmp_path / "undisturbed", lab, run, **ALL)
    assert undisturbed.finish().returncode == 0, undisturbed.log()
    older = Started(tmp_path / "older", lab, run, **ALL, **EVERY_STEP)
    assert older.disturb(signal.SIGTERM, at_step=5) == 75
    make_older(older.state)
    assert older.finish().returncode == 0, older.log()
    extra = (*GRADIENT_COLUMNS, "noise_scale")
    for ours, theirs in zip(older.rows(), undisturbed.rows(), strict=True):
        assert without(ours, extra) == without(theirs, extra)
        assert ours[0]["gradient_norm"] == ""
        assert ours[-1] == theirs[-1]


def make_older(state):
    """Take away what checkpoints and files did not have."""
    latest = read_json(state.checkpoints / "latest.json")
    del latest["totals"]["gradients"]
    write_json(state.checkpoints / "latest.json", latest)
    file = state.checkpoints / latest["tag"] / "state.pt"
    saved = torch.load(file)
    del saved["gradient"]
    torch.save(saved, file)
    for path, columns in ((state.epochs, EPOCH_COLUMNS), (state.steps, STEP_COLUMNS)):
        path.write_text(rows_to_csv(read_rows(path), columns[: columns.index("gradient_norm")]))
