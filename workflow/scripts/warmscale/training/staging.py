"""A copy of a pack on a disk of the node: made once, verified, used by all ranks and runs there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .pack import PACK, check_sizes, file_digest, read_facts
from .tree import DataError

NODE_LOCAL = "WARMSCALE_NODE_LOCAL"
"""Variable with the folder on the node's disk, from site.yaml's node_local."""
FOLDER = "warmscale-packs"
POLL_SEC = 0.5
SPARE_BYTES = 2**30
"""Left free on the disk for others."""
TRY_AGAIN_SEC = 600
"""What could not be copied is not tried by the next rank as well."""
BLOCK_BYTES = 2**24


class StagingError(Exception):
    """A copy cannot be had, said in one line."""


def node_copy(
    root: Path, environment: Mapping[str, str] = os.environ, stopping: Callable[[], bool] = lambda: False
) -> Path:
    """The copy of a pack on this node, made if it has to be; the pack itself where there is no place for one.

    A data set that is a tree stays where it is. Raises DataError where the pack is not whole.
    """
    local = environment.get(NODE_LOCAL)
    if not local or not (root / PACK).is_file():
        return root
    facts = read_facts(root)
    copy = Path(local) / FOLDER / file_digest(root / PACK)[:16]
    try:
        copy.mkdir(parents=True, exist_ok=True)
        with _locked(copy.with_suffix(".lock"), stopping) as lock:
            if not _is_whole(copy, facts):
                _refuse_again(lock)
                _copy(root, copy, facts, lock, stopping)
    except (OSError, StagingError) as error:
        print(f"node_local: {copy} is not used, images are read from {root}: {error}", file=sys.stderr, flush=True)
        return root
    return copy


@contextlib.contextmanager
def _locked(path: Path, stopping: Callable[[], bool]) -> Iterator[Path]:
    """Hold a lock of this node; its holder's death ends it."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _check(stopping)
                time.sleep(POLL_SEC)
        yield path


def _check(stopping: Callable[[], bool]) -> None:
    if stopping():
        raise StagingError("the run was asked to stop")


def _refuse_again(lock: Path) -> None:
    """Raise StagingError where another rank has failed a moment ago."""
    with contextlib.suppress(ValueError):
        failed = json.loads(lock.read_text())
        if 0 <= time.time() - failed["time"] < TRY_AGAIN_SEC:
            raise StagingError(failed["reason"])


def _is_whole(copy: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a copy was finished, and its files have their sizes."""
    try:
        check_sizes(copy, facts)
    except DataError:
        return False
    return (copy / PACK).is_file()


def _copy(root: Path, copy: Path, facts: Mapping[str, Any], lock: Path, stopping: Callable[[], bool]) -> None:
    """Copy what is not there yet; pack.json last, as it says that all is. Files get their names once verified."""
    started = time.monotonic()
    try:
        for leftover in copy.glob("*.unfinished"):
            leftover.unlink()
        missing = {name: fact for name, fact in facts["files"].items() if not _has(copy / name, fact)}
        needed, free = sum(fact["bytes"] for fact in missing.values()), shutil.disk_usage(copy).free
        if needed + SPARE_BYTES > free:
            raise StagingError(f"{needed / 2**30:.1f} GiB are needed, {free / 2**30:.1f} GiB are free")
        for name, fact in missing.items():
            _copy_file(root / name, copy / name, fact, stopping)
        _copy_file(root / PACK, copy / PACK, {"sha256": file_digest(root / PACK)}, stopping)
    except (OSError, StagingError) as error:
        for leftover in copy.glob("*.unfinished"):
            leftover.unlink()
        if not stopping():
            lock.write_text(json.dumps({"time": time.time(), "reason": str(error)}))
        raise
    print(f"node_local: {needed / 2**30:.1f} GiB copied to {copy} in {time.monotonic() - started:.0f} s", flush=True)


def _has(file: Path, fact: Mapping[str, Any]) -> bool:
    """Whether an earlier copy got as far as this file."""
    return file.is_file() and file.stat().st_size == fact["bytes"] and file_digest(file) == fact["sha256"]


def _copy_file(source: Path, target: Path, fact: Mapping[str, Any], stopping: Callable[[], bool]) -> None:
    unfinished = target.with_name(f"{target.name}.unfinished")
    with source.open("rb") as read, unfinished.open("wb") as write:
        while block := read.read(BLOCK_BYTES):
            _check(stopping)
            write.write(block)
        write.flush()
        os.fsync(write.fileno())
        os.posix_fadvise(write.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # so that the disk is read, not memory
    if file_digest(unfinished) != fact["sha256"]:
        raise StagingError(f"{target.name} has another checksum than the pack says: copied wrongly, or corrupted there")
    os.replace(unfinished, target)
