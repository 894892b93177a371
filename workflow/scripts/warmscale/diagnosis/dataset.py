"""The tree of a data set against its declared sizes: classes fully, files as far as the time goes.

A parallel file system takes minutes to list the 1.28 million files of ImageNet; the index program does that once.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..training.tree import SPLITS, SUFFIXES, DataError, check_images, compare_with_declared, index_text
from .findings import Lines, counted, fail, ok, some, warn, within

if TYPE_CHECKING:
    from ..study.config import Dataset

LOOK_SEC = 20.0
IMAGES_LOOKED_AT = 64
"""Of each split."""
FAR_FROM = 0.3
"""Share by which a number of images that is extrapolated may be off before that is said: classes differ in size."""


@dataclass
class Look:
    """What was seen of a tree."""

    classes: dict[str, list[str]] = field(default_factory=dict)
    """{split: all its classes, sorted}."""
    listed: dict[str, list[str]] = field(default_factory=dict)
    """{split: paths of the images of the classes that were looked into}."""
    looked: dict[str, int] = field(default_factory=dict)
    """{split: classes that were looked into}."""

    @property
    def complete(self) -> bool:
        """Every file was listed."""
        return all(self.looked.get(split) == len(classes) for split, classes in self.classes.items())

    def index(self, declared: Mapping[str, int]) -> str:
        """An index for some training steps; of a tree that was seen in part, its images repeat up to their number."""
        sizes = {"train": declared["num_train_images"], "val": declared["num_val_images"]}
        return index_text(
            {
                split: list(itertools.islice(itertools.cycle(paths), len(paths) if self.complete else sizes[split]))
                for split, paths in self.listed.items()
            }
        )


def look_at(root: Path, look: Look, seconds: float | None) -> None:
    """List all classes, then their images until the time is up (None: all); raises DataError, OSError."""
    has_time = within(seconds) if seconds is not None else lambda: True
    for split in SPLITS:
        if not (root / split).is_dir():
            raise DataError(f"dataset.root: {root}/{split} is no folder; expected {root}/{split}/<class>/<image>")
        with os.scandir(root / split) as entries:
            look.classes[split] = sorted(entry.name for entry in entries if entry.is_dir())
        look.listed[split], look.looked[split] = [], 0
    # both splits in turn: the time must not be over before validation was looked at
    todo = [(split, name) for pair in itertools.zip_longest(*_named(look)) for split, name in filter(None, pair)]
    for split, name in todo:
        if not has_time() and all(look.listed.values()):
            break
        with os.scandir(root / split / name) as entries:
            names = sorted(entry.name for entry in entries if os.path.splitext(entry.name)[1].lower() in SUFFIXES)
        look.listed[split] += [f"{split}/{name}/{file}" for file in names]
        look.looked[split] += 1


def _named(look: Look) -> list[list[tuple[str, str]]]:
    return [[(split, name) for name in names] for split, names in look.classes.items()]


def dataset(config: Dataset, look: Look, *, full: bool) -> Lines:
    """Lines about the tree of a data set; `look` keeps what was seen."""
    root, what = Path(config.root), "data set"
    try:
        look_at(root, look, None if full else LOOK_SEC)
    except DataError as error:
        yield fail(what, str(error))
        return
    except OSError as error:
        yield fail(what, f"dataset.root: {error.filename}: {error.strerror}; everyone who trains must read it")
        return
    yield from _sizes(config, look)
    paths = [path for listed in look.listed.values() for path in _spread(listed)]
    try:
        check_images(root, paths, config.check)
    except DataError as error:
        yield fail("images", f"{error}; bring them again, the index will refuse them")
    else:
        yield ok("images", f"{len(paths)} were looked at (check: {config.check}); the index looks at all of them")


def _spread(paths: list[str]) -> list[str]:
    return paths[:: max(1, len(paths) // IMAGES_LOOKED_AT)][:IMAGES_LOOKED_AT]


def _sizes(config: Dataset, look: Look) -> Lines:
    declared, found = config.declared_sizes, {split: len(paths) for split, paths in look.listed.items()}
    if look.complete:
        try:
            compare_with_declared(look.listed, declared)
        except DataError as error:
            yield fail("declared sizes", f"{error} in {config.root}; mend the config, or bring what is missing")
        else:
            yield ok(
                "declared sizes", f"{found['train']:,} and {found['val']:,} images in {declared['num_classes']} classes"
            )
        return
    classes = len(look.classes["train"])
    if classes != declared["num_classes"]:
        yield fail(
            "declared sizes",
            f"dataset.num_classes: {declared['num_classes']} declared, {classes} found in {config.root}",
        )
    if unknown := sorted(set(look.classes["val"]) - set(look.classes["train"])):
        yield fail("declared sizes", f"dataset.root: classes of val that train lacks: {some(unknown)}")
    guess = found["train"] * classes // max(1, look.looked["train"])
    seen = (
        f"{counted(look.looked['train'], 'class', 'es')} of {classes} looked into in {LOOK_SEC:.0f} s, "
        f"that makes about {guess:,} images of {declared['num_train_images']:,} declared; --full counts all"
    )
    is_far = abs(guess - declared["num_train_images"]) > FAR_FROM * declared["num_train_images"]
    yield (warn if is_far else ok)("declared sizes", seen)
