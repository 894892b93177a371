"""What the page shows of scaling: figures, and a row a placement and batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import page_text, style

COLUMNS = {
    "speed": "images a second",
    "weak": "weak efficiency (%)",
    "strong": "strong efficiency (%)",
    "ratio": "computation / communication",
    "epoch": "an epoch",
    "predicted": "predicted",
}
"""{key: heading} of the columns of numbers; one that is empty in all rows is left out."""


def scaling_section(
    rows: Sequence[Mapping[str, Any]],
    figures: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str],
    failed: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any] | None:
    """What the template shows; None of a study without figures of scaling.

    rows: of tables/scaling.csv; titles: {throughput experiment: its title}; failed: rows of tables/throughput.csv.
    """
    figures = that_show(figures, rows)
    if not figures:
        return None
    shown = [_row(row, titles) for row in rows]
    columns = {key: heading for key, heading in COLUMNS.items() if any(row[key] for row in shown)}
    return {
        "figures": figures,
        "columns": columns,
        "rows": shown,
        "is_measured": any(row["source"] == "measurements" for row in rows),
        "is_predicted": "predicted" in columns,
        "failed": failed,
    }


def that_show(figures: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without the figures of trainings by placement that have nothing to compare."""
    trained = [row for row in rows if row["source"] == "trainings"]
    is_several = len({row["ranks"] for row in trained}) > 1
    has = {
        "trainings-throughput": is_several,
        "trainings-efficiency": any(_has(row, "weak_efficiency") or _has(row, "strong_efficiency") for row in trained),
        "trainings-model": is_several and any(_has(row, "predicted") for row in trained),
    }
    return [figure for figure in figures if has.get(figure["name"], True)]


def _has(row: Mapping[str, Any], name: str) -> bool:
    return not page_text.is_missing(row[name])


def _row(row: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, Any]:
    """A placement as text; a column is None, or a number with the lines that stand small below it."""
    nodes, ranks = int(row["nodes"]), int(row["ranks"])
    missing = [f"{int(row[name])} {name}" for name in ("failed", "pending") if row[name] > 0]
    return {
        "of": titles[row["experiment"]] if row["source"] == "measurements" else "trainings",
        "place": f"{page_text.counted(nodes, 'node')}, {page_text.counted(ranks, 'rank')}",
        "batch": f"{style.level_label(row['workers'])} × {style.level_label(row['worker_batch_size'])}",
        "mini_batch": style.level_label(row["mini_batch_size"]),
        "n": f"{int(row['n'])}",
        "missing": ", ".join(missing),
        "speed": _number(row, "images_per_sec", ("ci_low", "ci_high")),
        "weak": _number(row, "weak_efficiency", ("weak_low", "weak_high"), 100),
        "strong": _number(row, "strong_efficiency", ("strong_low", "strong_high"), 100),
        "ratio": _number(row, "computation_to_communication", ("ratio_low", "ratio_high")),
        "epoch": _epoch(row),
        "predicted": _predicted(row),
    }


def _number(row: Mapping[str, Any], name: str, ends: tuple[str, str], times: float = 1.0) -> dict[str, Any] | None:
    """A number of the table, and its interval."""
    if page_text.is_missing(row[name]):
        return None
    low, high = (row[end] * times for end in ends)
    has_interval = not page_text.is_missing(low)
    return {
        "value": short(row[name] * times),
        "small": [page_text.interval(low, high, short)] if has_interval else [],
    }


def _epoch(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Seconds of an epoch, and below its updates and what a rank sends for them."""
    if page_text.is_missing(row["epoch_sec"]) or not row["updates_per_epoch"] > 0:
        return None
    sent = row["bytes_per_epoch"]
    unit, size = style.byte_unit(sent)
    told = [page_text.counted(round(row["updates_per_epoch"]), "update")]
    told += [f"{short(sent / size)} {unit} a rank"] if sent > 0 else []
    return {"value": f"{short(row['epoch_sec'])} s", "small": told}


def _predicted(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """A prediction, and what it rests on."""
    found = _number(row, "predicted", ("predicted_low", "predicted_high"))
    if found is None:
        return None
    count = int(row["predicted_from"])
    known = page_text.counted(count, "measurement") if row["source"] == "measurements" else f"{count:,} on fewer ranks"
    basis = f"from {known}" if count else "from the preset alone"
    return found | {"small": [*found["small"], basis]}


def short(value: float) -> str:
    """Three digits, and whole numbers from a hundred on."""
    if page_text.is_missing(value):
        return page_text.NOTHING
    return page_text.number(float(f"{value:.3g}") if abs(value) < 1000 else float(round(value)))
