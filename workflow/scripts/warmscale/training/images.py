"""The images of a split as uint8 pixels, cropped as their places in the stream say."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from itertools import islice

import numpy as np

from .crops import CENTER, DRAW, PLAN, Planned
from .decode import UNREADABLE, need_turbo
from .order import random_crop
from .tree import DataError, Split

CACHE_MIB = 256
"""Decoded images are kept when all of a split fit into this: decoding a small data set can cost more than training."""

AT_A_TIME = 8
"""Images that are planned before they are decoded."""


class Images:
    """Pixels of the images of one split. Threads may use it at once."""

    def __init__(
        self,
        split: Split,
        *,
        image_size: int,
        val_resize: int,
        augment: bool,
        data_seed: int = 0,
        decoder: str = "turbo",
    ):
        if decoder == "turbo":
            need_turbo()
        self.split = split
        self.size = image_size
        self._plan, self._draw, self._center = PLAN[decoder], DRAW[decoder], CENTER[decoder]
        self._resize, self._augment, self._data_seed = val_resize, augment, data_seed
        shape = (len(split), image_size, image_size, 3)
        fits = not augment and np.prod(shape, dtype=np.int64) <= CACHE_MIB * 2**20
        self._cache = np.zeros(shape, dtype=np.uint8) if fits else None
        self._cached = np.zeros(len(split), dtype=bool)

    def expect(self, ids: np.ndarray) -> None:
        """Images that will be asked for soon: they may be read ahead."""
        if self._cache is None:
            self.split.expect(ids)

    def fill(self, out: np.ndarray, ids: np.ndarray, epochs: np.ndarray, positions: np.ndarray) -> list[DataError]:
        """Write pixels of some images at their places in the stream, and return why some cannot be read.

        out  # (n, H, W, 3) uint8
        """
        if self._cache is None:
            return self._decode_all(out, ids, epochs, positions)
        missing = ids[~self._cached[ids]]
        errors = self._decode_all((self._cache[index] for index in missing), missing, missing, missing)
        if not errors:
            self._cached[missing] = True
            np.take(self._cache, ids, axis=0, out=out)
        return errors

    def batch(self, ids: np.ndarray, epochs: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and labels of some images, at their places in the stream.  # (n, H, W, 3) uint8, (n,) int64

        Raises DataError with the path of an image that cannot be read, and how many others of the batch cannot.
        """
        out = np.empty((len(ids), self.size, self.size, 3), dtype=np.uint8)
        raise_first(self.fill(out, ids, epochs, positions))
        return out, self.split.labels[ids]

    def _decode_all(
        self, out: Iterable[np.ndarray], ids: np.ndarray, epochs: np.ndarray, positions: np.ndarray
    ) -> list[DataError]:
        errors: list[DataError] = []
        places = zip(out, ids.tolist(), epochs.tolist(), positions.tolist(), strict=True)
        while some := list(islice(places, AT_A_TIME)):
            planned = [self._planned(*place, errors) for _, *place in some]
            for (pixels, index, *_), plan in zip(some, planned, strict=True):
                if plan is not None:
                    self._drawn(plan, index, pixels, errors)
        return errors

    def _planned(self, index: int, epoch: int, position: int, errors: list[DataError]) -> Planned | bytes | None:
        """An image as it is to be decoded; None where it cannot be read."""
        try:
            data = self.split.read(index)
            return (
                self._plan(data, functools.partial(random_crop, self._data_seed, epoch, position))
                if self._augment
                else data
            )
        except UNREADABLE as error:
            errors.append(self._data_error(index, error))
            return None

    def _drawn(self, plan: Planned | bytes, index: int, out: np.ndarray, errors: list[DataError]) -> None:
        try:
            if self._augment:
                self._draw(plan, out)
            else:
                self._center(plan, self._resize, out)
        except UNREADABLE as error:
            errors.append(self._data_error(index, error))

    def _data_error(self, index: int, error: Exception) -> DataError:
        return DataError(f"{self.split.name(index)} cannot be read: {error}")


def raise_first(errors: list[DataError]) -> None:
    """Raise the first of some errors, with how many others there are."""
    if errors:
        raise DataError(f"{errors[0]} ({len(errors) - 1} others in this batch)") from errors[0]
