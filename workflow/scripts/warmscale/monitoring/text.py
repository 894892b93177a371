"""Numbers and lines as a terminal shows them."""

from __future__ import annotations

FULL, EMPTY = "█", "░"
_COLOURS = {
    "failed": "31",
    "lost?": "31",
    "diverged": "35",
    "paused": "33",
    "running": "36",
    "finished": "32",
    "queued": "34",
    "pending": "2",
}


def count(number: int, noun: str) -> str:
    """`1 run`, `3 runs`; thousands apart."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """`45s`, `12m`, `3h05m`, `2d04h`; empty where it is not known."""
    if seconds is None:
        return ""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 59.5:
        return f"{round(seconds)}s"
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 24 * 60:
        return f"{minutes // 60}h{minutes % 60:02d}m"
    return f"{hours // 24}d{hours % 24:02d}h"


def percent(fraction: float) -> str:
    """Whole percents, rounded down: 100 % is the end and nothing before it."""
    return f"{int(100 * fraction)} %"


def bar(fraction: float, width: int, *, blocks: bool) -> str:
    """A progress bar of so many characters, of blocks or of ASCII."""
    done = int(width * fraction)
    full, empty = (FULL, EMPTY) if blocks else ("#", ".")
    return full * done + empty * (width - done)


def has_blocks(encoding: str | None) -> bool:
    """Whether an encoding has what bars are made of."""
    try:
        f"{FULL}{EMPTY}".encode(encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def cut(text: str, width: int | None, *, blocks: bool = True) -> str:
    """At most so many characters of a line, with a mark where it goes on; None is any number."""
    if width is None or len(text) <= width:
        return text
    mark = "…" if blocks else "~"
    return text[: max(width - 1, 0)] + mark


def coloured(text: str, state: str, *, colours: bool) -> str:
    """A text in the colour of a state."""
    return f"\x1b[{_COLOURS[state]}m{text}\x1b[0m" if colours and state in _COLOURS else text
