"""The files of a pack, made by several processes; those that an earlier call made are kept."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..records import read_json, write_json
from .pack import WORK
from .shard import write_shard
from .signals import die_with_parent
from .tree import DataError

_counter: Any = None
"""Of images packed so far, in a process that packs."""


@dataclass(frozen=True)
class Shard:
    """A file of a pack that is to be made."""

    split: str
    number: int
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    sizes: tuple[int, ...]
    """Bytes of their files."""
    newest_ns: int
    """When the last of them was written."""

    @property
    def digest(self) -> str:
        """Of what goes into it: a file that an earlier call made of something else is made again."""
        return hashlib.sha256(json.dumps([self.paths, self.labels, self.sizes, self.newest_ns]).encode()).hexdigest()

    @property
    def name(self) -> str:
        """Of the file."""
        return f"{self.split}-{self.number:04d}.bin"


def make_shards(
    root: Path,
    pack: Path,
    shards: Sequence[Shard],
    plan: Mapping[str, Any],
    *,
    jobs: int,
    quiet: bool,
) -> None:
    """Make the files that are not made yet, so many at a time; raises DataError with what cannot be packed."""
    open_shards = [shard for shard in shards if not _is_made(pack, shard)]
    needed = sum(sum(shard.sizes) for shard in open_shards)
    free = shutil.disk_usage(pack).free
    if not plan["reencode"] and free < 0.9 * needed:
        raise DataError(f"{pack}: {free / 2**30:.1f} GiB are free, {needed / 2**30:.1f} GiB are needed; make room")
    done = sum(len(shard.paths) for shard in shards) - sum(len(shard.paths) for shard in open_shards)
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", done)
    make = partial(_make_shard, root, pack, reencode=plan["reencode"], jpegtran=shutil.which("jpegtran"))
    options = {"unit": "image", "desc": "pack", "disable": quiet}
    # into a log: a line a minute
    options |= {"mininterval": 0.5 if sys.stderr.isatty() else 60}
    bar = tqdm(total=sum(len(shard.paths) for shard in shards), initial=done, **options)
    errors = []
    workers = min(jobs, max(1, len(open_shards)))
    others = set(multiprocessing.active_children())
    with (
        bar,
        ProcessPoolExecutor(workers, mp_context=context, initializer=_share, initargs=(counter, os.getpid())) as pool,
    ):
        running = {pool.submit(make, shard) for shard in open_shards}
        try:
            while running:
                finished, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                bar.update(counter.value - bar.n)
                for future in finished:
                    try:
                        future.result()
                    except DataError as error:
                        errors.append(error)
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if errors:
        more = f"; {len(errors) - 1} other parts have such images too" if errors[1:] else ""
        raise DataError(f"{errors[0]}{more}") from errors[0]


def _share(counter: Any, parent: int) -> None:
    """What a process does first: end with the one that started it, and count images together with the others."""
    global _counter
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which ends this one
    _counter = counter


def _tick() -> None:
    if _counter is not None:
        with _counter.get_lock():
            _counter.value += 1


def _make_shard(
    root: Path, pack: Path, shard: Shard, *, reencode: Mapping[str, Any] | None, jpegtran: str | None
) -> None:
    """Write a file of a pack, then its rows: they say that it is whole."""
    unfinished = pack / WORK / f"{shard.name}.{os.getpid()}"
    try:
        rows, digest = write_shard(
            root,
            shard.paths,
            shard.labels,
            unfinished,
            number=shard.number,
            reencode=reencode,
            jpegtran=jpegtran,
            tick=_tick,
        )
        os.replace(unfinished, pack / shard.name)
    finally:
        unfinished.unlink(missing_ok=True)
    facts = {"bytes": (pack / shard.name).stat().st_size, "sha256": digest, "of": shard.digest}
    np.save(pack / WORK / f"{shard.name}.npy", rows)
    write_json(pack / WORK / f"{shard.name}.json", facts)


def _is_made(pack: Path, shard: Shard) -> bool:
    facts = read_json(pack / WORK / f"{shard.name}.json")
    file = pack / shard.name
    return facts is not None and facts["of"] == shard.digest and file.exists() and file.stat().st_size == facts["bytes"]
