"""How the C library hands out memory to a process that trains on a CPU."""

from __future__ import annotations

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
KEPT_BYTES = 32 * 2**20
"""The most that glibc itself would keep, after a while: larger ones would leave holes that nothing else fits in."""


def keep_freed_memory() -> None:
    """Keep what is freed for the next step, which needs as much again.

    Else glibc gives it back, and when a tensor is made there again the kernel fills it with zeros page by page: a
    quarter of a step of ResNet-18. Other C libraries do as they do.
    """
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, -1)
