"""Runs one rank of a small training as an experiment and writes down what happened; started by the tests."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from warmscale.cluster.discovery import discover
from warmscale.records import StateFolder
from warmscale.training.audit import AuditError
from warmscale.training.exits import exit_as
from warmscale.training.loop import Loop
from warmscale.training.ranks import choose_device, join_ranks
from warmscale.training.setup import set_up
from warmscale.training.training import Training


class Watch:
    """Notes the samples and pixels of every step, and the weights after the first."""

    def __init__(self, training: Training):
        self.notes: dict[str, Any] = {"keys": [], "pixels": []}
        self._training = training
        self._wrap(training.audit, "consumed", lambda keys: self.notes["keys"].append(keys.tolist()))
        self._wrap_normalise()
        self._wrap(training.audit, "finish", lambda _: self._after_step())
        training.engine.optimizer.register_step_pre_hook(self._before_update)

    def _wrap(self, owner: Any, name: str, note: Any) -> None:
        wrapped = getattr(owner, name)

        def both(*words: Any) -> Any:
            result = wrapped(*words)
            note(*words)
            return result

        setattr(owner, name, both)

    def _wrap_normalise(self) -> None:
        normalise = self._training.normalise

        def noting(images: torch.Tensor) -> torch.Tensor:
            if self._training.engine.model.training:
                self.notes["pixels"].append([int(image.long().sum()) for image in images])
            return normalise(images)

        self._training.normalise = noting

    def _before_update(self, *_: Any) -> None:
        gradients = [parameter.grad for parameter in self._training.engine.model.parameters()]
        if all(gradient is not None for gradient in gradients):  # at stage 1 they are elsewhere
            self.notes.setdefault("first_gradient", torch.cat([gradient.flatten() for gradient in gradients]))

    def _after_step(self) -> None:
        if "after_first_step" in self.notes:
            return
        training = self._training
        parameters = list(training.engine.model.parameters())
        state = training.engine.optimizer.state
        momenta = [state[parameter]["momentum_buffer"] for parameter in parameters if parameter in state]
        statistics = training.statistics.flat()
        if training.rank.world_size > 1:
            torch.distributed.all_reduce(statistics)
            statistics /= training.rank.world_size
        self.notes["after_first_step"] = {
            "parameters": torch.cat([parameter.detach().flatten() for parameter in parameters]),
            "momenta": torch.cat([momentum.flatten() for momentum in momenta]) if momenta else None,
            "statistics": statistics,
        }


def sabotage(training: Training, how: str | None) -> None:
    """Do wrong what the audit must notice."""
    engine, deepspeed = training.engine, getattr(training.engine, "_deepspeed", None)
    clip_at = partial(setattr, *((deepspeed._config, "gradient_clipping") if deepspeed else (engine, "_clipping")))
    calls = itertools.count(1)
    if how == "multiplier":
        right = engine.set_learning_rate
        engine.set_learning_rate = lambda rate: right(rate * training.content["workers"])
    elif how == "overwritten accumulation":
        backward = engine.backward
        engine.backward = lambda loss: (engine.model.zero_grad(), backward(loss))
    elif how == "backward left out":
        backward = engine.backward
        engine.backward = lambda loss: backward(loss) if next(calls) != 2 else None
    elif how == "update too early":
        accumulate(engine, training.passes // 2)
    elif how == "update too late":
        accumulate(engine, training.passes * 2)
    elif how == "clipping at another norm":
        clip_at(0.25)
    elif how == "skipped micro-batch":
        consumed = training.audit.consumed
        training.audit.consumed = lambda keys: consumed(keys) if next(calls) != 2 else None
    elif how == "duplicated shard":
        rank = training.rank
        training.rank = dataclasses.replace(rank, rank=0)
    elif how == "deepspeed averages":  # no fault: what our own averaging must agree with
        engine._reducer, deepspeed.enable_backward_allreduce = None, True
    elif how == "averages afterwards":  # no fault: what must come out the same, bit by bit
        engine._reducer.begin = partial(begin_unarmed, engine._reducer, engine._reducer.begin)
    elif how == "training apart":  # what measuring does
        engine.is_apart = True
    elif how == "memory reused":  # no fault: what steps are told of CUDA graphs
        training.speed = dataclasses.replace(training.speed, cuda_graphs=True)
    elif how == "overflow":
        engine.scaler._init_scale = 2.0**127
    elif how == "clipping":
        clip_at(1.0)
    elif how is not None:
        raise ValueError(how)


def parameters_of(training: Training) -> torch.Tensor:
    """All of them, as they are now."""
    return torch.cat([parameter.detach().flatten() for parameter in training.engine.model.parameters()])


def accumulate(engine: Any, passes: int) -> None:
    """Make an engine update after another number of passes than it was told."""
    if hasattr(engine, "_deepspeed"):
        engine._deepspeed.gradient_accumulation_steps = lambda: passes
    else:
        engine._micro_batches = passes


def begin_unarmed(reducer: Any, begin: Any) -> None:
    """Leave all communication to what comes after the backward pass."""
    begin()
    reducer._is_armed = False


def main() -> None:
    """Carry out the experiments of a file, one after the other."""
    folder = Path(sys.argv[1])
    rank = discover(os.environ)
    device = choose_device("cpu", rank)
    join_ranks(rank, device, folder / "meeting.json")
    for experiment in json.loads((folder / "experiments.json").read_text()):
        torch.manual_seed(0)
        state = StateFolder(folder / experiment["name"] / "state")
        training = set_up(
            experiment["name"],
            experiment["content"],
            experiment["settings"],
            state=state,
            index=folder / "index.tsv",
            root=folder / "tree",
            rank=rank,
            device=device,
        )
        watch = Watch(training)
        watch.notes["first"] = parameters_of(training)
        sabotage(training, experiment.get("sabotage"))
        loop = Loop(training)
        try:
            ending = loop.run()
            watch.notes["ending"] = (ending.state, ending.diverged_step)
            watch.notes["loss_scale"] = training.engine.loss_scale
            watch.notes["last"] = parameters_of(training)
        except AuditError as error:
            watch.notes["audit"] = str(error)
        if "audit" in watch.notes and rank.world_size > 1:
            watch.notes.pop("after_first_step", None)
        torch.save(watch.notes, folder / experiment["name"] / f"rank{rank.rank}.pt")


if __name__ == "__main__":
    exit_as(main)  # as ranks end: a failed audit leaves threads behind
