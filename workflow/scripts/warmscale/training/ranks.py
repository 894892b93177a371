"""How the ranks of a run find each other, and each its device."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ..cluster.addresses import leads_away, networks
from ..cluster.discovery import Rank
from ..records import read_json, write_json
from .model import ConfigError

TIMEOUT = timedelta(minutes=30)
MEETING_TIMEOUT = timedelta(minutes=10)
"""For all ranks to have started, and for a shared file system to show what the first one wrote."""
POLL_SEC = 0.1


class NodeError(RuntimeError):
    """A node that lacks what it should have."""


class MeetingError(RuntimeError):
    """Ranks that did not come together."""


def choose_device(requested: str, rank: Rank) -> torch.device:
    """The rank's GPU where there is one, else the CPU, unless told otherwise.

    Raises NodeError where GPUs are asked for and none is there, and ConfigError where there are fewer than ranks.

    Our own parent and torchrun show a rank all GPUs of its node; other launchers may be told to show it only its own.
    """
    gpus = torch.cuda.device_count() if requested != "cpu" else 0
    if requested == "cpu" or (requested == "auto" and not gpus):
        return torch.device("cpu")
    if not gpus:
        raise NodeError(f"{socket.gethostname()} shows no GPU, and the run was placed on {rank.local_rank + 1} or more")
    index = 0 if gpus == 1 and "RANK" not in os.environ else rank.local_rank
    if index >= gpus:
        raise ConfigError(f"placement: rank {rank.local_rank} of this node needs a GPU of its own; the node has {gpus}")
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def meet(rank: Rank, meeting: Path) -> dist.Store | None:
    """Let ranks find each other: from then on they wait for each other as long as for any collective.

    None where torchrun's agents have met. Raises MeetingError where the first rank does not come in time.
    """
    if rank.master:
        return None
    return dist.HashStore() if rank.world_size == 1 else _meet(rank, meeting)


def join_ranks(rank: Rank, device: torch.device, meeting: Path, store: dist.Store | None = None) -> None:
    """Set up communication between ranks, which may have met before; a collective.

    Raises MeetingError where the ranks do not meet in time.
    """
    backend = "nccl" if device.type == "cuda" else "gloo"
    _choose_network(rank)
    if rank.master:  # torchrun's agents have met, and its variables tell where
        dist.init_process_group(backend, init_method="env://", timeout=TIMEOUT)
        return
    store = store or meet(rank, meeting)
    dist.init_process_group(backend, store=store, rank=rank.rank, world_size=rank.world_size, timeout=TIMEOUT)


def _meet(rank: Rank, meeting: Path) -> dist.Store:
    """The first rank opens a port that the system chooses, and tells the others in a file: no two runs collide."""
    host = socket.gethostname()
    if rank.is_first:
        store = dist.TCPStore("localhost", 0, rank.world_size, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
        write_json(meeting, {"host": host, "addresses": [*networks().values()], "port": store.port})
        return store
    give_up = time.monotonic() + MEETING_TIMEOUT.total_seconds()
    while (first := read_json(meeting)) is None:
        if time.monotonic() > give_up:
            raise MeetingError(f"rank {rank.rank} on {host} waited {MEETING_TIMEOUT} for the first rank's {meeting}")
        time.sleep(POLL_SEC)
    return dist.TCPStore(address_of(first, host), first["port"], rank.world_size, is_master=False, timeout=TIMEOUT)


def address_of(first: Mapping[str, Any], host: str) -> str:
    """By what a rank on a host reaches the first one: its name, or an address where here that means nothing."""
    if first["host"] == host:
        return "localhost"
    return first["host"] if leads_away(first["host"]) or not first["addresses"] else first["addresses"][0]


def _choose_network(rank: Rank) -> None:
    """Where gloo would wait for other hosts on loopback: it listens on whatever this host's own name resolves to."""
    is_launched = rank.master or "RANK" not in os.environ  # our own parent starts ranks of one host only
    if is_launched and not leads_away(socket.gethostname()) and (known := networks()):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", next(iter(known)))
