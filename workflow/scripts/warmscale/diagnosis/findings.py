"""Lines about a machine: what is right, doubtful or wrong, printed as they are found. Standard library only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from ..cluster.ask import answer

ANSWER_SEC = 30.0


@dataclass(frozen=True)
class Finding:
    """One line."""

    level: str
    """ok, warn or FAIL."""
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.level:<4} {self.what}: {self.detail}"


def ok(what: str, detail: str) -> Finding:
    """Something is as it should be."""
    return Finding("ok", what, " ".join(detail.split()))


def warn(what: str, detail: str) -> Finding:
    """Something may be in the way, or could not be looked at."""
    return Finding("warn", what, " ".join(detail.split()))


def fail(what: str, detail: str) -> Finding:
    """Something is wrong: what, where, what to do."""
    return Finding("FAIL", what, " ".join(detail.split()))


@dataclass
class Findings:
    """All lines so far; each is printed at once."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    lines: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Lines that say that something is wrong."""
        return sum(line.level == "FAIL" for line in self.lines)

    def add(self, line: Finding) -> None:
        """Print a line and keep it."""
        self.lines.append(line)
        print(line, file=self.out, flush=True)

    def check(self, what: str, find: Callable[..., Iterable[Finding]], *given: Any, **named: Any) -> bool:
        """Add what a check finds, and return whether nothing is wrong; one that breaks is a finding, no end."""
        before = self.failed
        try:
            for line in find(*given, **named):
                self.add(line)
        except Exception as error:  # whatever one check meets must not keep the others from running
            self.add(fail(what, f"the check itself ended: {type(error).__name__}: {error}"))
        return self.failed == before


@dataclass(frozen=True)
class Answer:
    """What a program said."""

    code: int
    """127: there is no such program; 124: it did not answer in time."""
    text: str


def ask(words: Sequence[str], within_sec: float = ANSWER_SEC) -> Answer:
    """Run a program with bounded patience; standard output and error as one text."""
    code, said = answer(words, timeout_sec=within_sec)
    return Answer(code, said.strip())


def first_line(text: str) -> str:
    """The first line that is not blank."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "it said nothing")


def counted(number: int, noun: str, plural: str = "s") -> str:
    """A number and its noun."""
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def within(seconds: float) -> Callable[[], bool]:
    """Whether the time that was allowed is not over yet."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def size(number_bytes: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number_bytes) < 1024:
            return f"{number_bytes:.3g} {unit}" if unit != "B" else f"{number_bytes:.0f} B"
        number_bytes /= 1024
    return f"{number_bytes:.3g} TiB"


def some(names: Iterable[str], most: int = 3) -> str:
    """A few names, and how many others there are."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


Lines = Iterator[Finding]
