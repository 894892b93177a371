"""Options that make a training faster leave it the same training."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import torch

from warmscale.records import read_rows
from warmscale.training.setup import choose_arithmetic

from .conftest import experiment, make_lab, run_ranks, small_run
from .launching import Started

OPTIONS = {
    "as-written": {"fused_optimizer": False},
    "fused": {"fused_optimizer": True},
    "together2": {"workers_per_pass": 2},
    "together10": {"workers_per_pass": 10},
    "channels-last": {"channels_last": True, "fused_optimizer": False},
    "all": {"workers_per_pass": 5, "channels_last": True, "fused_optimizer": True},
    "ddp-all": {"engine": "ddp", "workers_per_pass": 5, "channels_last": True, "fused_optimizer": True},
    "zero1-fused": {"zero_stage": 1, "fused_optimizer": True, "workers_per_pass": 2},
}
PRECISIONS = {"fp32": 1e-6, "fp64": 1e-12}


def precisions_of(name: str) -> list[str]:
    return ["fp32"] if name.startswith("zero1") else list(PRECISIONS)


@pytest.fixture(scope="module", params=[1, 2])
def notes(request, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """{(options, precision): notes of each rank}."""
    folder = make_lab(tmp_path_factory.mktemp("speed"))
    plans = [
        experiment(f"{name}-{precision}", small_run(precision=precision), audit_every_steps=1, **settings)
        for name, settings in OPTIONS.items()
        for precision in precisions_of(name)
    ]
    noted = {}
    for name, ranks in run_ranks(folder, request.param, plans).items():
        ranks[0]["losses"] = [float(row["loss"]) for row in read_rows(folder / name / "state/steps.csv")]
        ranks[0]["epochs"] = read_rows(folder / name / "state/epochs.csv")
        noted[tuple(name.rsplit("-", 1))] = ranks
    return noted


CASES = [(name, precision) for name in OPTIONS for precision in precisions_of(name) if name != "as-written"]


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_a_step_is_the_same_step(notes, name, precision):
    written = notes["as-written", precision][0]["after_first_step"]
    for rank in notes[name, precision]:
        for what in ("parameters", "momenta", "statistics"):
            fast = rank["after_first_step"][what]
            if fast is None:  # at stage 1 momenta are in pieces
                continue
            assert (fast - written[what]).norm() <= PRECISIONS[precision] * written[what].norm()


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_it_ends_with_a_clean_audit_of_every_step(notes, name, precision):
    for rank in notes[name, precision]:
        assert rank["ending"] == ("finished", None)


@pytest.mark.parametrize("name", [name for name, precision in CASES if precision == "fp64"])
def test_losses_and_accuracies_of_two_epochs_in_fp64_are_the_same(notes, name):
    written, fast = notes["as-written", "fp64"][0], notes[name, "fp64"][0]
    assert len(fast["losses"]) == 8
    assert fast["losses"] == pytest.approx(written["losses"], rel=1e-8)
    columns = ("train_top1", "top1", "top5", "images_seen")
    for one, other in zip(fast["epochs"], written["epochs"], strict=True):
        assert [one[column] for column in columns] == [other[column] for column in columns]


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_images_are_the_same_in_the_same_order(notes, name, precision):
    def in_order(ranks: list[dict[str, Any]]) -> list[list[int]]:
        return [[key for keys in rank["keys"] for key in keys] for rank in ranks]

    assert in_order(notes[name, precision]) == in_order(notes["as-written", precision])
    passes = {len(keys) for keys in notes[name, precision][0]["keys"]}
    assert passes == {4 * OPTIONS[name].get("workers_per_pass", 1)}


def test_channels_last_weights_are_what_deepspeed_trains(tmp_path):
    from warmscale.training.forward import plain_layout, to_channels_last
    from warmscale.training.model import build_model

    model = build_model("resnet8", num_classes=5, zero_init_residual=False, init_seed=1)
    to_channels_last(model)
    with pytest.raises(RuntimeError, match="stride"):  # what `initialize` does with every weight
        model.stem[0].weight.data.view(torch.uint8)
    with plain_layout(model):
        model.stem[0].weight.data.view(torch.uint8)


@pytest.mark.parametrize("options", ["as-written", "all"])
def test_a_checkpoint_is_resumed_under_other_options(tmp_path, lab, options):
    run = small_run(precision="fp64", epochs=4, decay={"epochs": [2, 3]})
    begins, ends = (OPTIONS["as-written"], OPTIONS["all"])[:: 1 if options == "all" else -1]
    undisturbed = Started(tmp_path / "undisturbed", lab, run, **OPTIONS["as-written"])
    assert undisturbed.finish().returncode == 0, undisturbed.log()
    changed = Started(tmp_path / "changed", lab, run, checkpoint_minutes=0, **begins)
    assert changed.disturb(signal.SIGTERM, at_step=6) == 75
    changed.settings |= {"channels_last": "auto", "workers_per_pass": 1, **ends}
    assert changed.finish().returncode == 0, changed.log()
    assert changed.record()["speed"]["workers_per_pass"] == ends.get("workers_per_pass", 1)
    for ours, theirs in zip(changed.rows()[0], undisturbed.rows()[0], strict=True):
        assert float(ours["train_loss"]) == pytest.approx(float(theirs["train_loss"]), rel=1e-7)


def test_options_that_do_not_go_fail_the_run_in_one_line(tmp_path, lab):
    run = small_run(optimizer={"name": "lars"})
    started = Started(tmp_path, lab, run, fused_optimizer=True)
    started.finish()
    assert started.record()["failure_class"] == "config"
    assert started.record()["failure"] == "placement.fused_optimizer: there is none of lars; use auto"


@pytest.mark.parametrize("deterministic", [True, False])
def test_deterministic_chooses_kernels_and_fills_no_memory(deterministic):
    before = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    filled = torch.utils.deterministic.fill_uninitialized_memory
    try:
        torch.set_deterministic_debug_mode("default")
        choose_arithmetic(tf32=False, deterministic=deterministic)
        assert torch.are_deterministic_algorithms_enabled() is deterministic
        assert torch.backends.cudnn.benchmark is not deterministic
        assert not (deterministic and torch.utils.deterministic.fill_uninitialized_memory)
    finally:
        torch.set_deterministic_debug_mode(before[0])
        torch.backends.cudnn.benchmark = before[1]
        torch.utils.deterministic.fill_uninitialized_memory = filled
