"""Commands that were told to fail, to be down, or to be slow."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from .store import Store, read_json, write_json

DOWN = "LSF is down. Please wait ..."


@dataclass(frozen=True)
class Fault:
    """What the next calls of one command meet."""

    fail_times: int = 0
    """Calls that fail."""
    down_until: float = 0.0
    """Seconds since 1970; all calls before it fail."""
    delay_sec: float = 0.0
    """How long every call takes longer."""
    message: str = DOWN
    code: int = 255


def fault(store: Store, command: str) -> Fault:
    """The current one; the default does nothing."""
    return Fault(**(read_json(store.folder / "faults" / f"{command}.json") or {}))


def write_fault(store: Store, command: str, new: Fault) -> None:
    """Replace the current one."""
    write_json(store.folder / "faults" / f"{command}.json", asdict(new))


def take_fault(store: Store, command: str) -> Fault | None:
    """Wait if the command is slow, then say whether this call fails."""
    time.sleep(fault(store, command).delay_sec)
    with store.lock():
        current = fault(store, command)
        if time.time() < current.down_until:
            return current
        if current.fail_times > 0:
            write_fault(store, command, Fault(**{**asdict(current), "fail_times": current.fail_times - 1}))
            return current
    return None
