"""Making a pack of a tree: in parallel, verified, and resumed where it was stopped."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..lease import Lease, LeaseHeldError, acquire
from ..records import read_json, write_atomic, write_json
from .pack import FORMAT, PACK, WORK, check_sizes, file_digest, is_pack, read_facts
from .shards import Shard, make_shards
from .tree import CHECK_THREADS, SPLITS, DataError, index_text, label_numbers, list_tree

SHARD_MIB = 2048
"""Most of a file; a small data set has at least so many files that cores can share them."""
LEAST_SHARD_MIB, SHARDS = 16, 64


@dataclass(frozen=True)
class Image:
    """A file of the tree."""

    size: int
    """Bytes."""
    changed_ns: int
    """When it was written."""


def make_pack(
    root: Path,
    pack: Path,
    *,
    listed: Mapping[str, Sequence[str]] | None = None,
    reencode: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    quiet: bool = False,
) -> bool:
    """Pack a tree, or go on with it; False where the pack was there already. Raises DataError with what to do.

    `listed` is what `list_tree` says of it, where that is known: a million files take a while.
    """
    listed = listed or list_tree(root)
    for split in SPLITS:
        if not listed[split]:
            raise DataError(f"{root}/{split} has no images in folders of classes: nothing to pack")
    images = _images(root, listed)
    plan = {"format": FORMAT, "tree_sha256": _digest(listed, images), "reencode": reencode and dict(reencode)}
    plan["newest_ns"] = max(image.changed_ns for image in images.values())
    if (pack / PACK).is_file():
        _check_same(root, images, plan, pack)
        return False
    try:
        with _alone(pack):
            if made := not (pack / PACK).is_file():  # or else another call has made it a moment ago
                _begin(pack, plan)
                shards = list(_shards(listed, images))
                make_shards(root, pack, shards, plan, jobs=jobs or len(os.sched_getaffinity(0)), quiet=quiet)
                _finish(pack, listed, shards, plan)
            else:
                _check_same(root, images, plan, pack)
            shutil.rmtree(pack / WORK, ignore_errors=True)
    except BrokenExecutor as error:
        reason = "a process that packed was killed, perhaps for want of memory: fewer --jobs help then"
        raise DataError(f"{pack}: {reason}; the same command goes on from there") from error
    except LeaseHeldError as error:
        raise DataError(f"{pack} is being packed: {error}; wait for it, then repeat the command") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"{pack}: {error}; the same command goes on from there") from error
        raise DataError(f"{pack}: {error.strerror}; make room, the same command goes on from there") from error
    return made


def _images(root: Path, listed: Mapping[str, Sequence[str]]) -> dict[str, Image]:
    """{path: its file} of all images."""

    def look(path: str) -> Image:
        found = os.stat(f"{root}/{path}")
        return Image(found.st_size, found.st_mtime_ns)

    paths = [path for split in SPLITS for path in listed[split]]
    with ThreadPoolExecutor(CHECK_THREADS) as pool:
        found = pool.map(look, paths, chunksize=256)
        try:
            return dict(zip(paths, found, strict=True))
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error


def _digest(listed: Mapping[str, Sequence[str]], images: Mapping[str, Image]) -> str:
    lines = "".join(f"{path}\t{images[path].size}\n" for split in SPLITS for path in listed[split])
    return hashlib.sha256(lines.encode()).hexdigest()


def _check_same(root: Path, images: Mapping[str, Image], plan: Mapping[str, Any], pack: Path) -> None:
    """Raise DataError where a whole pack is of other images, or made in another way."""
    facts = read_facts(pack)
    _compare(plan, facts, pack)
    known_ns = facts.get("newest_ns", plan["newest_ns"])
    if newer := [path for path, image in images.items() if image.changed_ns > known_ns]:
        raise DataError(
            f"{root}/{newer[0]} is newer than {pack}; {len(newer) - 1} other images are too. Give another folder or "
            f"remove this one to pack anew; where the tree was only copied, write the pack as dataset.root"
        )
    check_sizes(pack, facts)


def _compare(plan: Mapping[str, Any], found: Mapping[str, Any], pack: Path) -> None:
    if found.get("tree_sha256") != plan["tree_sha256"]:
        raise DataError(
            f"{pack} is a pack of another tree, or the tree has changed since: images were added, removed or replaced. "
            f"Give another folder, or remove this one to pack anew"
        )
    if found.get("reencode") != plan["reencode"]:
        raise DataError(
            f"{pack} was packed with reencode {json.dumps(found.get('reencode'))}, not {json.dumps(plan['reencode'])}: "
            f"give another folder"
        )


def _alone(pack: Path) -> Lease:
    """Be the only one who packs into a folder; raises DataError where it is used otherwise, and LeaseHeldError."""
    if not is_pack(pack) and pack.is_dir() and any(pack.iterdir()):
        raise DataError(f"{pack} has files, but is no pack: give a folder that is empty or not there")
    (pack / WORK).mkdir(parents=True, exist_ok=True)
    return acquire(pack / WORK / "lease", {})


def _begin(pack: Path, plan: Mapping[str, Any]) -> None:
    """Note how images are coded; raises DataError where an earlier call began in another way."""
    if begun := read_json(pack / WORK / "plan.json"):
        _compare({**plan, "tree_sha256": begun["tree_sha256"]}, begun, pack)
    write_json(pack / WORK / "plan.json", plan)
    for left_over in (pack / WORK).glob("*.bin.*[0-9]"):
        left_over.unlink()


def _shards(listed: Mapping[str, Sequence[str]], images: Mapping[str, Image]) -> Iterator[Shard]:
    """The images in the order of the index, cut where a file is full."""
    labels = label_numbers(listed)
    least, most = LEAST_SHARD_MIB * 2**20, SHARD_MIB * 2**20
    full = min(most, max(least, sum(image.size for image in images.values()) // SHARDS))
    for split in SPLITS:
        starts, filled = [0], 0
        for position, path in enumerate(listed[split]):
            if filled >= full:
                starts.append(position)
                filled = 0
            filled += images[path].size
        for number, (start, stop) in enumerate(zip(starts, [*starts[1:], len(listed[split])], strict=True)):
            paths = tuple(listed[split][start:stop])
            if paths:
                numbers = tuple(labels[path.split("/")[1]] for path in paths)
                files = [images[path] for path in paths]
                newest = max(file.changed_ns for file in files)
                yield Shard(split, number, paths, numbers, tuple(file.size for file in files), newest)


def _finish(pack: Path, listed: Mapping[str, Sequence[str]], shards: Sequence[Shard], plan: Mapping[str, Any]) -> None:
    """Write the index of a pack whose files are made, and declare it whole."""
    work, files = pack / WORK, {}
    for split in SPLITS:
        of_split = [shard for shard in shards if shard.split == split]
        rows = [np.load(work / f"{shard.name}.npy") for shard in of_split]
        np.save(work / "rows.npy", np.concatenate(rows))
        os.replace(work / "rows.npy", pack / f"{split}.npy")
        write_atomic(pack / f"{split}.txt", "".join(f"{path}\n" for path in listed[split]))
        facts = {shard.name: read_json(work / f"{shard.name}.json") for shard in of_split}
        files |= {name: {key: fact[key] for key in ("bytes", "sha256")} for name, fact in facts.items()}
        for name in (f"{split}.npy", f"{split}.txt"):
            files[name] = {"bytes": (pack / name).stat().st_size, "sha256": file_digest(pack / name)}
    for left_over in {path.name for path in pack.glob("*.bin")}.difference(files):  # of a tree with more images
        (pack / left_over).unlink()
    index = hashlib.sha256(index_text(listed).encode()).hexdigest()
    counts = {split: len(listed[split]) for split in SPLITS}
    write_json(pack / PACK, {**plan, "images": counts, "index_sha256": index, "files": files})
