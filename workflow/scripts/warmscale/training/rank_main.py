"""The life of one rank: join, train, leave an outcome or a reason."""

from __future__ import annotations

import dataclasses
import os
import platform
import socket
import traceback
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ..records import EPOCH_COLUMNS, STEP_COLUMNS, StateFolder, keep_rows, read_json, read_rows, write_json
from .audit import AuditError
from .loop import Ending, Loop, Totals
from .model import ConfigError
from .provenance import processor, source_commit
from .ranks import choose_device, join_ranks, rank_from_environment
from .setup import set_up
from .signals import PAUSED_EXIT_CODE, Stop
from .training import Training
from .tree import DataError

PACKAGES = ("torch", "torchvision", "deepspeed", "numpy", "pillow", "timm")
FAILURES = (
    (AuditError, "audit"),
    (DataError, "data"),
    (ConfigError, "config"),
    (torch.OutOfMemoryError, "out_of_memory"),
    (MemoryError, "out_of_memory"),
    (dist.DistError, "communication"),
)


def train_rank(run_id: str, settings: Mapping[str, Any], stop: Stop, *, state: Path, index: Path, root: Path) -> int:
    """Train a run on this rank and return the exit code: 0 with an outcome, 75 when paused, 1 on failure."""
    folder = StateFolder(state)
    try:
        rank = rank_from_environment(os.environ)
        device = choose_device(settings["device"], rank)
        join_ranks(rank, device)
        content = read_json(folder.content)
        training = set_up(run_id, content, settings, state=folder, index=index, root=root, rank=rank, device=device)
        ending = _train(training, stop)
    except Exception as error:
        _leave_reason(folder, error)
        return 1
    dist.destroy_process_group()
    return PAUSED_EXIT_CODE if ending.state == "paused" else 0


def _train(training: Training, stop: Stop) -> Ending:
    """Resume where there is a checkpoint, train, and leave what came out; a collective."""
    _write_environment(training)
    totals = Totals(**(training.restore() or {}))
    if training.rank.is_first:
        keep_rows(training.state.epochs, EPOCH_COLUMNS, "step", totals.step)
        keep_rows(training.state.steps, STEP_COLUMNS, "step", totals.step - 1)
        training.progress.start(totals.step)
        training.say(f"{training.run_id}: from step {totals.step} of {training.schedule.total_steps}")
    dist.barrier()
    ending = Loop(training, totals, stop).run()
    if ending.state == "finished" and training.settings["keep_weights"]:
        training.save(dataclasses.asdict(ending.totals))
    if training.rank.is_first:
        _leave_ending(training, ending)
    return ending


def _leave_ending(training: Training, ending: Ending) -> None:
    epochs_done = len(read_rows(training.state.epochs))
    training.progress.write(ending.state, ending.totals.step, epochs_done)
    training.say(f"{training.run_id}: {ending.state} at step {ending.totals.step}")
    if ending.state == "paused":
        return
    outcome = {
        "state": ending.state,
        "diverged_step": ending.diverged_step,
        "epochs_done": epochs_done,
        "steps_done": ending.totals.step,
        "images_seen": ending.totals.images_seen,
        "weights_kept": training.settings["keep_weights"],
    }
    write_json(training.state.outcome, outcome)


def _leave_reason(folder: StateFolder, error: Exception) -> None:
    """Write the first reason of any rank: what other ranks say afterwards follows from it."""
    traceback.print_exc()
    failure_class = next((name for kind, name in FAILURES if isinstance(error, kind)), "bug")
    if isinstance(error, RuntimeError) and "gloo" in str(error):  # gloo has no exception of its own
        failure_class = "communication"
    first_line = str(error).partition("\n")[0] or type(error).__name__
    if not folder.failure.exists():
        write_json(folder.failure, {"failure_class": failure_class, "failure": first_line})


def _write_environment(training: Training) -> None:
    """Leave what this attempt runs on; a collective."""
    hosts: list[str | None] = [None] * training.rank.world_size
    dist.all_gather_object(hosts, socket.gethostname())
    if not training.rank.is_first:
        return
    is_cuda = training.device.type == "cuda"
    versions = {name: metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    if is_cuda:
        versions |= {"cuda": torch.version.cuda, "nccl": ".".join(map(str, torch.cuda.nccl.version()))}
    environment = {
        "hosts": sorted(set(hosts)),
        "world_size": training.rank.world_size,
        "zero_stage": training.settings["zero_stage"],
        "deterministic": training.settings["deterministic"] or not is_cuda,
        "device": training.device.type,
        "device_name": torch.cuda.get_device_name(training.device) if is_cuda else processor(),
        "versions": versions,
        "commit": source_commit(),
    }
    write_json(training.state.environment, environment)
