"""Which rank this process is, and how the ranks find each other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from .model import ConfigError

TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class Rank:
    """A process with one device."""

    rank: int
    world_size: int
    local_rank: int

    @property
    def is_first(self) -> bool:
        """The rank that writes what is written once."""
        return self.rank == 0


def rank_from_environment(environment: Mapping[str, str]) -> Rank:
    """RANK, WORLD_SIZE and LOCAL_RANK; a process that nobody launched is the only one."""
    return Rank(*(int(environment.get(name, default)) for name, default in _VARIABLES))


_VARIABLES = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))


def choose_device(requested: str, rank: Rank) -> torch.device:
    """The rank's GPU where there is one, else the CPU, unless told otherwise; raises ConfigError if it lacks a GPU."""
    gpus = torch.cuda.device_count() if requested != "cpu" else 0
    if requested == "cpu" or (requested == "auto" and not gpus):
        return torch.device("cpu")
    if rank.local_rank >= gpus:
        raise ConfigError(f"placement: rank {rank.local_rank} of this node needs a GPU of its own; the node has {gpus}")
    device = torch.device("cuda", rank.local_rank)
    torch.cuda.set_device(device)
    return device


def join_ranks(rank: Rank, device: torch.device) -> None:
    """Set up communication between ranks; a collective.

    On one node the ranks meet in a file of the run's own, so that runs side by side cannot take each other's port.
    """
    meeting = os.environ.get("WARMSCALE_MEETING_FILE")
    dist.init_process_group(
        backend="nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{meeting}" if meeting else "env://",
        rank=rank.rank,
        world_size=rank.world_size,
        timeout=TIMEOUT,
    )
