"""A data set in few large files instead of a file an image: how it is laid out, and reading it.

pack.json       what it is, written last: files with their sizes and checksums
train.npy       a row an image, in the order of the index; train.txt: its path in the tree
train-0000.bin  images one behind the other, as files; more of them for large data sets
val...          likewise
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .tree import SPLITS, DataError, Split, read_index

PACK, WORK = "pack.json", ".packing"
"""File that makes a folder a pack, and folder in one that is not finished."""
FORMAT = 1
ROW = np.dtype(
    [
        *(("offset", "<u8"), ("length", "<u4"), ("shard", "<u4"), ("label", "<u4")),
        *(("width", "<u4"), ("height", "<u4"), ("crc32", "<u4")),
    ]
)
"""An image: its bytes in a file, its label, its size in pixels, and the checksum of the bytes."""


@dataclass(frozen=True)
class PackedSplit:
    """The images of one split of a pack, in the order of the index."""

    folder: Path
    split: str
    rows: np.ndarray  # (N,) ROW
    shards: tuple[mmap.mmap, ...]
    labels: np.ndarray  # (N,) int64

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> memoryview:
        """An image as it would stand in its file."""
        offset, length, shard = self._place(index)
        return memoryview(self.shards[shard])[offset : offset + length]

    def name(self, index: int) -> str:
        """An image in a message: the pack and its path in the tree."""
        return f"{self.folder}: {self._names[index]}"

    def expect(self, ids: np.ndarray) -> None:
        """Images that will be read soon: the kernel may read them ahead."""
        for index in ids.tolist():
            offset, length, shard = self._place(index)
            start = offset - offset % mmap.PAGESIZE
            self.shards[shard].madvise(mmap.MADV_WILLNEED, start, offset + length - start)

    def _place(self, index: int) -> tuple[int, int, int]:
        return self._places[0][index], self._places[1][index], self._places[2][index]

    @cached_property
    def _places(self) -> tuple[Any, ...]:
        # memoryviews: a plain integer is had from one in a third of the time that numpy takes
        return tuple(memoryview(self.rows[name].astype(np.int64)) for name in ("offset", "length", "shard"))

    @cached_property
    def _names(self) -> list[str]:
        return names(self.folder, self.split)


def is_pack(folder: Path) -> bool:
    """Whether a folder is a pack, finished or not."""
    return (folder / PACK).is_file() or (folder / WORK).is_dir()


def read_facts(folder: Path) -> dict[str, Any]:
    """What pack.json says; raises DataError where there is no whole pack."""
    try:
        facts = json.loads((folder / PACK).read_text())
    except FileNotFoundError:
        if (folder / WORK).is_dir():
            raise DataError(
                f"{folder} is a pack half finished: `warmscale pack TREE {folder}` goes on with it"
            ) from None
        raise DataError(f"{folder} is no pack: `warmscale pack TREE {folder}` makes one") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / PACK} cannot be read: {error}; {AGAIN}") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise DataError(f"{folder / PACK} is of another version of warmscale; {AGAIN}")
    return facts


AGAIN = "remove the pack and make it again"


def check_sizes(folder: Path, facts: Mapping[str, Any]) -> None:
    """Raise DataError where a file of a pack is missing or has another size."""
    for name, fact in facts["files"].items():
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            raise DataError(f"{folder / name} of a pack cannot be read: {error.strerror}; {AGAIN}") from error
        if size != fact["bytes"]:
            raise DataError(f"{folder / name} of a pack has {size} bytes instead of {fact['bytes']}; {AGAIN}")


def open_pack(folder: Path) -> dict[str, PackedSplit]:
    """{split: its images}; raises DataError with what is wrong."""
    facts = read_facts(folder)
    check_sizes(folder, facts)
    return {split: _open_split(folder, split, facts) for split in SPLITS}


def _open_split(folder: Path, split: str, facts: Mapping[str, Any]) -> PackedSplit:
    rows = np.load(folder / f"{split}.npy", allow_pickle=False)
    shards = tuple(_map(folder / name) for name in shard_names(facts, split))
    return PackedSplit(folder, split, rows, shards, rows["label"].astype(np.int64))


def shard_names(facts: Mapping[str, Any], split: str) -> list[str]:
    """Files with the images of a split, by their numbers."""
    return sorted(name for name in facts["files"] if name.startswith(f"{split}-"))


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def names(folder: Path, split: str) -> list[str]:
    """Paths in the tree of the images of a split."""
    with (folder / f"{split}.txt").open(newline="\n") as file:  # a name may have other ends of lines
        return file.read().split("\n")[:-1]


def listed(folder: Path) -> dict[str, list[str]]:
    """{split: paths in the tree}, as the tree itself would be listed; raises DataError."""
    check_sizes(folder, read_facts(folder))
    return {split: names(folder, split) for split in SPLITS}


def check_pack(folder: Path) -> None:
    """Read all of a pack; raises DataError where a file is not what was written."""
    facts = read_facts(folder)
    check_sizes(folder, facts)
    for name, fact in facts["files"].items():
        if file_digest(folder / name) != fact["sha256"]:
            raise DataError(f"{folder / name} of a pack is corrupted: its checksum is another one; {AGAIN}")


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_belongs(folder: Path, index: Path, reencode: Mapping[str, Any] | None) -> None:
    """Raise DataError where a pack has other images than an index, or was made in another way than the run says."""
    facts = read_facts(folder)
    if facts["index_sha256"] != file_digest(index):
        raise DataError(
            f"{folder} is a pack of another data set than {index} lists; pack that tree, or correct the place"
        )
    compare_reencode(folder, reencode)


def compare_reencode(folder: Path, reencode: Mapping[str, Any] | None) -> None:
    """Raise DataError where the images of a pack were coded anew in another way than the run says."""
    found = read_facts(folder)["reencode"]
    if found != reencode:
        raise DataError(f"dataset.reencode is {_written(reencode)}, but {folder} was packed with {_written(found)}")


def check_tree(root: Path, reencode: Mapping[str, Any] | None) -> None:
    """Raise DataError where the run wants images coded anew, of which a tree has none."""
    if reencode:
        raise DataError(f"dataset.reencode: {root} is a tree, only a pack has images coded anew: say dataset.pack")


def _written(reencode: Mapping[str, Any] | None) -> str:
    return json.dumps(reencode).replace('"', "")


def open_splits(
    index: Path, root: Path, reencode: Mapping[str, Any] | None = None
) -> dict[str, Split] | dict[str, PackedSplit]:
    """{split: its images} of a tree or a pack, in the order of an index; raises DataError."""
    if is_pack(root):
        check_belongs(root, index, reencode)
        return open_pack(root)
    check_tree(root, reencode)
    return read_index(index, root)
