"""The tables of calibration_claims.py in a few lines, for documents: benchmarks/results/claims_*_summary.csv."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from common import RESULTS

Row = Mapping[str, str]
WHERE = ("machine", "commit", "date")


def familywise(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """The worst of each scenario over seeds and looks."""
    for (distribution, spreads, truth), own in grouped(rows, "distribution", "spreads", "truth"):
        yield {
            "distribution": distribution,
            "spreads": spreads,
            "claims are": truth,
            "seeds": span(own, "seeds"),
            "looks": span(own, "looks"),
            "worst % false supported": f"{max(float(row['falsely_supported_percent']) for row in own):.1f}",
            "worst % true refuted": f"{max(float(row['falsely_refuted_percent']) for row in own):.1f}",
            "rows within 5 %": f"{sum(row['meets'] != 'no' for row in own)} of {len(own)}",
        }


def coverage(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """The range of each distribution, with two seeds and with more."""
    for (interval, distribution), own in grouped(rows, "interval", "distribution"):
        few, more = ([row for row in own if (int(row["seeds"]) < 3) == is_few] for is_few in (True, False))
        yield {
            "interval of": interval,
            "distribution": distribution,
            "ratio of spreads": span(own, "ratio_of_spreads"),
            "% covered with 2 seeds": span(few, "covered_percent"),
            "% with 3 to 16": span(more, "covered_percent"),
        }


def seeds(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Power of those who follow seeds_needed, for needs that the pilot does not exceed."""
    aimed = [row for row in rows if row["target"]]
    for (kind, claims), own in grouped(aimed, "kind", "claims"):
        yield {
            "kind": kind,
            "claims": claims,
            "needed": span(own, "needs"),
            "pilot": span(own, "pilot_seeds"),
            "mean % supported": f"{mean(float(row['supported_percent']) for row in own):.1f}",
            "% range": span(own, "supported_percent"),
            "rows from 75 to 90 %": f"{sum(row['meets'] != 'no' for row in own)} of {len(own)}",
        }


def grouped(rows: Sequence[Row], *columns: str) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    """(values of the columns, rows with them), in the order of the rows."""
    keys = dict.fromkeys(tuple(row[column] for column in columns) for row in rows)
    for key in keys:
        yield key, [row for row in rows if tuple(row[column] for column in columns) == key]


def span(rows: Sequence[Row], column: str) -> str:
    """The smallest and the largest value of a column, once where they are the same."""
    values = sorted((float(row[column]), row[column]) for row in rows)
    low, high = f"{values[0][0]:.4g}", f"{values[-1][0]:.4g}"
    return low if low == high else f"{low} to {high}"


def write_summaries() -> None:
    """Write claims_<table>_summary.csv for each table that is there, measured where and when that was."""
    for name, summary in (("familywise", familywise), ("coverage", coverage), ("seeds", seeds)):
        path = RESULTS / f"claims_{name}.csv"
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        found = [row | {column: rows[0][column] for column in WHERE} for row in summary(rows)]
        with (RESULTS / f"claims_{name}_summary.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    write_summaries()
