"""What the lines of figures of scaling are called, and their order. Frame -> frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from . import style


def with_series(
    frame: pd.DataFrame, label: Callable[[dict[str, Any]], tuple[str, tuple]], apart: Sequence[str] = ()
) -> pd.DataFrame:
    """Rows with the label of their line and its place among the lines.

    label: row -> label, what it is sorted by; apart: columns that tell lines apart as well, named where they vary.
    """
    varying = [column for column in apart if frame[column].nunique() > 1]
    found = [_with_varying(label(row), row, varying) for row in frame.to_dict("records")]
    ranked = {own: index for index, own in enumerate(sorted(set(found), key=lambda own: own[1]))}
    return frame.assign(
        series=pd.Series([name for name, _ in found], index=frame.index, dtype=object),
        order=pd.Series([ranked[own] for own in found], index=frame.index, dtype=int),
    )


TOLD = {
    "ranks_per_node": "{} ranks a node",
    "image_size": "{} pixels",
    "zero_stage": "ZeRO {}",
    "workers": "{} workers",
}
"""{column: how a line is told by it}; of others the level says enough."""


def _with_varying(own: tuple[str, tuple], row: dict[str, Any], varying: Sequence[str]) -> tuple[str, tuple]:
    """A label and its order, with the levels of these columns; a placement without a measurement lacks some."""
    there = {column: row[column] for column in varying if not pd.isna(row[column])}
    told = [TOLD.get(column, "{}").format(style.level_label(level)) for column, level in there.items()]
    levels = ((1, 0, level) if isinstance(level, str) else (0, level, "") for level in there.values())
    text = ",\n".join([own[0], *told]).replace(",\n1 ranks ", ",\n1 rank ").replace(",\n1 workers", ",\n1 worker")
    return text, (own[1], *levels)


def line_label(row: dict[str, Any]) -> tuple[str, tuple]:
    """What a line of placements is called, by what is held along it, and what it is sorted by."""
    batch, a_rank = row["worker_batch_size"], row["workers_per_rank"]
    if row["scaling"] == "strong":
        return f"{row['workers']:,.0f} workers of {batch:,.0f} images", (1, row["workers"], batch)
    name = f"{batch:,.0f} images a worker"
    if a_rank == 1:
        return name, (0, a_rank, batch)
    return f"{name},\n{a_rank:,.0f} workers a rank", (0, a_rank, batch)


def place_label(row: dict[str, Any]) -> tuple[str, tuple]:
    """What a placement is called, and what it is sorted by."""
    nodes, ranks = int(row["nodes"]), int(row["ranks"])
    name = "1 rank" if ranks == 1 else f"{ranks:,} ranks on {nodes:,} {'node' if nodes == 1 else 'nodes'}"
    order = (ranks, nodes, row["workers_per_rank"])
    return (name if row["workers_per_rank"] == 1 else f"{name},\n{row['workers']:,.0f} workers"), order
