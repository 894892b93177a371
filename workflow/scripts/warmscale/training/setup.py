"""Building everything that a rank needs to train a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.utils.deterministic

from ..cluster.discovery import Rank
from ..records import StateFolder
from ..study.config import ZERO_1_ONLY
from ..study.content import filled
from ..study.schedule import Schedule
from ..study.throughput import is_measurement, reads_nothing, total_steps
from .allocator import keep_freed_memory
from .audit import Audit
from .batchnorm import RunningStatistics, keep_workers_apart
from .engine import Plan, make_engine
from .evaluate import Normalise
from .forward import speed_up, to_channels_last
from .gradients import Gradients
from .images import Images
from .model import ConfigError, build_model
from .optimizer import build_optimizer
from .pack import PackedSplit, open_splits
from .passes import micro_batch_size
from .progress import Progress
from .speed import choose_speed
from .training import Training
from .tree import Split


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
    lease: Path | None = None,
) -> Training:
    """Build a training whose ranks have joined; a collective."""
    recipe = filled(content)
    if settings["zero_stage"] and (recipe["optimizer"]["name"], recipe["precision"]) != ZERO_1_ONLY:
        only = f"only with optimizer {ZERO_1_ONLY[0]} and precision {ZERO_1_ONLY[1]}"
        raise ConfigError(f"placement.zero_stage: 1 trains as stage 0 does {only}")
    choose_arithmetic(tf32=recipe["tf32"], deterministic=settings["deterministic"] or device.type == "cpu")
    if device.type == "cpu":
        keep_freed_memory()
    splits = {} if reads_nothing(content) else open_splits(index, root, recipe["dataset"]["reencode"])
    model = _model(content, recipe).to(device)
    size, micro = content["mini_batch_size"], micro_batch_size(content)
    speed = choose_speed(
        settings,
        recipe,
        model,
        images_a_worker=micro,
        workers=size // micro // rank.world_size,
        ranks=rank.world_size,
        device=device,
    )
    if speed.channels_last:
        to_channels_last(model)
    keep_workers_apart(model, speed.workers_per_pass)
    statistics = RunningStatistics(  # before passes are captured, with the momentum that layers have then
        model,
        momentum=recipe["batchnorm_momentum"],
        per=recipe["batchnorm_momentum_per"],
        batches=size // micro,
    )
    optimizer = build_optimizer(model, recipe["optimizer"], fused=speed.fused_optimizer)
    audit = Audit(optimizer, model, recipe["optimizer"], recipe["gradient_clipping"])
    plan = Plan(
        mini_batch_size=size,
        micro_batch_size=micro * speed.workers_per_pass,
        micro_batches=size // (micro * speed.workers_per_pass) // rank.world_size,
        gradient_clipping=recipe["gradient_clipping"],
        precision=recipe["precision"],
        zero_stage=settings["zero_stage"],
        device=device,
    )
    engine = make_engine(settings["engine"], model, optimizer, plan)
    gradients = Gradients(
        engine,
        # at stage 1 gradients are averaged in pieces, out of sight
        every_steps=settings["gradients_every_steps"] if settings["gradients"] and not plan.zero_stage else None,
        mini_batch_size=size,
        images_per_pass=plan.micro_batch_size,
        passes=plan.micro_batches,
    )
    speed_up(
        model,
        speed,
        shape=(plan.micro_batch_size, 3, *[recipe["dataset"]["image_size"]] * 2),
        deterministic=settings["deterministic"],
        precision=engine.autocast(),
    )
    steps = total_steps(content) if is_measurement(content) else Schedule.from_json(content["schedule"]).total_steps
    progress = Progress(state.progress, total_steps=steps, images_per_step=size, name=run_id) if rank.is_first else None
    return Training(
        run_id=run_id,
        content=content,
        recipe=recipe,
        settings=settings,
        speed=speed,
        state=state,
        lease=lease,
        rank=rank,
        device=device,
        engine=engine,
        audit=audit,
        gradients=gradients,
        statistics=statistics,
        train_images=_images(
            splits.get("train"), recipe, augment=recipe["augmentation"] == "crop_flip", content=content
        ),
        val_images=_images(splits.get("val"), recipe, augment=False, content=content),
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
        # else every tensor is filled with NaN before something else is written into it: 4 % of a small model's step
        torch.utils.deterministic.fill_uninitialized_memory = False


def _model(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> torch.nn.Module:
    model = build_model(
        recipe["model"],
        num_classes=recipe["dataset"]["num_classes"],
        zero_init_residual=recipe["zero_init_residual"],
        init_seed=content["init_seed"],
    )
    return model.double() if recipe["precision"] == "fp64" else model


def _images(
    split: Split | PackedSplit | None, recipe: Mapping[str, Any], *, augment: bool, content: Mapping[str, Any]
) -> Images | None:
    if split is None:
        return None
    return Images(
        split,
        image_size=recipe["dataset"]["image_size"],
        val_resize=recipe["dataset"]["val_resize"],
        augment=augment,
        data_seed=content["data_seed"],
        decoder=recipe["dataset"]["decoder"],
    )
