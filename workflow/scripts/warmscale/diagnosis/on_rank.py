"""One rank of the check: who it is, what it has, whether the ranks meet, how fast they add up, some training steps."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from ..cluster.addresses import leads_away, networks
from ..cluster.discovery import Rank
from ..records import write_json
from .findings import ask
from .on_nodes import CheckFolder
from .software import requirements, wrong_packages
from .storage import why_not_writable

MEETING_SEC = 150
"""Ranks of a run wait longer for each other; that they never meet is said sooner here."""
MIB_ON_GPU = (1, 4, 16, 64, 256)
MIB_ON_CPU = (1, 4, 16)
REPEATS_ON_GPU, REPEATS_ON_CPU = 20, 3


@dataclass
class Facts:
    """What a rank knows of itself, written anew at each stage: so a rank that hangs says where."""

    folder: CheckFolder
    values: dict[str, Any] = field(default_factory=dict)

    def note(self, stage: str, **values: Any) -> None:
        """Write all that is known so far."""
        self.values |= {"stage": stage, "host": socket.gethostname(), **values}
        rank = self.values.get("rank", "unknown")
        write_json(self.folder.ranks / f"{rank}-{socket.gethostname()}-{os.getpid()}.json", self.values)

    @contextmanager
    def going_through(self, stage: str) -> Iterator[None]:
        """Note a stage, and the first line of what ends it."""
        self.note(stage)
        try:
            yield
        except Exception as error:
            self.note(stage, error=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
            raise


def meet(folder: CheckFolder, rank: Rank, requested: str) -> int:
    """Join the ranks and measure all-reduce; a collective."""
    facts = Facts(folder, {"rank": rank.rank, "world_size": rank.world_size, "local_rank": rank.local_rank})
    try:
        with facts.going_through("importing torch"):
            facts.values |= _host_facts(folder)
            import torch
            import torch.distributed as dist

            from ..training import ranks
        with facts.going_through("choosing a device"):
            device = ranks.choose_device(requested, rank)
            facts.values |= _device_facts(torch, device, rank)
        with facts.going_through("joining"):
            ranks.TIMEOUT = ranks.MEETING_TIMEOUT = timedelta(seconds=MEETING_SEC)
            ranks.join_ranks(rank, device, folder.state("meet").meeting(0))
        with facts.going_through("all-reduce"):
            facts.values["reduce"] = _all_reduce(torch, dist, rank, device)
            dist.barrier()
    except Exception:
        import traceback

        traceback.print_exc()
        return 1
    facts.note("done")
    dist.destroy_process_group()
    return 0


def _host_facts(folder: CheckFolder) -> dict[str, Any]:
    probe = folder.ranks / f".clock-{socket.gethostname()}-{os.getpid()}"
    probe.parent.mkdir(exist_ok=True)
    probe.touch()
    offset = time.time() - probe.stat().st_mtime
    probe.unlink()
    local = os.environ.get("WARMSCALE_NODE_LOCAL")
    return {
        "pid": os.getpid(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)),
        "python": platform.python_version(),
        "wrong_packages": wrong_packages(requirements()),
        "clock_offset_sec": offset,
        "node_local": local,
        "node_local_error": why_not_writable(Path(local)) if local else None,
        "is_named": leads_away(socket.gethostname()),
        "networks": networks(),
        "chosen_network": os.environ.get("GLOO_SOCKET_IFNAME"),
        "unknown_launcher": next((name for name in ("PMI_RANK", "PMIX_RANK") if name in os.environ), None),
    }


def _device_facts(torch: Any, device: Any, rank: Rank) -> dict[str, Any]:
    facts = {"device": device.type, "torch": torch.__version__, "deepspeed": metadata.version("deepspeed")}
    if device.type != "cuda":
        from ..training.provenance import processor

        return facts | {"device_name": processor()}
    nccl = ".".join(map(str, torch.cuda.nccl.version()))
    facts |= {"device_name": torch.cuda.get_device_name(device), "cuda": torch.version.cuda, "nccl": nccl}
    if rank.local_rank == 0:
        driver = ask(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
        facts["driver"] = driver.text.partition("\n")[0] if driver.code == 0 else "unknown"
    return facts


def _all_reduce(torch: Any, dist: Any, rank: Rank, device: Any) -> list[dict[str, float]]:
    """Time and bus bandwidth of sums over all ranks, by size; raises ArithmeticError where a sum is wrong.

    Bus bandwidth as NCCL's tests count it, so that it does not depend on n, the ranks:
    2 (n - 1) / n times the bytes over the time.
    """
    on_gpu = device.type == "cuda"
    sizes, repeats = (MIB_ON_GPU, REPEATS_ON_GPU) if on_gpu else (MIB_ON_CPU, REPEATS_ON_CPU)
    rows = []
    for mib in sizes:
        numbers = torch.full((mib * 2**18,), rank.rank + 1.0, device=device)  # fp32
        dist.all_reduce(numbers)
        expected = rank.world_size * (rank.world_size + 1) / 2
        if (numbers != expected).any():
            raise ArithmeticError(f"ranks add up to {numbers[0]:g} instead of {expected:g} over {mib} MiB")
        numbers.zero_()
        dist.all_reduce(numbers)
        _wait_for(torch, dist, device)
        began = time.perf_counter()
        for _ in range(repeats):
            dist.all_reduce(numbers)
        if on_gpu:
            torch.cuda.synchronize(device)
        taken = torch.tensor((time.perf_counter() - began) / repeats, device=device)
        dist.all_reduce(taken, op=dist.ReduceOp.MAX)
        bus = 2 * (rank.world_size - 1) / rank.world_size * mib * 2**20 / float(taken)
        rows.append({"mib": mib, "sec": float(taken), "bus_gb_per_sec": bus / 1e9})
    return rows


def _wait_for(torch: Any, dist: Any, device: Any) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    dist.barrier()
