"""Checkpoints of a run: complete or not there, the newest and its predecessor.

DeepSpeed writes them; it destroys a tag that is used again, and its own `latest` is neither synced nor preceded by a
barrier. So tags are never used twice, and `latest.json` is replaced once all ranks have written and synced theirs.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ..cluster.discovery import Rank
from ..records import read_json, write_json
from .batchnorm import RunningStatistics
from .engine import Engine
from .model import ConfigError


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints under one folder."""

    folder: Path

    def latest(self) -> dict[str, Any] | None:
        """Tag, step, world_size and zero_stage of the newest one; None where there is none."""
        return read_json(self.folder / "latest.json")

    def save(
        self,
        engine: Engine,
        statistics: RunningStatistics,
        rank: Rank,
        *,
        step: int,
        zero_stage: int,
        client_state: dict,
    ) -> None:
        """Write and publish a checkpoint; a collective.

        BatchNorm statistics are each rank's own and saved as such: averaging them here would make the results depend
        on when checkpoints are taken.
        """
        tag, previous = f"step-{step:09d}", self.latest()
        if previous and previous["tag"] == tag:
            return
        if rank.is_first and (self.folder / tag).exists():  # written, but never published: its writer was killed
            shutil.rmtree(self.folder / tag)
        dist.barrier()
        scaler = engine.scaler.state_dict() if engine.scaler else None
        engine.save(self.folder, tag, {**client_state, "scaler": scaler})
        torch.save(statistics.flat(), self._statistics_file(tag, rank.rank))
        _sync(self.folder / tag)
        dist.barrier()
        if rank.is_first:
            latest = {"tag": tag, "step": step, "world_size": rank.world_size, "zero_stage": zero_stage}
            write_json(self.folder / "latest.json", latest)
            kept = {tag, previous and previous["tag"]}
            for old in self.folder.glob("step-*"):
                if old.name not in kept:
                    shutil.rmtree(old)

    def load(
        self, engine: Engine, statistics: RunningStatistics, rank: Rank, *, zero_stage: int
    ) -> dict[str, Any] | None:
        """Restore the newest checkpoint and return its client state, None where there is none; a collective.

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
        state = engine.load(self.folder, latest["tag"])
        if engine.scaler and state["scaler"]:
            engine.scaler.load_state_dict(state["scaler"])
        statistics.set_flat(self._load_statistics(latest, rank))
        return state

    def delete(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _statistics_file(self, tag: str, rank: int) -> Path:
        return self.folder / tag / f"batchnorm-rank{rank}.pt"

    def _load_statistics(self, latest: dict[str, Any], rank: Rank) -> torch.Tensor:
        same = latest["world_size"] == rank.world_size
        ranks = [rank.rank] if same else range(latest["world_size"])
        parts = [torch.load(self._statistics_file(latest["tag"], number), weights_only=True) for number in ranks]
        return torch.stack(parts).mean(dim=0)


def _sync(folder: Path) -> None:
    """Flush the files of a folder, and the folder, to disk."""
    for path in [*(path for path in folder.rglob("*") if path.is_file()), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
