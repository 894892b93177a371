"""How much memory a pass takes: let go of what a failed one holds, then measure the peak of the next."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import traceback
from collections.abc import Callable

import torch

from .memory import host_limit, process_mib, reset_resident_peak


def let_go(error: BaseException) -> None:
    """Free what the frames of a failed step hold: images, activations, the graph."""
    following: BaseException | None = error
    while following is not None:
        traceback.clear_frames(following.__traceback__)
        following = following.__cause__ or following.__context__
    gc.collect()


def not_resident_mib() -> float:
    """What was mapped and not resident when memory ran out: the peaks of both were reached together."""
    limit, own = host_limit(), process_mib()
    return own["VmPeak"] - own["VmHWM"] if limit and limit.is_address_space else 0.0


def peak_meter(device: torch.device, beside_mib: float) -> Callable[[], float | None]:
    """Start measuring; the result returns the peak since then in MiB, on a host `beside_mib` more than was resident."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)

        def device_peak() -> float:
            torch.cuda.synchronize(device)
            return torch.cuda.max_memory_reserved(device) / 2**20

        return device_peak
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc: hand back what was freed
    is_reset = reset_resident_peak()
    return lambda: process_mib()["VmHWM"] + beside_mib if is_reset else None
