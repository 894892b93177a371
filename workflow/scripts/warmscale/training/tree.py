"""An ImageFolder tree and its index: listed once, compared with the declared sizes, checked before any training."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

SPLITS = ("train", "val")
SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
"""Lower case; other files are ignored, as ImageFolder does."""
ENDS = ((b"\xff\xd8", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"))
"""First and last bytes of a JPEG and of a PNG, whatever the file is called: ImageNet has a PNG named .JPEG."""
CHECK_THREADS = 16
"""Looking at files waits for the file system, not for a core."""


class DataError(Exception):
    """The data set is not what the config declares, or an image cannot be read."""


@dataclass(frozen=True)
class Split:
    """The images of one split, in the order of the index."""

    root: Path
    paths: tuple[str, ...]
    """Relative to the root, `train/<class>/<file>`."""
    labels: np.ndarray  # (N,) int64, classes numbered in sorted order

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> bytes:
        """An image as it stands in its file; raises OSError."""
        return read_bytes(f"{self.root}/{self.paths[index]}")

    def name(self, index: int) -> str:
        """An image in a message: its path."""
        return str(self.root / self.paths[index])

    def expect(self, ids: np.ndarray) -> None:
        """Images that will be read soon."""


def read_bytes(path: str) -> bytes:
    """A file in as few calls as it takes: a training set has a million of them, each read once an epoch."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(file).st_size
        parts = [os.read(file, size)]
        while (missing := size - sum(map(len, parts))) and parts[-1]:
            parts.append(os.read(file, missing))
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(file)


def list_tree(root: Path) -> dict[str, list[str]]:
    """{split: sorted paths relative to root}; raises DataError where a split is missing."""
    listed = {}
    for split in SPLITS:
        if not (root / split).is_dir():
            raise DataError(f"dataset.root: {root}/{split} is no folder; expected {root}/{split}/<class>/<image>")
        found = (root / split).glob("*/*")
        listed[split] = sorted(str(path.relative_to(root)) for path in found if path.suffix.lower() in SUFFIXES)
    return listed


def compare_with_declared(listed: dict[str, list[str]], declared: dict[str, int]) -> None:
    """Raise DataError with every size that is not the declared one."""
    classes = {split: {path.split("/")[1] for path in paths} for split, paths in listed.items()}
    found = {
        "num_train_images": len(listed["train"]),
        "num_val_images": len(listed["val"]),
        "num_classes": len(classes["train"]),
    }
    lines = [
        f"dataset.{name}: {declared[name]} declared, {found[name]} found"
        for name in found
        if found[name] != declared[name]
    ]
    if unknown := sorted(classes["val"] - classes["train"]):
        lines.append(f"dataset.root: {len(unknown)} classes are in val but not in train, the first is {unknown[0]}")
    if lines:
        raise DataError("; ".join(lines))


def check_images(root: Path, paths: list[str], how: str) -> None:
    """Look at every image; raises DataError naming the first one that cannot be read, and how many others there are.

    `ends`: decode only those whose first and last bytes are unusual. `decode`: decode all. `none`: look at none.
    """
    if how == "none":
        return
    with ThreadPoolExecutor(CHECK_THREADS) as pool:
        verdicts = pool.map(lambda path: _is_unreadable(root / path, how), paths)
        bad = [path for path, verdict in zip(paths, verdicts, strict=True) if verdict]
    if bad:
        others = len(bad) - 1
        noun = "image" if others == 1 else "images"
        raise DataError(f"{root / bad[0]} cannot be read, and {others or 'no'} other {noun} of {root}")


def _is_unreadable(path: Path, how: str) -> bool:
    # a JPEG may have anything behind its end: unusual, but no mistake if it decodes
    return (how == "decode" or _ends_are_unusual(path)) and _does_not_decode(path)


def _ends_are_unusual(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            first = file.read(8)
            file.seek(-min(8, path.stat().st_size), 2)
            last = file.read(8)
    except OSError:
        return True
    return not any(first.startswith(start) and last.endswith(end) for start, end in ENDS)


def _does_not_decode(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return True
    return False


def index_text(listed: dict[str, list[str]]) -> str:
    """The index as tab-separated text: split, label, path."""
    return "split\tlabel\tpath\n" + "".join(f"{row}\n" for row in _index_rows(listed))


def label_numbers(listed: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """{class: its number}, in sorted order; raises DataError for a class that is in val only."""
    classes = sorted({path.split("/")[1] for path in listed["train"]})
    if unknown := sorted({path.split("/")[1] for path in listed["val"]}.difference(classes)):
        raise DataError(f"dataset.root: {len(unknown)} classes are in val but not in train, the first is {unknown[0]}")
    return {name: number for number, name in enumerate(classes)}


def _index_rows(listed: dict[str, list[str]]) -> Iterator[str]:
    label = label_numbers(listed)
    for split in SPLITS:
        yield from (f"{split}\t{label[path.split('/')[1]]}\t{path}" for path in listed[split])


def read_index(index: Path, root: Path) -> dict[str, Split]:
    """{split: Split} from the text that `index_text` made."""
    paths: dict[str, list[str]] = {split: [] for split in SPLITS}
    labels: dict[str, list[int]] = {split: [] for split in SPLITS}
    with index.open(newline="\n") as file:
        for line in islice(file, 1, None):
            split, label, path = line.rstrip("\n").split("\t")
            paths[split].append(path)
            labels[split].append(int(label))
    return {split: Split(root, tuple(paths[split]), np.array(labels[split], dtype=np.int64)) for split in SPLITS}
