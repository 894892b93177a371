"""What the page shows of the best warmup of every mini-batch size, and of the exponent with which it grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import page_text, style
from .inference.exponent import RIVALS
from .optima import SIZE, WARMUP

KNOWN_FOR = {
    0.0: "Goyal et al. 2017: always 5 epochs",
    0.5: "the poster: 5 epochs at 7,680 and 10 at 30,720",
    1.0: "LEGW, You et al. 2019, there with sqrt scaling",
}
"""{exponent: who trains by it}."""
FOUR_TIMES = 4
"""The mini-batch that an exponent is explained with is so many times as large."""


def warmup_section(
    optima: Sequence[Mapping[str, Any]], exponents: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """What the template shows: tables of optima, one for each factor, and exponents; None if the study has neither.

    Rows of tables/optimum.csv and tables/exponent.csv.
    """
    if not optima and not exponents:
        return None
    axes = dict.fromkeys((row["factor"], row["of"]) for row in (*optima, *exponents))
    return {
        "title": "Best warmup" if set(axes) == {(WARMUP, SIZE)} else "Best levels",
        "tables": [
            _table(axis, [row for row in optima if (row["factor"], row["of"]) == axis])
            for axis in axes
            if any((row["factor"], row["of"]) == axis for row in optima)
        ],
        "exponents": [exponent_block(row) for row in exponents],
    }


def _table(axis: tuple[str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    factor, of = axis
    has_cells = any(row["cell"] for row in rows)
    has_steps = any(not page_text.is_missing(row["optimum_steps"]) for row in rows)
    has_rates = any(not page_text.is_missing(row["increment_per_step"]) for row in rows)
    return {
        "factor": style.factor_label(factor),
        "of": style.factor_label(of),
        "has_cells": has_cells,
        "has_steps": has_steps,
        "has_rates": has_rates,
        "rows": [optimum_row(row) for row in rows],
    }


def optimum_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The optimum of one curve as text, its intervals from the smallest value to the largest."""
    ends = {name: _ends(row, name) for name in ("optimum", "optimum_steps", "increment_per_step")}
    return {
        "experiment": row["experiment"],
        "size": page_text.NOTHING if page_text.is_missing(row["size"]) else style.level_label(row["size"]),
        "cell": row["cell"] or page_text.NOTHING,
        "levels": page_text.listed(row["levels"]),
        "n": page_text.number(row["n"]),
        "value": _short(row["optimum"]),
        "interval": ends["optimum"],
        "bracketed": row["bracketed"] == "yes",
        "reason": row["reason"],
        "to_add": page_text.listed(row["levels_to_add"]) if row["levels_to_add"] else "",
        "steps": _short(row["optimum_steps"]),
        "steps_interval": ends["optimum_steps"],
        "rate": page_text.number(_to_digits(row["increment_per_step"], 3)),
        "rate_interval": ends["increment_per_step"],
    }


def _ends(row: Mapping[str, Any], name: str) -> str:
    columns = {
        "optimum": ("ci_low", "ci_high"),
        "optimum_steps": ("steps_low", "steps_high"),
        "increment_per_step": ("increment_low", "increment_high"),
    }
    return page_text.interval(*(row[column] for column in columns[name]), _short)


def _short(value: float | None) -> str:
    """Three digits: no interval is so narrow that more would say something."""
    return page_text.number(_to_digits(value, 3))


def _to_digits(value: float | None, digits: int) -> float | None:
    return None if page_text.is_missing(value) else float(f"{value:.{digits}g}") if abs(value) < 1000 else float(value)


def exponent_block(row: Mapping[str, Any]) -> dict[str, Any]:
    """An exponent as text: what it is of, its value or why there is none, what values mean, and rivals."""
    warmup = (row["factor"], row["of"]) == (WARMUP, SIZE)
    return {
        "what": page_text.short_label(row["factor"]),
        "of": page_text.short_label(row["of"]),
        "experiments": page_text.listed(row["experiments"]),
        "sizes": ", ".join(style.level_label(float(size)) for size in row["sizes"].split(";") if size),
        "scaling": row["scaling"],
        "exponent": page_text.fixed(row["exponent"]),
        "interval": page_text.interval(row["ci_low"], row["ci_high"]),
        "fits": row["power_law_fits"] != "no",
        "refused": row["refused"],
        "to_add": row["levels_to_add"],
        "meanings": meanings(row) if warmup else [],
        "increment": None if page_text.is_missing(row["constant_increment_is"]) else row["constant_increment_is"],
        "times": FOUR_TIMES,
        "note": row.get("note", ""),
    }


def meanings(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """What exponents mean under the scaling rule of these runs, and how these data sit with those that were tested.

    One row for every rival, and one for a constant increment where that is none of them.
    """
    increment = row["constant_increment_is"]
    known = {0.0: "a constant number of epochs", 1.0: "a constant number of steps"}
    if not page_text.is_missing(increment):
        steady = "a constant increment of the rate a step"
        known[increment] = f"{known[increment]}, and {steady}" if increment in known else steady
    return [
        {
            "exponent": f"{exponent:g}",
            "meaning": "; ".join(filter(None, [known.get(exponent), KNOWN_FOR.get(exponent)])) or page_text.NOTHING,
            "factor": f"× {FOUR_TIMES**exponent:g}",
            "p": page_text.p_value(row.get(f"p_rival_{exponent:g}")),
        }
        for exponent in sorted({*RIVALS, *known})
    ]
