"""What the optimizer did is compared with what the content says: planted faults are caught."""

from __future__ import annotations

from functools import partial

import pytest

from .conftest import experiment as any_experiment
from .conftest import make_lab, run_ranks, small_run

ALONE = {
    "multiplier": "learning rate 0.55 in the optimizer, 0.0275 in the schedule",
    "overwritten accumulation": "another gradient, rate or clipping",
    "backward left out": "19 backward passes for 20 micro-batches",
    "update too early": "a rank consumed 40 images since the last update, not 80",
    "update too late": "the mini-batch was consumed, but no update was made",
    "skipped micro-batch": "a rank consumed 76 images since the last update, not 80",
    "clipping": "another gradient, rate or clipping",
}


@pytest.fixture(scope="module", params=["deepspeed", "ddp"])
def notes(request, tmp_path_factory):
    """What ranks noted of trainings with a planted fault each."""
    experiment = partial(any_experiment, engine=request.param)
    # a rate that moves the weights far, so that a clipped gradient is another update
    run = small_run(base_lr=0.02, optimizer={"momentum": 0.9, "nesterov": True, "weight_decay": 1.0e-3})
    alone = make_lab(tmp_path_factory.mktemp("audit1"))
    plans = [experiment(name.replace(" ", "-"), run, sabotage=name) for name in ALONE]
    clipped = small_run(gradient_clipping=0.5)
    plans += [experiment("clipped-as-asked", clipped), experiment("nothing", run)]
    plans += [experiment("clipped-elsewhere", clipped, sabotage="clipping at another norm")]
    vector_first = small_run(model="models:vector_first", optimizer={"weight_decay": 0.1, "decay_norm_and_bias": False})
    plans += [experiment("vector-first", vector_first)]
    noted = {name: ranks[0] for name, ranks in run_ranks(alone, 1, plans).items()}
    together = make_lab(tmp_path_factory.mktemp("audit2"))
    plans = [experiment("duplicated-shard", run, sabotage="duplicated shard")]
    return noted | {name: ranks[0] for name, ranks in run_ranks(together, 2, plans).items()}


@pytest.mark.parametrize("fault", ALONE)
def test_a_planted_fault_fails_the_audit(notes, fault):
    assert ALONE[fault] in notes[fault.replace(" ", "-")]["audit"]


def test_two_ranks_with_the_same_shard_fail_the_audit(notes):
    assert "all ranks consumed 40 distinct images" in notes["duplicated-shard"]["audit"]


def test_a_training_without_faults_passes_the_audit(notes):
    assert notes["nothing"]["ending"] == ("finished", None)


def test_clipping_that_the_recipe_asks_for_passes_the_audit(notes):
    assert notes["clipped-as-asked"]["ending"] == ("finished", None)


def test_clipping_at_another_norm_than_the_recipes_fails_the_audit(notes):
    assert "clipped and 0.25 long, gradient_clipping is 0.5" in notes["clipped-elsewhere"]["audit"]


def test_a_model_that_begins_with_a_vector_without_weight_decay_passes_the_audit(notes):
    assert notes["vector-first"]["ending"] == ("finished", None)
