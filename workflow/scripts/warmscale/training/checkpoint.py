"""Checkpoints of a run: complete or not there, the newest and its predecessor.

Where all ranks have the same weights and optimizer's state, the first one writes them, in the background: training goes
on with copies taken. ZeRO's parts are written by all ranks, who wait for each other. Tags are never used twice, and
`latest.json` is replaced once everything is written and synced.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ..cluster.discovery import Rank
from ..records import read_json, write_json
from .batchnorm import RunningStatistics
from .engine import Engine
from .model import ConfigError

STATE_FILE = "state.pt"


class Checkpoints:
    """The checkpoints of one run, under one folder."""

    def __init__(self, folder: Path, check_lease: Callable[[], None] = lambda: None):
        self._folder, self._check_lease = folder, check_lease
        self._newest: str | None = None
        """Tag of the newest one that this process loaded or saved; the same on all ranks."""
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: Future[None] | None = None
        self._began, self._longest_sec = 0.0, 0.0

    @property
    def longest_write_sec(self) -> float:
        """Longest time that one was in the background, with the one that is; 0 on all ranks but the first."""
        running = time.monotonic() - self._began if self._under_way else 0.0
        return max(self._longest_sec, running)

    def latest(self) -> dict[str, Any] | None:
        """Tag, step, world_size, zero_stage and notes of the newest one that is published; None where there is none."""
        return read_json(self._folder / "latest.json")

    def save(
        self,
        engine: Engine,
        statistics: RunningStatistics,
        rank: Rank,
        *,
        step: int,
        zero_stage: int,
        notes: dict[str, Any],
        gradient: dict[str, Any] | None = None,
    ) -> None:
        """Take a checkpoint; a collective. It is published by `wait` at the latest.

        gradient: what `Gradients` has to be told on resuming, the same on all ranks.
        BatchNorm statistics are each rank's own and saved as such: averaging them here would make the results depend
        on when checkpoints are taken.
        """
        self.wait()
        tag = f"step-{step:09d}"
        if tag == self._newest:
            return
        self._newest = tag
        latest = notes | {"tag": tag, "step": step, "world_size": rank.world_size, "zero_stage": zero_stage}
        parts = _of_all_ranks(statistics, engine.device, rank)
        if engine.is_partitioned:
            if rank.is_first:
                self._clear(tag)
            dist.barrier()
            engine.save_partitions(self._folder, tag)
            _sync(self._folder / tag)
            dist.barrier()
        if rank.is_first:
            state = {"statistics": parts, "gradient": _copied(gradient)}
            state |= {} if engine.is_partitioned else _copied(engine.state())
            self._began = time.monotonic()
            self._under_way = self._writer.submit(self._write, latest, state)

    def collect(self) -> None:
        """Raise what kept the last one from being published, if that is known by now; waits for nothing."""
        if self._under_way and self._under_way.done():
            self.wait()

    def wait(self) -> None:
        """Until what was saved is published. Raises what kept it from being so."""
        if self._under_way:
            self._under_way.result()
            self._under_way = None

    def load(
        self, engine: Engine, statistics: RunningStatistics, rank: Rank, *, zero_stage: int
    ) -> dict[str, Any] | None:
        """Restore the newest checkpoint and return its notes and gradient, None where there is none; a collective.

        Another number of ranks may resume at stage 0 and starts from the average of the BatchNorm statistics. Raises
        ConfigError where the optimizer's state is partitioned differently.
        """
        latest = self.latest()
        if latest is None:
            return None
        saved = (latest["world_size"], latest["zero_stage"])
        if saved != (rank.world_size, zero_stage) and (zero_stage or latest["zero_stage"]):
            raise ConfigError(
                f"placement: the checkpoint is of {saved[0]} ranks at ZeRO stage {saved[1]} and cannot be resumed on "
                f"{rank.world_size} ranks at stage {zero_stage}; only stage 0 allows another number of ranks"
            )
        state = torch.load(self._folder / latest["tag"] / STATE_FILE, map_location="cpu", weights_only=True)
        if engine.is_partitioned:
            engine.load_partitions(self._folder, latest["tag"])
        else:
            engine.set_state(state)
        parts = state["statistics"]
        same = latest["world_size"] == rank.world_size
        statistics.set_flat(parts[rank.rank] if same else torch.stack(parts).mean(dim=0))
        self._newest = latest["tag"]
        return latest | {"gradient": state.get("gradient")}

    def _write(self, latest: dict[str, Any], state: dict[str, Any]) -> None:
        """On the first rank, in the background."""
        self._check_lease()
        folder = self._folder / latest["tag"]
        if "model" in state:
            self._clear(latest["tag"])
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state, folder / STATE_FILE)
        _sync(folder)
        previous = self.latest()
        self._check_lease()
        write_json(self._folder / "latest.json", latest)
        kept = {latest["tag"], previous and previous["tag"]}
        for old in self._folder.glob("step-*"):
            if old.name not in kept:
                shutil.rmtree(old)
        self._longest_sec = max(self._longest_sec, time.monotonic() - self._began)

    def _clear(self, tag: str) -> None:
        """Remove what was written, but never published: its writer was killed."""
        shutil.rmtree(self._folder / tag, ignore_errors=True)


def _of_all_ranks(statistics: RunningStatistics, device: torch.device, rank: Rank) -> list[torch.Tensor] | None:
    """Statistics of each rank, on the first one; a collective."""
    flat = statistics.flat()
    if rank.world_size == 1:
        return [flat]
    own = flat.to(device)
    parts = [torch.empty_like(own) for _ in range(rank.world_size)] if rank.is_first else None
    dist.gather(own, parts)
    return parts and [part.cpu() for part in parts]


def _copied(state: Any) -> Any:
    """The same with its tensors on the CPU, and of their own."""
    if torch.is_tensor(state):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_copied(value) for value in state)
    return state


def _sync(folder: Path) -> None:
    """Flush the files of a folder, and the folder, to disk."""
    for path in [*(path for path in folder.rglob("*") if path.is_file()), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
