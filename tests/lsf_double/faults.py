"""Commands that were told to fail, to be down, or to be slow."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace

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
    lose_times: int = 0
    """Calls that do what they are asked for, and whose answer is not heard."""
    lose_after_sec: float = 0.0
    """How long they are silent before they fail."""
    lost_message: str = ""


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


def take_loss(store: Store, command: str) -> Fault | None:
    """Whether this call is to do what it is asked for, and not to be heard of."""
    with store.lock():
        current = fault(store, command)
        if not current.lose_times:
            return None
        write_fault(store, command, replace(current, lose_times=current.lose_times - 1))
        return current
