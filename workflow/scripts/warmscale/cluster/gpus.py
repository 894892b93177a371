"""GPUs of this machine for the runs that share it: one run a GPU, where no scheduler sees to that.

Standard library only.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .. import lease

POLL_SEC = 1.0


class NoGpuError(RuntimeError):
    """More GPUs are needed than this machine has."""


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Ids of the GPUs that programs see here; none where there is no NVIDIA driver."""
    if (told := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in told.split(",") if name.strip() and name.strip() != "-1"]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]


@contextlib.contextmanager
def reserved(
    count: int,
    environment: Mapping[str, str],
    folder: Path | None = None,
    give_up: Callable[[], bool] = lambda: False,
) -> Iterator[list[str]]:
    """Ids of GPUs that no other run of this user uses, as long as the block lasts; waits until so many are free.

    None where `give_up` says so meanwhile. Raises NoGpuError where there are fewer.
    """
    gpus = visible_gpus(environment)
    if count > len(gpus):
        raise NoGpuError(f"placement: {count} GPUs are needed, this machine has {len(gpus)}")
    folder = folder or Path(tempfile.gettempdir()) / f"warmscale-gpus-{getpass.getuser()}"
    with contextlib.ExitStack() as stack:
        held: list[str] = []
        while len(held) < count and not give_up():
            for gpu in (gpu for gpu in gpus if gpu not in held):
                with contextlib.suppress(lease.LeaseHeldError):
                    stack.enter_context(lease.acquire(folder / gpu, {"pid": os.getpid()}))
                    held.append(gpu)
                if len(held) == count:
                    break
            else:  # not to hold some while another run holds the rest and waits as well
                stack.close()
                held.clear()
                time.sleep(POLL_SEC)
        yield sorted(held, key=gpus.index)
