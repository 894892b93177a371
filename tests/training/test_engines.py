"""Both engines, and both ways of averaging, are the same training."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from warmscale.records import read_rows

from .conftest import SCRIPTS, experiment, make_lab, run_ranks, small_run

RUNS = {
    "fp32": small_run(),
    "fp64": small_run(precision="fp64"),
    "bf16": small_run(precision="bf16"),
    "fp16": small_run(precision="fp16", gradient_clipping=0.5),
    "clipped": small_run(gradient_clipping=0.5),
    "lars": small_run(optimizer={"name": "lars", "weight_decay": 1.0e-3}),
}
TOLERANCES = {"fp32": 1e-6, "fp64": 1e-12, "bf16": 1e-6, "fp16": 1e-6, "clipped": 1e-6, "lars": 1e-6}
"""Of parameters after a step."""
HALF_USED = small_run(model="models:half_used", workers=4, optimizer={"weight_decay": 0.1})


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """{(experiment, world size): notes of each rank, the first one's with the losses of all steps}."""
    noted = {}
    for world_size in (1, 2):
        folder = make_lab(tmp_path_factory.mktemp(f"engines{world_size}"))
        plans = [
            experiment(f"{name}-{engine}", run, engine=engine, audit_every_steps=1)
            for name, run in RUNS.items()
            for engine in ("deepspeed", "ddp")
        ]
        if world_size == 2:
            plans += [experiment("afterwards", RUNS["fp32"], sabotage="averages afterwards", audit_every_steps=1)]
            for engine in ("deepspeed", "ddp"):
                plans += [experiment(f"apart-{engine}", RUNS["fp32"], engine=engine, sabotage="training apart")]
                plans += [experiment(f"half-used-{engine}", HALF_USED, engine=engine)]
                plans += [experiment(f"half-used-{engine}-reusing", HALF_USED, engine=engine, sabotage="memory reused")]
                ruined = small_run(model="models:ruined_on_second", workers=4)
                plans += [experiment(f"ruined-{engine}", ruined, engine=engine)]
        for name, ranks in run_ranks(folder, world_size, plans).items():
            ranks[0]["losses"] = [float(row["loss"]) for row in read_rows(folder / name / "state/steps.csv")]
            noted[name, world_size] = ranks
    return noted


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("name", RUNS)
def test_one_step_does_not_depend_on_the_engine(notes, name, world_size):
    ours, theirs = (notes[f"{name}-{engine}", world_size][0]["after_first_step"] for engine in ("deepspeed", "ddp"))
    for what in ("parameters", "momenta", "statistics"):
        assert (ours[what] - theirs[what]).norm() <= TOLERANCES[name] * theirs[what].norm()


@pytest.mark.parametrize("name", ["fp32", "fp64", "bf16"])
def test_engines_are_bit_identical_where_they_add_up_the_same(notes, name):
    for world_size in (1, 2):
        ours, theirs = (notes[f"{name}-{engine}", world_size][0] for engine in ("deepspeed", "ddp"))
        assert torch.equal(ours["after_first_step"]["parameters"], theirs["after_first_step"]["parameters"])
        assert ours["losses"] == theirs["losses"]
        assert len(ours["losses"]) == 8


def test_averaging_during_the_backward_pass_changes_no_bit(notes):
    overlapped, afterwards = notes["fp32-deepspeed", 2][0], notes["afterwards", 2][0]
    assert torch.equal(overlapped["after_first_step"]["parameters"], afterwards["after_first_step"]["parameters"])
    assert overlapped["losses"] == afterwards["losses"]


@pytest.mark.parametrize("engine", ["deepspeed", "ddp", "deepspeed-reusing", "ddp-reusing"])
def test_ranks_agree_where_they_use_different_parameters_and_unused_ones_stay(notes, engine):
    first, second = notes[f"half-used-{engine}", 2]
    assert first["ending"] == second["ending"] == ("finished", None)
    assert torch.equal(first["last"], second["last"])
    before, after = first["first"], first["last"]
    nowhere, on_second, frozen = slice(30), slice(30, 60), slice(60, 90)  # 5 x 5 + 5 parameters each
    assert torch.equal(before[nowhere], after[nowhere])  # not even its weights decay
    assert not torch.isclose(before[on_second], after[on_second]).any()
    assert torch.equal(before[frozen], after[frozen])


@pytest.mark.parametrize("engine", ["deepspeed", "ddp"])
def test_apart_each_rank_steps_with_a_gradient_of_its_own(notes, engine):
    assert all("another gradient" in rank["audit"] for rank in notes[f"apart-{engine}", 2])


@pytest.mark.parametrize("engine", ["deepspeed", "ddp"])
def test_a_loss_that_is_not_finite_on_one_rank_updates_none(notes, engine):
    first, second = notes[f"ruined-{engine}", 2]
    assert first["ending"] == second["ending"] == ("diverged", 1)
    assert torch.equal(first["last"], first["after_first_step"]["parameters"])
    assert torch.equal(first["last"], second["last"])


def test_the_engine_ddp_does_not_import_deepspeed():
    code = """if True:
        import sys, torch
        from warmscale.training import rank_main
        from warmscale.training.engine import Plan, make_engine
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
        model = torch.nn.Linear(2, 2)
        plan = Plan(4, 4, 1, 0.0, "fp32", 0, torch.device("cpu"))
        make_engine("ddp", model, torch.optim.SGD(model.parameters(), lr=0.1), plan)
        print("deepspeed" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(SCRIPTS)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
