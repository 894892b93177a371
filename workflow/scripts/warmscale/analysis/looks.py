"""The looks at a study: which data its claims were tested on, and when. Kept beside the tables, never made again."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from ..records import rows_to_csv, write_atomic
from .inference.cell import Cell


@dataclass(frozen=True)
class Look:
    """One claim tested on data that it had not been tested on before."""

    claim: str
    look: int
    """Number of this look at this claim, from 1."""
    time: str
    data: str
    """Hash of the values that it was tested on."""
    n: int
    """Smallest number of seeds of its cells."""
    p_support: float | None
    p_refute: float | None
    verdict: str


COLUMNS = tuple(item.name for item in fields(Look))


def data_hash(groups: Sequence[Sequence[Cell]]) -> str:
    """Short hash of the values of cells; the same whatever their order within a cell."""
    told = [
        [
            (cell.label, sorted(cell.values or ()), cell.n, cell.diverged, f"{cell.mean:.12g}", f"{cell.sd:.12g}")
            for cell in group
        ]
        for group in groups
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def read_looks(path: Path) -> list[Look]:
    """All looks so far, in their order; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [_look(row) for row in csv.DictReader(file)]


def number_of(claim: str, data: str, looks: Sequence[Look]) -> int:
    """Number of the look that testing a claim on these data is: a new one only if they have changed."""
    earlier = [look for look in looks if look.claim == claim]
    if not earlier:
        return 1
    return earlier[-1].look + (earlier[-1].data != data)


def standing(claim: str, number: int, max_looks: int, looks: Sequence[Look]) -> str | None:
    """The verdict that stands because no look is left: that of the last allowed one; None while looks are left."""
    if number <= max_looks:
        return None
    return next((look.verdict for look in reversed(looks) if look.claim == claim and look.look <= max_looks), None)


def write_looks(path: Path, looks: Sequence[Look], new: Sequence[Look]) -> None:
    """Add the looks that are new: those of which claim and number do not stand there yet."""
    known = {(look.claim, look.look) for look in looks}
    added = [look for look in new if (look.claim, look.look) not in known]
    if added or not path.exists():
        write_atomic(path, rows_to_csv([asdict(look) for look in (*looks, *added)], COLUMNS))


def now() -> str:
    """This moment, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _look(row: Mapping[str, str]) -> Look:
    p = {name: float(row[name]) if row[name] else None for name in ("p_support", "p_refute")}
    return Look(row["claim"], int(row["look"]), row["time"], row["data"], int(row["n"]), verdict=row["verdict"], **p)
