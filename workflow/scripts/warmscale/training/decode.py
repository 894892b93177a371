"""From the bytes of an image file to its pixels: libjpeg-turbo for plain JPEGs, Pillow for all else."""

from __future__ import annotations

import io
from typing import TypeAlias

import numpy as np
from PIL import Image

from .jpeg import START, Part
from .tree import DataError

Box: TypeAlias = tuple[int, int, int, int]
"""left, top, right, bottom"""
Data: TypeAlias = bytes | memoryview
try:
    import simplejpeg
except ImportError:  # no wheel for this machine: said where a run asks for it
    simplejpeg = None


def need_turbo() -> None:
    """Raise DataError where libjpeg-turbo cannot be had."""
    if simplejpeg is None:
        raise DataError(
            "dataset.decoder: turbo needs the package simplejpeg, which this Python does not have; install it, or "
            "write decoder: pil, which makes other runs"
        )


def open_image(data: Data) -> Image.Image:
    """Decode an image to RGB as ImageFolder does: no EXIF rotation; raises OSError and others."""
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


COLOURS = {"YCbCr", "RGB", "Gray"}
"""Of JPEGs, as simplejpeg calls them; CMYK is another matter."""
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What is raised for an image that cannot be decoded."""
NOT_PLAIN = (ValueError, KeyError)
"""What simplejpeg raises; KeyError for samplings that it has no name for, as 4:4:1."""


def turbo_pixels(data: Data) -> np.ndarray:
    """All of an image.  # (H, W, 3) uint8"""
    if bytes(data[:2]) == START:
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            if colours in COLOURS and not is_a_bomb(width, height):
                return simplejpeg.decode_jpeg(data, strict=True)
        except NOT_PLAIN:  # CMYK, damaged, or something that libjpeg-turbo has a warning about: Pillow decides
            pass
    return np.array(open_image(data))


def is_a_bomb(width: int, height: int) -> bool:
    """Whether Pillow refuses such an image: it may be meant to exhaust memory."""
    return width * height > 2 * (Image.MAX_IMAGE_PIXELS or width * height)


def part_pixels(data: Data, wanted: Part, box: Box) -> tuple[np.ndarray, Box]:
    """Pixels of a part of a JPEG, and the box in them."""
    try:
        pixels = simplejpeg.decode_jpeg(wanted.data, strict=not wanted.ends_early)
    except ValueError:
        return turbo_pixels(data), box
    left, top, right, bottom = box
    return pixels, (left - wanted.left, top - wanted.top, right - wanted.left, bottom - wanted.top)
