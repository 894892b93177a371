"""Standard output: what it shows, and writing to it."""

from __future__ import annotations

import math
import os
import shutil
import sys

from .table import Screen
from .text import has_blocks

ROWS = 100
"""Of the table, where no terminal says how many fit."""


def screen_here() -> Screen:
    """What standard output shows."""
    is_terminal = sys.stdout.isatty()
    colours = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Screen(
        width=shutil.get_terminal_size().columns if is_terminal else None,
        blocks=has_blocks(sys.stdout.encoding),
        colours=colours,
    )


def rows_here() -> int:
    """Rows of the table that leave place for the summary and the first failure."""
    return max(shutil.get_terminal_size().lines - 14, 10) if sys.stdout.isatty() else ROWS


def write_lines(lines: list[str]) -> None:
    """Write to standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in _encodable(lines)))


def _encodable(lines: list[str]) -> list[str]:
    """What standard output can show: a log may hold anything."""
    encoding = sys.stdout.encoding or "ascii"
    return [line.encode(encoding, "replace").decode(encoding) for line in lines]


def fitting(lines: list[str], columns: int, rows: int) -> list[str]:
    """The lines that a terminal holds without scrolling, long ones wrapped: the first ones, and the last."""
    free = rows - 2
    for number, line in enumerate(lines[:-1]):
        free -= max(math.ceil(len(line) / columns), 1)
        if free < 0:
            return [*lines[:number], lines[-1]]
    return lines


def repaint(lines: list[str]) -> None:
    """Write over what the last call wrote to a terminal."""
    shown = fitting(lines, *shutil.get_terminal_size())
    sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in _encodable(shown)) + "\x1b[J")
