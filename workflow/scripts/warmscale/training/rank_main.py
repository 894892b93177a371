"""The life of one rank: join, train, leave an outcome or a reason."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import platform
import re
import socket
import traceback
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ..cluster.discovery import Rank
from ..cluster.hosts import addresses_in, own_host
from ..records import EPOCH_COLUMNS, STEP_COLUMNS, StateFolder, keep_rows, read_json, read_rows, write_json
from ..study.throughput import is_measurement, reads_nothing
from . import memory_reason
from .audit import AuditError
from .loop import Ending, Loop, Totals
from .measuring import measure
from .memory import is_out_of_memory
from .model import ConfigError
from .provenance import gpu_versions, modules, processor, source_commit
from .ranks import MeetingError, NodeError, choose_device, join_ranks, meet
from .setup import set_up
from .signals import PAUSED_EXIT_CODE, Stop
from .staging import node_copy
from .training import LeaseLostError, Training
from .tree import DataError

PACKAGES = ("torch", "torchvision", "deepspeed", "numpy", "pillow", "timm", "simplejpeg")
FAILURES = (
    (AuditError, "audit"),
    (DataError, "data"),
    (ConfigError, "config"),
    (NodeError, "node"),
    (MeetingError, "communication"),
    (dist.DistError, "communication"),
    (ConnectionError, "communication"),
    (TimeoutError, "communication"),
)
"""Kinds of exceptions, and the class of what they tell of."""
COMMUNICATION = re.compile(r"gloo|nccl|socket|connection|rendezvous|tcpstore|broken pipe", re.IGNORECASE)
NODE = re.compile(
    r"uncorrectable ECC|busy or unavailable|no CUDA GPUs|no CUDA-capable|driver|NVLink|initialization error|hardware",
    re.IGNORECASE,
)
"""What exceptions without a kind of their own say."""
OF_THE_NODE = {errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.EREMOTEIO}
"""Errors of the operating system that another node may not have."""


def train_rank(
    run_id: str,
    settings: Mapping[str, Any],
    stop: Stop,
    *,
    rank: Rank,
    attempt: int,
    state: StateFolder,
    lease: Path | None,
    index: Path,
    root: Path,
) -> int:
    """Train a run on this rank and return the exit code: 0 with an outcome, 75 when paused, 1 on failure."""
    device, training = torch.device("cpu"), None
    try:
        device = choose_device(settings["device"], rank)
        store = meet(rank, state.meeting(attempt))
        content = read_json(state.content)
        if not reads_nothing(content):
            root = node_copy(root, stopping=lambda: stop.requested)  # may take longer than ranks wait to meet
        join_ranks(rank, device, state.meeting(attempt), store)
        place = {"state": state, "lease": lease, "index": index, "root": root}
        is_measured = is_measurement(content)
        if is_measured:
            settings = {**settings, "gradients": False}  # what is watched takes time
        training = set_up(run_id, content, settings, rank=rank, device=device, **place)
        _write_environment(training)
        ending = measure(training, stop) if is_measured else _train(training, stop)
    except Exception as error:
        _leave_reason(state, error, rank, device, training)
        if training:
            with contextlib.suppress(Exception):  # it would be the second reason
                training.checkpoints.wait()
        return 1
    dist.destroy_process_group()
    return PAUSED_EXIT_CODE if ending.state == "paused" else 0


def _train(training: Training, stop: Stop) -> Ending:
    """Resume where there is a checkpoint, train, and leave what came out; a collective."""
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
    training.checkpoints.wait()
    if training.rank.is_first:
        _leave_ending(training, ending)
    dist.barrier()  # launchers kill the other ranks once one has ended with the code of a pause
    return ending


def _leave_ending(training: Training, ending: Ending) -> None:
    training.check_lease()
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


def _leave_reason(
    state: StateFolder, error: Exception, rank: Rank, device: torch.device, training: Training | None
) -> None:
    """Write the first reason of any rank: what other ranks say afterwards follows from it."""
    traceback.print_exc()
    if isinstance(error, LeaseLostError):  # the state is another copy's by now
        return
    if is_out_of_memory(error):
        memory_reason.leave_reason(state, error, rank.rank, device, training)
    else:
        failure_class = class_of(error)
        first_line = str(error).partition("\n")[0] or type(error).__name__
        reason = {
            "failure_class": failure_class,
            "failure": first_line,
            "rank": rank.rank,
            "host": own_host(os.environ),
        }
        if peers := addresses_in(str(error)):
            reason["peers"] = peers
        memory_reason.write_first(state.failure, reason)


def class_of(error: BaseException) -> str:
    """Failure class of an exception that is not about memory."""
    for kind, name in FAILURES:
        if isinstance(error, kind):
            return name
    if isinstance(error, OSError):
        return "node" if error.errno in OF_THE_NODE else "unknown" if error.errno else "bug"
    if isinstance(error, RuntimeError):  # gloo, CUDA and others have no exceptions of their own
        return "node" if NODE.search(str(error)) else "communication" if COMMUNICATION.search(str(error)) else "bug"
    return "bug"


def _version(package: str) -> str | None:
    """None where a package is not there: not every machine has a wheel of simplejpeg."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _write_environment(training: Training) -> None:
    """Leave what this attempt runs on; a collective."""
    hosts: list[str | None] = [None] * training.rank.world_size
    dist.all_gather_object(hosts, socket.gethostname())
    if not training.rank.is_first:
        return
    is_cuda = training.device.type == "cuda"
    versions = {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()}
    versions |= gpu_versions(torch.version.cuda, torch.cuda.nccl.version()) if is_cuda else gpu_versions()
    environment = {
        "hosts": sorted(set(hosts)),
        "world_size": training.rank.world_size,
        "engine": training.settings["engine"],
        "zero_stage": training.settings["zero_stage"],
        "deterministic": training.settings["deterministic"] or not is_cuda,
        "speed": dataclasses.asdict(training.speed),
        "device": training.device.type,
        "device_name": torch.cuda.get_device_name(training.device) if is_cuda else processor(),
        "versions": versions,
        "modules": modules(),
        "image": (read_json(training.state.attempt) or {}).get("image"),
        "commit": source_commit(),
    }
    write_json(training.state.environment, environment)
