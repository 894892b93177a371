"""The cells that claims are about, found by the selection that the report uses, before their runs are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ..analysis.inference.cell import Cell
from ..analysis.observations import Observations
from ..analysis.observed_cells import Group
from ..analysis.optima import curves
from ..analysis.tables import Tables
from ..study import Study
from ..study.claims import Claim
from ..study.metric import Metric
from .cells import ASSUMED, as_if_finished
from .order import Choice


@dataclass(frozen=True)
class Selection:
    """What claims choose their cells from."""

    study: Study
    real: Observations
    planned: Observations
    """As if all runs had finished."""

    @classmethod
    def of(cls, study: Study, tables: Tables) -> Selection:
        """Of a study; tables: of what is there."""
        return cls(
            study=study,
            real=Observations.of(study, tables),
            planned=Observations.of(study, as_if_finished(tables)),
        )


@dataclass(frozen=True)
class Part:
    """A cell of a claim."""

    rows: pd.DataFrame
    runs: tuple[str, ...]
    """Ids of those that are trained here."""
    there: int
    """Imported runs, also those of a summary."""


def parts_of(groups: Sequence[Group], among: Selection) -> list[Part]:
    """The cells of all groups, in order."""
    return [
        _part(rows, among)
        for group in groups
        for _, rows in group.rows.groupby(["key", "cell"], sort=True, dropna=False)
    ]


def _part(rows: pd.DataFrame, among: Selection) -> Part:
    own = pd.Series([run_id in among.study.runs for run_id in rows["run_id"]], index=rows.index)
    summarised = rows["known_n"].fillna(1.0) if "known_n" in rows else pd.Series(1.0, index=rows.index)
    return Part(rows, tuple(rows.loc[own, "run_id"]), int(summarised[~own].sum()))


def choices_of(parts: Sequence[Part], pairs: Sequence[int] | None = None) -> tuple[Choice, ...]:
    """What a claim chooses its runs from: each of its cells, or pairs with these seeds in two of them."""
    if pairs is None:
        return tuple(Choice(tuple((run_id,) for run_id in part.runs), part.there) for part in parts)
    sides = [part.rows.set_index("seed")["run_id"] for part in parts]
    return (Choice(tuple(zip(*(side[pairs] for side in sides), strict=True))),)


def known_groups(groups: Sequence[Group], parts: Sequence[Part]) -> tuple[Group, ...]:
    """The groups with cells of the runs that are there; of a cell without any, made-up ones: only its place counts.

    parts: the cells of all of them, as of `parts_of`.
    """
    left = iter(parts)
    return tuple(
        replace(group, cells=tuple(_known(cell, next(left), group.value) for cell in group.cells)) for group in groups
    )


def _known(cell: Cell, part: Part, value: str) -> Cell:
    return cell if part.there else _cell_of(part.rows, cell, value)


def _cell_of(rows: pd.DataFrame, cell: Cell, value: str) -> Cell:
    real = rows[~rows[ASSUMED]]
    if real.empty:
        return Cell.of(cell.label, [0.0, 0.0])
    diverged = real["state"] == "diverged"
    return Cell.of(cell.label, real.loc[~diverged, value].dropna(), int(diverged.sum()))


def parts_of_exponent(claim: Claim, metric: Metric, among: Selection) -> list[Part]:
    """The cells of the curves whose optima an exponent is fitted to; raises NotThereError and CannotTestError."""
    found = [
        curve for name in claim.experiments for curve in curves(among.planned, metric, name, claim.varied, claim.of)
    ]
    return [
        _part(rows, among)
        for curve in found
        for _, rows in curve.rows.groupby([claim.varied, "key", "cell"], sort=True, dropna=False)
    ]
