"""What a rank that ran out of memory leaves: at once what is known, then the advice, piece by piece."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import traceback
from typing import Any

import torch

from ..cluster.hosts import own_host
from ..records import StateFolder, read_json, write_first, write_json
from .memory import asked_mib, host_limit, is_of_host, process_mib
from .memory_advice import advise
from .memory_meter import let_go
from .memory_probe import situations
from .memory_text import advice_lines, failure_line
from .training import Training

PROBE_SEC = float(os.environ.get("WARMSCALE_MEMORY_PROBE_SEC", 6.0))
"""For trying; less than the launcher's grace for the ranks that remain when another one that failed has ended."""
NOTABLE = 0.02
"""Share of a limit from which on what others use is worth a word."""


def leave_reason(
    state: StateFolder, error: BaseException, rank: int, device: torch.device, training: Training | None
) -> None:
    """Write what is known at once, and the advice once it has been tried; for the first rank that says anything.

    Others stay as long: where one rank ends with an error, many launchers kill the rest.
    """
    deadline = time.monotonic() + PROBE_SEC
    let_go(error)
    memory = measure(error, device, training)
    reason = {"failure_class": "out_of_memory", "failure": failure_line(rank, memory), "rank": rank, "memory": memory}
    reason["host"] = own_host(os.environ)
    if not write_first(state.failure, {**reason, "trying": True}):
        _wait_for_advice(state, deadline)
        return
    advice: list[dict[str, Any]] = []
    try:
        for known in situations(training, memory, deadline) if training else ():
            advice = advise(known)
            memory["tried"] = [dataclasses.asdict(point) for point in known.points]
            reason |= {"failure": failure_line(rank, memory, advice), "advice": advice}
            write_json(state.failure, {**reason, "trying": True})  # what comes next may end this process
    except Exception:  # what is known so far stays
        traceback.print_exc()
    write_json(state.failure, reason)
    print("\n".join(advice_lines(advice)), flush=True)


def _wait_for_advice(state: StateFolder, deadline: float) -> None:
    """Let the rank that was first finish, if it is trying something."""
    while time.monotonic() < deadline:
        reason = read_json(state.failure) or {}
        if not reason.get("trying"):
            return
        time.sleep(0.1)


def measure(error: BaseException, device: torch.device, training: Training | None) -> dict[str, Any]:
    """What was used and what there was when memory ran out."""
    on_host = device.type != "cuda" or is_of_host(error)
    facts = {"on_host": on_host, "asked_mib": _rounded(asked_mib(error)), "during": _during(error, training)}
    if training:
        share = training.mini_batch_size // training.content["workers"]
        facts |= {"worker_batch_size": share, "images": training.images_per_pass}
        facts["workers_per_pass"] = training.speed.workers_per_pass
    used: dict[str, Any] = {"peak_mib": None, "limit_mib": None, "limit_what": "memory", "others_mib": 0.0}
    with contextlib.suppress(RuntimeError):  # a device that cannot even be asked any more
        used = _host_use() if on_host else _device_use(device)
    return facts | {name: _rounded(value) if isinstance(value, float) else value for name, value in used.items()}


def _device_use(device: torch.device) -> dict[str, Any]:
    free, total = torch.cuda.mem_get_info(device)
    others = (total - free - torch.cuda.memory_reserved(device)) / 2**20  # CUDA itself, and other processes
    return {
        "peak_mib": torch.cuda.max_memory_reserved(device) / 2**20,
        "peak_allocated_mib": torch.cuda.max_memory_allocated(device) / 2**20,
        "limit_mib": total / 2**20,
        "limit_what": "memory of the device",
        "others_mib": others if others > NOTABLE * total / 2**20 else 0.0,
    }


def _host_use() -> dict[str, Any]:
    limit, own = host_limit(), process_mib()
    if limit is None:
        return {"peak_mib": own["VmHWM"], "limit_mib": None, "limit_what": "memory of the machine", "others_mib": 0.0}
    others = 0.0 if limit.used_mib is None else max(0.0, limit.used_mib - own.get("VmRSS", 0.0))
    return {
        "peak_mib": own["VmPeak"] if limit.is_address_space else own["VmHWM"],
        "limit_mib": limit.mib,
        "limit_what": limit.what,
        "others_mib": others if others > NOTABLE * limit.mib else 0.0,
    }


def _during(error: BaseException, training: Training | None) -> str:
    if training is None:
        return "set-up"
    names = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    if "evaluate" in names:
        return "validation"
    return "training" if "take_step" in names else "saving or loading" if names & {"save", "restore"} else "training"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
