"""What of a JPEG has to be decoded for a crop: a shorter JPEG whose pixels are the same. No pixels are made here.

Below the crop: the header declares fewer rows, and the decoder stops there. Above and beside it: where a file has
restart markers (`warmscale pack` puts them in), the segments between them can be decoded on their own, so those outside
of the crop are left out. A margin keeps what the decoder interpolates between blocks the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

START, END = b"\xff\xd8", b"\xff\xd9"
MARGIN = 4
"""Pixels around a crop: colour at half resolution is interpolated between next neighbours, two pixels apart."""
RESTART = 0xD0
"""Second byte of the first of eight restart markers."""

NOTE = b"warmscale restarts\0"
_NOTE = 0xE9
"""Kind of segment that our note is in, which decoders pass over."""
_NUMBERS = np.resize(np.arange(RESTART, RESTART + 8, dtype=np.uint8), 65_536)
_BASELINE, _INTERVAL, _SCAN = (0xC0, 0xC1), 0xDD, 0xDA
_OTHER_FRAMES = {*range(0xC2, 0xD0)} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}
_STRAY = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Marker that has no place among coded pixels."""


@dataclass(frozen=True)
class Layout:
    """Where what stands in a baseline JPEG of one scan."""

    width: int
    height: int
    block_width: int
    """Pixels of a minimum coded unit."""
    block_height: int
    interval: int
    """Units between restart markers; 0: there are none."""
    size_at: int
    """Place of the height in the file, two bytes, followed by the width."""
    scan_at: int
    """Place of the coded pixels; they last until the end marker."""
    notes_at: int | None = None
    """Place of our own note, where a pack has put one: the places of the restart markers."""

    @property
    def columns(self) -> int:
        """Units in a row."""
        return -(-self.width // self.block_width)

    @property
    def rows(self) -> int:
        """Rows of units."""
        return -(-self.height // self.block_height)


@dataclass(frozen=True)
class Part:
    """A JPEG of a part of the pixels of another one."""

    data: bytes | bytearray | memoryview
    left: int
    """Where its first pixel is in the whole, as `top`."""
    top: int
    ends_early: bool
    """The data go on where its pixels end: decoders may mention it."""


def layout(data: bytes | memoryview) -> Layout | None:
    """Of a JPEG with 8 bits, grey or three colours, and all of it in one scan; None for any other file."""
    try:
        return _layout(data) if bytes(data[:2]) == START and bytes(data[-2:]) == END else None
    except IndexError:
        return None


def _layout(data: bytes | memoryview) -> Layout | None:
    at, interval, frame, notes_at = 2, 0, None, None
    while True:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _OTHER_FRAMES or marker in _WITHOUT_LENGTH:
            return None
        length = data[at + 2] << 8 | data[at + 3]
        if marker in _BASELINE:
            frame = at + 4
        elif marker == _INTERVAL:
            interval = data[at + 4] << 8 | data[at + 5]
        elif marker == _NOTE and data[at + 4 : at + 4 + len(NOTE)] == NOTE:
            notes_at = at
        elif marker == _SCAN:
            return _of_frame(data, frame, data[at + 4], interval, at + 2 + length, notes_at)
        at += 2 + length


def _of_frame(
    data: bytes | memoryview, at: int | None, colours: int, interval: int, scan_at: int, notes_at: int | None
) -> Layout | None:
    if at is None or data[at] != 8 or data[at + 5] != colours or colours not in (1, 3):
        return None
    height, width = data[at + 1] << 8 | data[at + 2], data[at + 3] << 8 | data[at + 4]
    if not (width and height):
        return None
    sampling = [data[at + 7 + 3 * colour] for colour in range(colours)]
    across, down = max(byte >> 4 for byte in sampling), max(byte & 15 for byte in sampling)
    if colours == 1:  # a scan of one colour is coded block by block, whatever it declares
        across = down = 1
    return Layout(width, height, 8 * across, 8 * down, interval, at + 1, scan_at, notes_at)


def part(data: bytes | memoryview, whole: Layout, box: tuple[int, int, int, int]) -> Part:
    """The least of a JPEG that has to be decoded for a box (left, top, right, bottom)."""
    columns = whole.columns
    if whole.interval and columns % whole.interval == 0 and columns // whole.interval * whole.rows <= len(_NUMBERS):
        marks = noted_marks(data, whole) if whole.notes_at else restart_marks(data, whole.scan_at)
        if len(marks) == columns // whole.interval * whole.rows - 1:
            return _segments(data, whole, box, marks)
    # a decoder that stops early does not see that a file is spoiled below; what we noted was verified when packed
    if whole.notes_at is None and _STRAY.search(data, whole.scan_at, len(data) - 2):
        return Part(data, 0, 0, ends_early=False)
    return _upper_part(data, whole, box[3])


def restart_marks(data: bytes | memoryview, scan_at: int) -> np.ndarray:
    """Places of the restart markers of a scan.  # (n,) int64"""
    scan = np.frombuffer(data, np.uint8)[scan_at:-2]
    found = np.flatnonzero(scan[:-1] == 0xFF)
    following = scan[found + 1]
    return found[(following >= RESTART) & (following < RESTART + 8)] + scan_at


def with_marks_noted(data: bytes) -> bytes:
    """A JPEG with a note of where its restart markers are: looking for them takes as long as decoding 1,000 pixels."""
    whole = layout(data)
    marks = restart_marks(data, whole.scan_at) - whole.scan_at if whole else np.empty(0, np.int64)
    note = NOTE + marks.astype("<u4").tobytes()
    if not len(marks) or len(note) > 0xFFFF - 2:
        return data
    segment = bytes([0xFF, _NOTE]) + (len(note) + 2).to_bytes(2) + note
    return data[:2] + segment + data[2:]


def noted_marks(data: bytes | memoryview, whole: Layout) -> np.ndarray:
    """Places of the restart markers of a scan, as noted; none where they cannot be right.  # (n,) int64"""
    at = whole.notes_at
    count = (data[at + 2] << 8 | data[at + 3]) - 2 - len(NOTE)
    marks = np.frombuffer(data, "<u4", count // 4, at + 4 + len(NOTE)).astype(np.int64) + whole.scan_at
    return marks if len(marks) and marks[-1] < len(data) - 2 and (np.diff(marks) > 0).all() else marks[:0]


def _upper_part(data: bytes | memoryview, whole: Layout, bottom: int) -> Part:
    height = -(-(bottom + MARGIN) // whole.block_height) * whole.block_height
    if height >= whole.height:
        return Part(data, 0, 0, ends_early=False)
    shorter = bytearray(data)
    shorter[whole.size_at : whole.size_at + 2] = height.to_bytes(2)
    return Part(shorter, 0, 0, ends_early=True)


def _segments(data: bytes | memoryview, whole: Layout, box: tuple[int, int, int, int], marks: np.ndarray) -> Part:
    """The segments that a box needs, put together as a JPEG of their own."""
    left, top, right, bottom = box
    across, wide, high = whole.columns // whole.interval, whole.interval * whole.block_width, whole.block_height
    first_row, rows_end = max(0, top - MARGIN) // high, min(whole.rows, -(-(bottom + MARGIN) // high))
    first, end = max(0, left - MARGIN) // wide, min(across, -(-(right + MARGIN) // wide))
    # segment k is data[edges[k] + 2 : edges[k + 1]], and its closing marker two bytes more
    edges = np.empty(len(marks) + 2, np.int64)
    edges[0], edges[1:-1], edges[-1] = whole.scan_at - 2, marks, len(data) - 2
    opens = edges[:-1].reshape(-1, across)[first_row:rows_end, first] + 2  # (rows,)
    closes = edges[1:].reshape(-1, across)[first_row:rows_end, first:end] + 2  # (rows, segments of a row)
    lengths = closes[:, -1] - opens
    moved = whole.scan_at + lengths.cumsum() - lengths - opens  # (rows,)
    starts, stops = [opens[0]], [closes[-1, -1]]
    if end - first < across:
        starts, stops = opens.tolist(), closes[:, -1].tolist()
    source = memoryview(data)
    header = bytearray(source[: whole.scan_at])
    height, width = min(whole.height, rows_end * high) - first_row * high, min(whole.width, end * wide) - first * wide
    header[whole.size_at : whole.size_at + 4] = (height << 16 | width).to_bytes(4)
    out = bytearray().join([header, *(source[start:stop] for start, stop in zip(starts, stops, strict=True))])
    second_bytes = (closes + (moved - 1)[:, None]).ravel()
    np.frombuffer(out, np.uint8)[second_bytes] = _NUMBERS[: len(second_bytes)]
    out[-1] = END[1]
    return Part(out, first * wide, first_row * high, ends_early=False)


def without_notes(data: bytes) -> bytes:
    """A JPEG without EXIF, colour profile and comments: without what does not decide its pixels as we decode them."""
    kept, at = [START], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _SCAN or marker in _WITHOUT_LENGTH:
            break
        stop = at + 2 + (data[at + 2] << 8 | data[at + 3])
        # JFIF and Adobe's note say which colours these are
        if not (0xE1 <= marker <= 0xED or marker in (0xEF, 0xFE)):
            kept.append(data[at:stop])
        at = stop
    return b"".join([*kept, data[at:]])
