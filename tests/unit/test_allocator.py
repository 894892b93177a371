"""What is freed in a step is there for the next one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
STEPS = """if True:
    import ctypes, resource
    from warmscale.training.allocator import keep_freed_memory
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

    def step():
        blocks = [libc.malloc(ctypes.c_size_t(size << 20)) for size in (20, 10, 30, 25, 5)]
        for block in blocks:
            ctypes.memset(block, 1, 5 << 20)
        for block in blocks:
            libc.free(block)

    if KEEPS:
        keep_freed_memory()
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keeps: bool) -> int:
    """Pages that the kernel filled in ten steps of 25 MiB, after a first one."""
    words = [sys.executable, "-c", STEPS.replace("KEEPS", str(keeps))]
    return int(subprocess.run(words, env={"PYTHONPATH": str(SCRIPTS)}, capture_output=True, check=True).stdout)


def test_memory_that_is_kept_is_not_filled_by_the_kernel_again():
    assert faults(keeps=True) < 100 < 10_000 < faults(keeps=False)
