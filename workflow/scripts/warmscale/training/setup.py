"""Everything that a rank needs to train a run, built from its content."""

from __future__ import annotations

import bisect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..records import StateFolder
from ..study.content import filled
from ..study.schedule import Schedule
from ..study.steps import EpochClock
from .audit import Audit
from .batchnorm import RunningStatistics
from .checkpoint import Checkpoints
from .engine import Engine
from .evaluate import Normalise
from .images import Images
from .model import build_model
from .optimizer import build_optimizer
from .progress import Progress
from .ranks import Rank
from .tree import Split, read_index


@dataclass
class Training:
    """One run on one rank."""

    run_id: str
    content: Mapping[str, Any]
    recipe: Mapping[str, Any]
    """The content's recipe and data set with defaults filled in."""
    settings: Mapping[str, Any]
    """Placement: nothing here changes what is studied."""
    state: StateFolder
    rank: Rank
    device: torch.device
    engine: Engine
    audit: Audit
    statistics: RunningStatistics
    train_images: Images
    val_images: Images
    normalise: Normalise
    progress: Progress | None
    """On the first rank."""

    @property
    def mini_batch_size(self) -> int:
        """Images of one update, all ranks together."""
        return self.content["mini_batch_size"]

    @property
    def micro_batch_size(self) -> int:
        """Images of one forward pass: one BatchNorm batch."""
        return micro_batch_size(self.content)

    @property
    def micro_batches(self) -> int:
        """Forward passes of this rank in one step."""
        return self.mini_batch_size // self.micro_batch_size // self.rank.world_size

    @property
    def generator(self) -> torch.Generator:
        """What a model draws from (dropout)."""
        if self.device.type == "cuda":
            return torch.cuda.default_generators[self.device.index]
        return torch.default_generator

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

    def checkpoint_is_due(self, ends_epoch: bool, since_last_sec: float) -> bool:
        """At the end of each epoch, or every so many minutes by the first rank's clock; a collective then."""
        minutes = self.settings["checkpoint_minutes"]
        if minutes is None:
            return ends_epoch
        due = torch.tensor(float(since_last_sec >= 60 * minutes), device=self.device)
        torch.distributed.broadcast(due, src=0)
        return bool(due)

    def save(self, totals: dict[str, Any]) -> None:
        """Publish a checkpoint; a collective."""
        stage = self.settings["zero_stage"]
        checkpoints = Checkpoints(self.state.checkpoints)
        checkpoints.save(
            self.engine,
            self.statistics,
            self.rank,
            step=totals["step"],
            zero_stage=stage,
            client_state={"totals": totals},
        )

    def restore(self) -> dict[str, Any] | None:
        """Load the newest checkpoint, if any, and return its totals; a collective."""
        checkpoints = Checkpoints(self.state.checkpoints)
        state = checkpoints.load(self.engine, self.statistics, self.rank, zero_stage=self.settings["zero_stage"])
        return state and state["totals"]

    def report_progress(self, done: int, epoch: int) -> None:
        """Tell how far training is, on the first rank."""
        if self.progress:
            self.progress.step(done, epoch)

    def say(self, line: str) -> None:
        """A line for the log, on the first rank."""
        if self.progress:
            self.progress.say(line)


def micro_batch_size(content: Mapping[str, Any]) -> int:
    """Images of one BatchNorm batch of a content."""
    return content.get("batchnorm_batch_size") or content["mini_batch_size"] // content["workers"]


def set_up(
    run_id: str,
    content: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    state: StateFolder,
    index: Path,
    root: Path,
    rank: Rank,
    device: torch.device,
) -> Training:
    """Build a training whose ranks have joined; a collective."""
    recipe = filled(content)
    choose_arithmetic(tf32=recipe["tf32"], deterministic=settings["deterministic"])
    splits = read_index(index, root)
    model = _model(content, recipe).to(device)
    optimizer = build_optimizer(model, recipe["optimizer"])
    size, micro = content["mini_batch_size"], micro_batch_size(content)
    audit = Audit(optimizer, model, recipe["optimizer"], recipe["gradient_clipping"])
    engine = Engine(
        model,
        optimizer,
        mini_batch_size=size,
        micro_batch_size=micro,
        micro_batches=size // micro // rank.world_size,
        gradient_clipping=recipe["gradient_clipping"],
        precision=recipe["precision"],
        zero_stage=settings["zero_stage"],
        device=device,
    )
    steps = Schedule.from_json(content["schedule"]).total_steps
    progress = Progress(state.progress, total_steps=steps, images_per_step=size, name=run_id) if rank.is_first else None
    return Training(
        run_id=run_id,
        content=content,
        recipe=recipe,
        settings=settings,
        state=state,
        rank=rank,
        device=device,
        engine=engine,
        audit=audit,
        statistics=RunningStatistics(
            model,
            momentum=recipe["batchnorm_momentum"],
            per=recipe["batchnorm_momentum_per"],
            batches=size // micro,
        ),
        train_images=_images(splits["train"], recipe, augment=recipe["augmentation"] == "crop_flip", content=content),
        val_images=_images(splits["val"], recipe, augment=False, content=content),
        normalise=Normalise.from_values(
            recipe["dataset"]["mean"], recipe["dataset"]["std"], device, next(model.parameters()).dtype
        ),
        progress=progress,
    )


def choose_arithmetic(*, tf32: bool, deterministic: bool) -> None:
    """Process-wide switches of PyTorch: TF32 as the recipe says, deterministic kernels as the placement says."""
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # use_deterministic_algorithms(True), without its import of the compiler, which takes longer than a short run
        torch.set_deterministic_debug_mode("error")


def _model(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> torch.nn.Module:
    model = build_model(
        recipe["model"],
        num_classes=recipe["dataset"]["num_classes"],
        zero_init_residual=recipe["zero_init_residual"],
        init_seed=content["init_seed"],
    )
    return model.double() if recipe["precision"] == "fp64" else model


def _images(split: Split, recipe: Mapping[str, Any], *, augment: bool, content: Mapping[str, Any]) -> Images:
    return Images(
        split,
        image_size=recipe["dataset"]["image_size"],
        val_resize=recipe["dataset"]["val_resize"],
        augment=augment,
        data_seed=content["data_seed"],
    )
