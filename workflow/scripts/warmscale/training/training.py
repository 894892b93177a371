"""One run on one rank: what it is made of, and what follows from its content."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..cluster.discovery import Rank
from ..lease import is_current
from ..records import StateFolder
from ..study.schedule import Schedule
from ..study.steps import EpochClock
from .audit import Audit
from .batchnorm import RunningStatistics
from .checkpoint import Checkpoints
from .engine import Engine
from .evaluate import Normalise
from .gradients import Gradients
from .images import Images
from .passes import micro_batch_size
from .progress import Progress
from .speed import Speed


class LeaseLostError(Exception):
    """Another copy of the run trains by now."""


@dataclass
class Training:
    """One run on one rank."""

    run_id: str
    content: Mapping[str, Any]
    recipe: Mapping[str, Any]
    """The content's recipe and data set with defaults filled in."""
    settings: Mapping[str, Any]
    """Placement: nothing here changes what is studied."""
    speed: Speed
    """What of it holds here for forward and backward passes."""
    state: StateFolder
    lease: Path | None
    """File of the lease under which this rank trains; None: nobody else could."""
    rank: Rank
    device: torch.device
    engine: Engine
    audit: Audit
    gradients: Gradients
    statistics: RunningStatistics
    train_images: Images | None
    """None, as the next: a measurement of synthetic images."""
    val_images: Images | None
    normalise: Normalise
    progress: Progress | None
    """On the first rank."""

    @property
    def mini_batch_size(self) -> int:
        """Images of one update, all ranks together."""
        return self.content["mini_batch_size"]

    @property
    def micro_batch_size(self) -> int:
        """Images of one BatchNorm batch."""
        return micro_batch_size(self.content)

    @property
    def images_per_pass(self) -> int:
        """Images of one forward pass: one BatchNorm batch, or several."""
        return self.micro_batch_size * self.speed.workers_per_pass

    @property
    def passes(self) -> int:
        """Forward passes of this rank in one step."""
        return self.mini_batch_size // self.images_per_pass // self.rank.world_size

    @property
    def generator(self) -> torch.Generator:
        """What a model draws from (dropout)."""
        if self.device.type == "cuda":
            return torch.cuda.default_generators[self.device.index]
        return torch.default_generator

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """Of this run."""
        return Checkpoints(self.state.checkpoints, self.check_lease)

    @cached_property
    def schedule(self) -> Schedule:
        """The learning rate of every step."""
        return Schedule.from_json(self.content["schedule"])

    @cached_property
    def clock(self) -> EpochClock:
        """Where epochs end."""
        images = self.recipe["dataset"]["num_train_images"]
        return EpochClock(images, self.mini_batch_size, self.recipe["last_batch"])

    @cached_property
    def epoch_ends(self) -> list[int]:
        """Updates done at the end of each epoch."""
        return [self.clock.steps_until(epoch) for epoch in range(1, self.content["epochs"] + 1)]

    @cached_property
    def epoch_starts(self) -> set[int]:
        """First step of each epoch."""
        return {0, *self.epoch_ends[:-1]}

    def epoch_at(self, step: int) -> int:
        """Epoch (from 1) that a step belongs to."""
        return bisect.bisect_right(self.epoch_ends, step) + 1

    def is_audited(self, step: int) -> bool:
        """Whether all ranks compare notes at this step."""
        return step % self.settings["audit_every_steps"] == 0

    def shows_gradients(self, step: int) -> bool:
        """Whether what is measured of the gradient at this step has a row of its own."""
        return self.epoch_at(step) <= self.settings["gradients_first_epochs"]

    def checkpoint_is_due(self, ends_epoch: bool, since_last_sec: float) -> bool:
        """At the end of each epoch, or every so many minutes by the first rank's clock; a collective then."""
        minutes = self.settings["checkpoint_minutes"]
        if minutes is None:
            return ends_epoch
        due = torch.tensor(float(since_last_sec >= 60 * minutes), device=self.device)
        torch.distributed.broadcast(due, src=0)
        return bool(due)

    def holds_lease(self) -> bool:
        """Whether no other copy has taken the run over."""
        return self.lease is None or is_current(self.lease)

    def check_lease(self) -> None:
        """Before the first rank writes; raises LeaseLostError where another copy has taken the run over."""
        if self.rank.is_first and not self.holds_lease():
            raise LeaseLostError(f"another copy has taken over: {self.lease} is not the newest of its folder")

    def save(self, totals: dict[str, Any]) -> None:
        """Take a checkpoint, which is published while training goes on; a collective."""
        self.check_lease()
        self.checkpoints.save(
            self.engine,
            self.statistics,
            self.rank,
            step=totals["step"],
            zero_stage=self.settings["zero_stage"],
            notes={"totals": totals},
            gradient=self.gradients.state(),
        )

    def restore(self) -> dict[str, Any] | None:
        """Load the newest checkpoint, if any, and return its totals; a collective."""
        stage = self.settings["zero_stage"]
        latest = self.checkpoints.load(self.engine, self.statistics, self.rank, zero_stage=stage)
        if latest is None:
            return None
        self.gradients.set_state(latest["gradient"])
        return latest["totals"]

    def report_progress(self, done: int, epoch: int) -> None:
        """Tell how far training is, on the first rank."""
        if self.progress:
            self.progress.step(done, epoch)

    def say(self, line: str) -> None:
        """A line for the log, on the first rank."""
        if self.progress:
            self.progress.say(line)
