"""One holder of a folder at a time, on any host: exclusive create and a heartbeat. Standard library only.

A lease is a folder of numbered files; the one with the highest number is the holder's, and its time of modification is
the heartbeat. A dead lease is taken over, and a free one taken, by creating the next number; the file system gives it
to one of those who try (no flock: parallel file systems do without). A number is never used twice: a released one
stays, as `.free`, until the next holder clears it away. Whoever finds a higher number than its own has lost the lease.

A holder is dead when its process is gone, where this host can tell: it is the holder's, and does not hide processes of
other users (hidepid). Else when its heartbeat stood still while we watched, or for so long by the file system's own
clock that no two clocks differ as much.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEAT_SEC = 5.0
PATIENCE_SEC = 40.0
"""A heartbeat that stands still for so long belongs to a dead holder: attributes on NFS may be 30 s old."""
LONG_DEAD_SEC = 900.0
"""By the file system's clock: nothing needs to be watched then."""
POLL_SEC = 0.5
PROC = Path("/proc")
HELD, FREE = ".json", ".free"


class LeaseHeldError(Exception):
    """Somebody else holds the lease, and lives."""

    def __init__(self, holder: Mapping[str, Any]):
        self.holder = holder
        super().__init__(f"held by process {holder.get('pid', '?')} on {holder.get('host', 'another host')}")


@dataclass(frozen=True)
class _Claim:
    """One numbered file of a lease."""

    path: Path
    holder: Mapping[str, Any]
    heartbeat_ns: int


class Lease:
    """A lease that this process holds; beats in a thread of its own until released."""

    def __init__(self, path: Path, *, beat_sec: float = BEAT_SEC):
        self.path, self._beat_sec = path, beat_sec
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let the next one have it at once."""
        self._released.set()
        self._thread.join()
        with contextlib.suppress(FileNotFoundError):  # lost, and cleared away
            self.path.rename(self.path.with_suffix(FREE))

    def _beat(self) -> None:
        while not self._released.wait(self._beat_sec):
            with contextlib.suppress(OSError):  # a file system that stumbles: the next beat may reach it
                os.utime(self.path)


def acquire(
    folder: Path,
    facts: Mapping[str, Any],
    *,
    patience_sec: float = PATIENCE_SEC,
    beat_sec: float = BEAT_SEC,
) -> Lease:
    """Take the lease of a folder, with `facts` for others to read; raises LeaseHeldError where a live one holds it.

    Where only the heartbeat can tell, this takes up to `patience_sec`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        newest = _newest(folder)
        if newest and newest.suffix != FREE:
            claim = _read(newest)
            if claim is None:
                continue  # released this moment
            if _lives(claim, patience_sec):
                raise LeaseHeldError(claim.holder)
        path = folder / f"{int(newest.stem) + 1 if newest else 1:06d}{HELD}"
        if not _create(path, {**facts, **_this_process(), "folder": _identity(folder)}):
            continue  # somebody was faster
        if not is_current(path):  # more than one was: the numbers up to ours were taken and cleared meanwhile
            path.unlink(missing_ok=True)
            continue
        for older in _numbered(folder):
            if older.stem < path.stem:
                older.unlink(missing_ok=True)
        return Lease(path, beat_sec=beat_sec)


def is_current(path: Path) -> bool:
    """Whether this file of a lease is still the holder's: it is there, and nobody has taken over."""
    return _newest(path.parent) == path


def is_held(folder: Path, *, patience_sec: float = PATIENCE_SEC) -> bool:
    """Whether a live holder has the lease; takes nothing, and up to `patience_sec`."""
    claim = _claim(folder)
    return claim is not None and _lives(claim, patience_sec)


def holder_of(folder: Path) -> Mapping[str, Any] | None:
    """What the newest holder left to read; None where the lease is free. Says nothing of whether the holder lives."""
    claim = _claim(folder)
    return claim.holder if claim else None


def heartbeat_of(path: Path) -> int:
    """When the holder of this file of a lease last beat, in nanoseconds of the file system's clock; raises OSError."""
    with path.open() as file:  # opening makes NFS ask the server
        return os.fstat(file.fileno()).st_mtime_ns


def _claim(folder: Path) -> _Claim | None:
    """The newest holder's, None where the lease is free."""
    newest = _newest(folder)
    return _read(newest) if newest and newest.suffix != FREE else None


def _numbered(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder) if name.endswith((HELD, FREE))]
    except FileNotFoundError:
        return []


def _newest(folder: Path) -> Path | None:
    """The file with the highest number."""
    return max(_numbered(folder), key=lambda path: path.stem, default=None)


def _read(path: Path) -> _Claim | None:
    try:
        with path.open() as file:  # opening makes NFS ask the server
            text = file.read()
            heartbeat = os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None
    try:
        holder = json.loads(text)
    except json.JSONDecodeError:  # created this moment, or by one that died then
        holder = {}
    return _Claim(path, holder, heartbeat)


def _create(path: Path, holder: Mapping[str, Any]) -> bool:
    """Whether this process was the one to create the file."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        json.dump(holder, file)
    return True


def _lives(claim: _Claim, patience_sec: float) -> bool:
    if claim.holder.get("process_space") == _process_space():
        if claim.holder.get("folder") != _identity(claim.path.parent):
            return False  # a copy of a folder: its holder holds another one
        if not _is_hidden(claim.holder["pid"]):
            return _start_of(claim.holder["pid"]) == claim.holder["process_start"]
    if _file_system_time(claim.path.parent) - claim.heartbeat_ns > LONG_DEAD_SEC * 1e9:
        return False
    give_up = time.monotonic() + patience_sec
    while time.monotonic() < give_up:
        time.sleep(min(POLL_SEC, patience_sec))
        now = _read(claim.path)
        if now is None or not is_current(claim.path):
            return False  # released, or taken over: there is another one to look at
        if now.heartbeat_ns != claim.heartbeat_ns:
            return True
    return False


def _file_system_time(folder: Path) -> int:
    """Nanoseconds, by the clock that sets times of modification there."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        return os.fstat(probe.fileno()).st_mtime_ns


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "process_start": _start_of(pid),
        "process_space": _process_space(),
        "since": time.time(),
    }


def _identity(folder: Path) -> list[int]:
    """What tells a folder from its copies, on one host."""
    status = folder.stat()
    return [status.st_dev, status.st_ino]


def _process_space() -> str | None:
    """Where a process id means something: this boot of this kernel, this namespace; None where /proc does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {os.getpid()}"  # nobody else's


def _start_of(pid: int) -> str | None:
    """When a process started, in ticks since boot: its id may be another's by now. None where it is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _is_hidden(pid: int) -> bool:
    """Whether there is a process with this id of which this user is told nothing."""
    if os.access(PROC / str(pid) / "stat", os.R_OK):
        return False
    with contextlib.suppress(PermissionError):  # another user's
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
