"""Reading files that others write at the same time: half-written last lines, files that vanish, none at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..records import EPOCH_COLUMNS, GRADIENT_COLUMNS

Item = TypeVar("Item")
Answer = TypeVar("Answer")

THREADS, SHARE = 16, 100
TAIL_BYTES = 8192
"""Enough for the last lines of a log, and for the last row of a table many times over."""
_UNPRINTABLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Colours and other orders to a terminal: a log must not repaint the screen of who looks at it."""


def read_text(path: str, last_bytes: int | None = None) -> str | None:
    """Text of a file, or of its end; None where there is none to be read."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        size = os.fstat(handle).st_size
        start = max(size - last_bytes, 0) if last_bytes else 0
        return os.pread(handle, size - start, start).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(handle)


def read_object(path: str) -> dict[str, Any]:
    """A JSON object; empty where there is none, or none yet."""
    return _object(read_text(path) or "")


def read_objects(path: str) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON lines."""
    text = read_text(path) or ""
    return [value for line in text[: text.rfind("\n") + 1].splitlines() if (value := _object(line))]


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    # null says as little as no such key
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else {}


def last_epoch(path: str) -> dict[str, str]:
    """The last whole row of an epochs.csv; empty where there is none."""
    text = read_text(path, TAIL_BYTES) or ""
    line = text[: text.rfind("\n") + 1].rstrip("\n").rpartition("\n")[2]
    cells = line.split(",")
    # files of before lack the last columns; another number is what is left of a row
    is_whole = len(cells) in (len(EPOCH_COLUMNS), EPOCH_COLUMNS.index(GRADIENT_COLUMNS[0]))
    return dict(zip(EPOCH_COLUMNS, cells, strict=False)) if is_whole and cells[1].isdigit() else {}


def last_lines(path: str, count: int) -> list[str]:
    """The last lines of a log that say something, as a terminal would leave them, without colours."""
    text = (read_text(path, TAIL_BYTES) or "").replace("\r\n", "\n")
    # of what a progress bar wrote over itself, the last
    lines = [_UNPRINTABLE.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in text.split("\n")]
    return [line for line in lines if line][-count:]


def read_all(function: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
    """`function` of all items, many at a time: on a parallel file system every question waits for a server."""
    shares = [items[start : start + SHARE] for start in range(0, len(items), SHARE)]
    if len(shares) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(lambda share: [function(item) for item in share], shares)
        return [answer for share in answers for answer in share]


def names_in(path: str) -> Iterator[str]:
    """Names in a folder, without hidden ones; none where it is not there."""
    try:
        names = os.listdir(path)
    except OSError:
        return iter(())
    return (name for name in names if not name.startswith("."))


def heartbeat(lease: str) -> float | None:
    """When the holder of a lease was last heard of, in seconds; None where it is free."""
    newest = None
    for name in names_in(lease):
        if not name.endswith(".json"):
            continue
        try:
            changed = os.stat(os.path.join(lease, name)).st_mtime
        except OSError:
            continue
        newest = max(newest or 0.0, changed)
    return newest
