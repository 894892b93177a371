"""One file of a pack: images as they are packed, each verified before it is written."""

from __future__ import annotations

import io
import os
import subprocess
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .decode import COLOURS, NOT_PLAIN, UNREADABLE, is_a_bomb, open_image, simplejpeg
from .jpeg import START, layout, with_marks_noted, without_notes
from .pack import ROW, file_digest
from .tree import DataError, read_bytes

SEGMENTS = 8
"""Segments of a row of blocks that are decoded separately, about."""
UNITS = {"Gray": (8, 8), "444": (8, 8), "422": (16, 8), "420": (16, 16), "440": (8, 16), "411": (32, 8), "441": (8, 32)}
"""Pixels of a minimum coded unit, by simplejpeg's name of the sampling."""


def write_shard(
    root: Path,
    paths: Sequence[str],
    labels: Sequence[int],
    file: Path,
    *,
    number: int,
    reencode: Mapping[str, Any] | None,
    jpegtran: str | None,
    tick: Callable[[], None],
) -> tuple[np.ndarray, str]:
    """Write images into a file, read it again, and return a row for each and the file's checksum.

    Raises DataError with the first image that cannot be read and how many others there are, and OSError.
    """
    rows, errors = np.zeros(len(paths), ROW), []
    with file.open("wb") as out:
        for place, (path, label) in enumerate(zip(paths, labels, strict=True)):
            try:
                data, width, height = packed(read_bytes(f"{root}/{path}"), reencode, jpegtran)
            except UNREADABLE as error:
                errors.append(f"{root}/{path} cannot be read: {error}")
                continue
            rows[place] = (out.tell(), len(data), number, label, width, height, zlib.crc32(data))
            out.write(data)
            tick()
        out.flush()
        os.fsync(out.fileno())
    if errors:
        raise DataError(f"{errors[0]} ({len(errors) - 1} others in this part of the tree)")
    _read_again(file, rows)
    return rows, file_digest(file)


def _read_again(file: Path, rows: np.ndarray) -> None:
    with file.open("rb") as written:
        for row in rows:
            if zlib.crc32(written.read(int(row["length"]))) != row["crc32"]:
                raise DataError(f"{file}: what is read is not what was written; is the disk all right?")


def packed(data: bytes, reencode: Mapping[str, Any] | None, jpegtran: str | None) -> tuple[bytes, int, int]:
    """Bytes with the same pixels that are decoded faster, width and height; raises one of UNREADABLE."""
    if reencode:
        data = smaller(data, **reencode)
    facts = _of_plain_jpeg(data)
    if facts is None:  # PNG, CMYK, damaged: as it is
        return data, *open_image(data).size
    pixels, unit_width = facts
    height, width, _ = pixels.shape
    for make in (lambda: _in_segments(data, -(-width // unit_width), jpegtran), lambda: without_notes(data)):
        made = make()
        if made is not None and _same_pixels(made, pixels):
            return made, width, height
    return data, width, height


def _of_plain_jpeg(data: bytes) -> tuple[np.ndarray, int] | None:
    """Pixels of a JPEG that libjpeg-turbo decodes without a warning, and the width of its units."""
    if not data.startswith(START) or simplejpeg is None:
        return None
    try:
        height, width, colours, sampling = simplejpeg.decode_jpeg_header(data)
        if colours not in COLOURS or sampling not in UNITS or is_a_bomb(width, height):
            return None
        return simplejpeg.decode_jpeg(data, strict=True), UNITS[sampling][0]
    except NOT_PLAIN:
        return None


def _same_pixels(data: bytes, pixels: np.ndarray) -> bool:
    try:
        return np.array_equal(simplejpeg.decode_jpeg(data, strict=True), pixels)
    except ValueError:
        return False


def _in_segments(data: bytes, columns: int, jpegtran: str | None) -> bytes | None:
    """A JPEG coded anew without loss, with restart markers between segments of its rows; None where it cannot be."""
    if jpegtran is None:
        return None
    words = [jpegtran, "-optimize", "-copy", "none", "-restart", f"{interval(columns)}B"]
    done = subprocess.run(words, input=data, capture_output=True, check=False)
    return with_marks_noted(done.stdout) if done.returncode == 0 and layout(done.stdout) else None


def interval(columns: int) -> int:
    """Units of a segment: a divisor of those of a row, so that no segment goes on in the next row."""
    divisors = [units for units in range(2, columns + 1) if columns % units == 0 and columns // units <= 2 * SEGMENTS]
    return min(divisors, key=lambda units: abs(units - columns / SEGMENTS), default=max(columns, 1))


def smaller(data: bytes, longest_side: int, quality: int) -> bytes:
    """An image whose longer side is longer than that, resized and coded as a JPEG; any other one as it is."""
    image = open_image(data)
    if max(image.size) <= longest_side:
        return data
    factor = longest_side / max(image.size)
    size = tuple(max(1, round(side * factor)) for side in image.size)
    file = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()
