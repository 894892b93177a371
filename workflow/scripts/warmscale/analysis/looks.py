"""The looks at a study: which data its claims were tested on, and when. Kept beside the tables, never made again."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..records import rows_to_csv, write_atomic
from ..study.claims import Claim
from .inference.cell import Cell

LOOKS = "looks.csv"
"""Name of the file, in the folder of a study."""


@dataclass(frozen=True)
class Look:
    """One claim tested on data that it had not been tested on before."""

    claim: str
    look: int
    """Number of this look at this claim, from 1."""
    time: str
    data: str
    """Hash of the values that it was tested on."""
    claimed: str
    """Hash of what was claimed."""
    runs: int
    """Runs of all its cells."""
    n: int
    """Smallest number of seeds of its cells."""
    p_support: float | None
    p_refute: float | None
    verdict: str


COLUMNS = tuple(item.name for item in fields(Look))


class LooksError(Exception):
    """A file of looks that cannot be read, said in one line."""


def data_hash(groups: Sequence[Sequence[Cell]]) -> str:
    """Short hash of the values of cells, whatever they are called and in whatever order they are within a cell."""
    return _short(
        [[(sorted(cell.values or ()), cell.n, cell.diverged, cell.mean, cell.sd) for cell in group] for group in groups]
    )


def claim_hash(claim: Claim) -> str:
    """Short hash of what a claim says, but for its words."""
    return _short(claim.model_dump(exclude={"id", "statement", "source"}, mode="json"))


def _short(told: Any) -> str:
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def read_looks(path: Path) -> list[Look]:
    """All looks so far, in their order; none where there is no file. Raises LooksError where it is damaged."""
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            looks = [_look(row) for row in rows]
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise ValueError("columns")
    except (ValueError, KeyError, TypeError) as error:
        hint = "restore it, or delete it: looks then count from 1 again"
        raise LooksError(f"{path}: is not the table of looks that was written there ({error}): {hint}") from error
    return looks


def number_of(claim: str, data: str, runs: int, looks: Sequence[Look]) -> int:
    """Number of the look that testing a claim on these data is.

    A new one where runs have joined. Other values of as many runs are a correction, and belong to the look before.
    """
    earlier = [look for look in looks if look.claim == claim]
    if not earlier:
        return 1
    if known := [look.look for look in earlier if look.data == data]:
        return known[-1]
    return earlier[-1].look + (runs > max(look.runs for look in earlier))


def standing(claim: str, number: int, max_looks: int, looks: Sequence[Look]) -> str | None:
    """The verdict that stands because no look is left: that of the last allowed one; None while looks are left."""
    if number <= max_looks:
        return None
    return next((look.verdict for look in reversed(looks) if look.claim == claim and look.look <= max_looks), None)


def write_looks(path: Path, looks: Sequence[Look], new: Sequence[Look]) -> None:
    """Add the looks that are new; one at the same data and claim is renewed: its verdict rests on other claims too."""

    def key(look: Look) -> tuple:
        return look.claim, look.look, look.data, look.claimed

    known = {key(look): look for look in looks}
    renewed = [replace(look, time=known[key(look)].time) if key(look) in known else look for look in new]
    found = list({**known, **{key(look): look for look in renewed}}.values())
    if found != list(looks) or not path.exists():
        write_atomic(path, rows_to_csv([asdict(look) for look in found], COLUMNS))


def now() -> str:
    """This moment, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _look(row: Mapping[str, str]) -> Look:
    p = {name: float(row[name]) if row[name] else None for name in ("p_support", "p_refute")}
    whole = {name: int(row[name]) for name in ("look", "runs", "n")}
    return Look(**{name: row[name] for name in ("claim", "time", "data", "claimed", "verdict")}, **whole, **p)
