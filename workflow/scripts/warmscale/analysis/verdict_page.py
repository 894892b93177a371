"""What the page shows of the claims of a study: a row each, their counts, and what the verdicts mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..replay.names import is_accuracy
from ..study import Study
from ..study.claims import Claim
from ..study.config import Analysis
from ..study.levels import level_value
from ..study.metric import Metric
from . import page_text, style
from .inference.verdict import TARGET_POWER

WORDS = {"supported": "supported", "refuted": "refuted", "inconclusive": "inconclusive", "not_run": "not run"}
"""{verdict: how the page says it}, in the order in which they are counted."""
TEXT = dict.fromkeys(
    ("claim", "statement", "kind", "verdict", "seeds_needed", "note", "metric", "estimand", "source", "experiment",
     "experiments", "factor", "of", "cell", "scaling", "levels", "bracketed", "plausible_levels", "levels_to_add",
     "reason", "level", "sizes", "power_law_fits", "refused"),
    str,
)  # fmt: skip
"""Columns of text of the tables of verdicts: a level may be called NA or none."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a table of verdicts; empty text as "", empty numbers as NaN."""
    frame = pd.read_csv(path, dtype=TEXT, keep_default_na=False, na_values=[""])
    text = [column for column in frame if column in TEXT]
    return frame.assign(**{column: frame[column].fillna("") for column in text}).to_dict("records")


def claims_section(study: Study, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template shows: `rows`, `counts` in words, and the `rules` by which verdicts were reached.

    rows: of tables/claims.csv.
    """
    claims = {claim.id: claim for claim in study.config.claims}
    return {
        "rows": [claim_row(row, claims[row["claim"]], study.config) for row in rows],
        "counts": counts_text([row["verdict"] for row in rows]),
        "rules": rules(study.config, rows),
    }


def counts_text(verdicts: Sequence[str]) -> str:
    """How many claims have which verdict: "3 supported, 1 refuted"."""
    counts = Counter(verdicts)
    return ", ".join(f"{counts[verdict]} {word}" for verdict, word in WORDS.items() if counts[verdict])


def claim_row(row: Mapping[str, Any], claim: Claim, config: Analysis) -> dict[str, Any]:
    """A claim as text."""
    metric = claim.metric or config.metric
    shown = page_text.fixed if is_pure(row["estimand"]) or is_accuracy(metric.name) else page_text.number
    return {
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "verdict": row["verdict"],
        "word": WORDS[row["verdict"]],
        "tested": what_is_tested(claim, metric),
        "estimand": row["estimand"].replace(" - ", " − "),
        "metric": style.metric_label(metric.name) if claim.metric else "",
        "estimate": shown(row["estimate"]),
        "unit": "" if page_text.is_missing(row["estimate"]) else unit_of(row["estimand"], metric.name),
        "interval": page_text.interval(row["ci_low"], row["ci_high"], shown),
        "decision": page_text.interval(row["decision_ci_low"], row["decision_ci_high"], shown),
        "p_support": page_text.p_value(row["p_support_adjusted"]),
        "p_refute": page_text.p_value(row["p_refute_adjusted"]),
        "n": page_text.number(row["n"]),
        "diverged": 0 if page_text.is_missing(row["diverged"]) else int(row["diverged"]),
        "seeds": seeds_text(row["seeds_needed"]),
        "looks": f"{min(int(row['looks']), config.max_looks)} of {config.max_looks}",
        "note": row["note"],
    }


def unit_of(estimand: str, metric: str) -> str:
    """Percent and percentage points of accuracies and errors; other metrics, chances and exponents have none."""
    if is_pure(estimand) or not is_accuracy(metric):
        return ""
    return "%" if estimand == "mean" else "pp"


def is_pure(estimand: str) -> bool:
    """Whether an estimate is a number without a unit whatever the metric is."""
    return estimand == "exponent" or estimand.startswith("P(")


def what_is_tested(claim: Claim, metric: Metric) -> str:
    """What has to be true for a claim to be supported, and what its letters stand for."""
    pp, percent = (f" {unit}" if (unit := unit_of(of, metric.name)) else "" for of in ("difference", "mean"))
    match claim.kind:
        case "better":
            margin = page_text.number(claim.margin) if claim.margin else "0"
            bound = f"> {margin}" if metric.sign > 0 else f"< {'−' if claim.margin else ''}{margin}"
            return f"a − b {bound}{pp}; {_sides_text(claim)}"
        case "equivalent":
            return f"|a − b| < {page_text.number(claim.margin)}{pp}; {_sides_text(claim)}"
        case "best" | "worst":
            side = "above" if (claim.kind == "best") == (metric.sign > 0) else "below"
            name = _side_text({claim.factor: claim.level})
            return f"mean at {name} {side} the mean at every other level, in {claim.experiment}"
        case "increasing" | "decreasing":
            steps = " from each level to the next" if claim.strict else ""
            return f"mean {claim.kind}{steps} along {page_text.short_label(claim.factor)}, in {claim.experiment}"
        case "above" | "below":
            sign = ">" if claim.kind == "above" else "<"
            return f"mean {sign} {page_text.number(claim.value)}{percent}; {_side_text(claim.sides[0])}"
    low, high = (page_text.number(end) for end in claim.window)
    best, size = (page_text.short_label(factor) for factor in (claim.varied, claim.of))
    return f"{low} < exponent < {high}, of the best {best} by {size}"


def _sides_text(claim: Claim) -> str:
    paired = ", runs paired by seed" if claim.paired else ""
    return ", ".join(f"{name}: {_side_text(side)}" for name, side in zip("ab", claim.sides, strict=True)) + paired


def _side_text(side: Mapping[str, Any]) -> str:
    return " and ".join(f"{page_text.short_label(column)} {_levels_text(wanted)}" for column, wanted in side.items())


def _levels_text(wanted: Any) -> str:
    levels = wanted if isinstance(wanted, list) else [wanted]
    return " or ".join(style.level_label(level_value(level)) for level in levels)


def seeds_text(needed: str) -> str:
    """How many seeds would settle a claim; of a table: a number, `>16`, or empty."""
    if not needed:
        return page_text.NOTHING
    return f"more than {needed[1:]}" if needed.startswith(">") else f"{float(needed):g} seeds a cell"


def rules(config: Analysis, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers by which verdicts were reached, for the words that say what they mean."""
    risk = 1 - config.confidence
    return {
        "percent": f"{100 * config.confidence:g}",
        "risk": f"{100 * risk:.3g}",
        "equivalent_percent": f"{100 * (1 - 2 * risk):.3g}",
        "claims": len(rows),
        "shared": config.familywise == "holm" and len(rows) > 1,
        "max_looks": config.max_looks,
        "look_risk": f"{100 * risk / config.max_looks:.2g}",
        "looks_used": max((min(int(row["looks"]), config.max_looks) for row in rows), default=0),
        "smallest_effect": f"{config.smallest_effect:g} {unit_of('difference', config.metric.name)}",
        "power": f"{100 * TARGET_POWER:g}",
        "max_seeds": config.max_seeds,
    }
