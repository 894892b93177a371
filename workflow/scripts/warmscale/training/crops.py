"""From the bytes of an image to the pixels of a crop: `turbo` and its reference `pil`.

They agree within one grey level, two in a rare pixel.

`turbo`: libjpeg-turbo, of which only what a crop needs is decoded, and PyTorch's bilinear resize with antialiasing.
`pil`: Pillow for both. Whatever is no plain JPEG (PNG, CMYK, damaged in a way that Pillow accepts) is decoded by Pillow
in either case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image

from .decode import Box, Data, is_a_bomb, open_image, part_pixels, turbo_pixels
from .jpeg import Part, layout, part

ChooseBox: TypeAlias = Callable[[int, int], tuple[Box, bool]]
"""From width and height of an image to what is cut out of it, and whether that is flipped."""

PARALLEL_FROM = 32_768
"""Elements that PyTorch's simple operations share out among threads (at::internal::GRAIN_SIZE)."""


def pil_crop(data: Data, choose: ChooseBox, out: np.ndarray) -> None:
    """The box of an image, resized and maybe flipped, into `out`.  # (size, size, 3) uint8"""
    image, size = open_image(data), len(out)
    box, flip = choose(*image.size)
    image = image.crop(box).resize((size, size), Image.Resampling.BILINEAR)
    out[:] = np.asarray(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image)


def pil_center(data: Data, resize: int, out: np.ndarray) -> None:
    """Shorter side to `resize`, then the central square, rounded as torchvision does, into `out`."""
    image, size = open_image(data), len(out)
    scaled = scaled_size(*image.size, resize)
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = center_of(*scaled, size)
    out[:] = np.asarray(image.crop((left, top, left + size, top + size)))


def turbo_crop(data: Data, choose: ChooseBox, out: np.ndarray) -> None:
    """As `pil_crop`, with libjpeg-turbo and PyTorch."""
    draw_turbo(plan_turbo(data, choose), out)


@dataclass(frozen=True)
class Planned:
    """A crop that is to be decoded."""

    data: Data
    choose: ChooseBox
    wanted: Part | None = None
    """Of a plain JPEG: the part of it that has to be decoded."""
    box: Box = (0, 0, 0, 0)
    flip: bool = False


def plan_turbo(data: Data, choose: ChooseBox) -> Planned:
    """What to decode for a crop."""
    whole = layout(data)
    if whole is None or is_a_bomb(whole.width, whole.height):
        return Planned(data, choose)
    box, flip = choose(whole.width, whole.height)
    return Planned(data, choose, part(data, whole, box), box, flip)


def draw_turbo(planned: Planned, out: np.ndarray) -> None:
    """A planned crop into `out`."""
    if planned.wanted is None:
        pixels = turbo_pixels(planned.data)
        (left, top, right, bottom), flip = planned.choose(pixels.shape[1], pixels.shape[0])
    else:
        pixels, (left, top, right, bottom) = part_pixels(planned.data, planned.wanted, planned.box)
        flip = planned.flip
    _resize_into(pixels[top:bottom, left:right], out)
    if flip:
        _flip(out)


def turbo_center(data: Data, resize: int, out: np.ndarray) -> None:
    """As `pil_center`, with libjpeg-turbo and PyTorch."""
    pixels = turbo_pixels(data)
    height, width, _ = pixels.shape
    scaled = scaled_size(width, height, resize)
    if scaled != (width, height):
        resized = np.empty((scaled[1], scaled[0], 3), dtype=np.uint8)
        _resize_into(pixels, resized)
        pixels = resized
    left, top = center_of(*scaled, len(out))
    out[:] = pixels[top : top + len(out), left : left + len(out)]


def _resize_into(pixels: np.ndarray, out: np.ndarray) -> None:
    """Bilinear with antialiasing, 8 bit, as torchvision's transforms v2 do."""
    if pixels.shape == out.shape:
        out[:] = pixels
        return
    source, target = (torch.from_numpy(array)[None].permute(0, 3, 1, 2) for array in (pixels, out))
    size = list(out.shape[:2])
    torch.ops.aten._upsample_bilinear2d_aa.out(source, size, False, out=target)


def _flip(pixels: np.ndarray) -> None:
    """Left to right, in place: by rows so few that PyTorch does not share them out among threads of its own."""
    image = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    rows = image.shape[2] if torch.get_num_threads() == 1 else max(1, PARALLEL_FROM // pixels[0].size)
    for block in image.split(rows, dim=2):
        block.copy_(block.flip(3))


def scaled_size(width: int, height: int, shorter_side: int) -> tuple[int, int]:
    """Width and height with that shorter side, rounded as torchvision does."""
    short = min(width, height)
    return int(shorter_side * width / short), int(shorter_side * height / short)


def center_of(width: int, height: int, size: int) -> tuple[int, int]:
    """Left and top of the central square, rounded as torchvision does."""
    return round((width - size) / 2), round((height - size) / 2)


PLAN = {"turbo": plan_turbo, "pil": Planned}
DRAW = {"turbo": draw_turbo, "pil": lambda planned, out: pil_crop(planned.data, planned.choose, out)}
"""A crop in two steps: many are planned at a time, since Python is slow to come back from decoding."""
CROP = {"turbo": turbo_crop, "pil": pil_crop}
CENTER = {"turbo": turbo_center, "pil": pil_center}
