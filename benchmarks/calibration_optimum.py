"""Do intervals of the best warmup and of its exponent hold the planted truth?

Writes calibration_optimum.csv, a row a setting and method, and calibration_optimum_summary.csv. Runs are drawn around
planted curves (planted_optima.py) and go through the code of the report (`averaged`) and through its rivals
(one_peak.py, optimum_rivals.py). Coverage and widths are of the intervals that are bracketed: finite, and for the
parabolas within the grid. An exponent of which the report says that no power law fits counts as missed.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import optimum_rivals as rivals
from common import write_results
from one_peak import gap_p, peak_ends, slope_ends
from optimum_rivals import ALPHA, Intervals
from planted_optima import (
    Setting,
    Truth,
    cells_of,
    draw,
    exponent_settings,
    optimum_settings,
    profiles,
    truths,
)

from warmscale.analysis.inference.cell import Cell
from warmscale.analysis.inference.exponent import exponent
from warmscale.analysis.inference.optimum import optimum

ENOUGH = 0.05
"""Share of intervals that are bracketed from which on a coverage is judged."""
TARGET = 0.93
NOWHERE = (math.nan, math.nan)


def averaged(truth: Truth, cells: Sequence[Sequence[Cell]]) -> Intervals:
    """The report's own interval of an optimum."""
    found = [optimum(truth.levels, own, sign=1, alpha=ALPHA) for own in cells]
    return tuple(np.array([(own.low, own.high) if own.bracketed else NOWHERE for own in found]).T)


def averaged_slopes(setting: Setting, planted: Sequence[Truth], drawn: Sequence[np.ndarray]) -> Intervals:
    """The report's own interval of an exponent."""
    found = [exponent(setting.growth, profiles(planted, own), sign=1) for own in zip(*drawn, strict=True)]
    ends = [NOWHERE if own.refused else (own.low, own.high) if own.fits else (-9e9, -9e9) for own in found]
    return tuple(np.array(ends).T)


def one_peak(truth: Truth, cells: Sequence[Sequence[Cell]]) -> Intervals:
    """Of an optimum."""
    return tuple(np.array([peak_ends(truth.levels, gap_p(own), ALPHA) for own in cells]).T)


def one_peak_slopes(log_sizes: np.ndarray, planted: Sequence[Truth], drawn: Sequence[np.ndarray]) -> Intervals:
    """Of an exponent."""
    alone = -math.expm1(math.log1p(-ALPHA) / len(log_sizes))
    ends = []
    for own in zip(*drawn, strict=True):
        peaks = [peak_ends(levels, gap_p(cells), alone) for levels, cells in profiles(planted, own)]
        ends.append(slope_ends(log_sizes, peaks) if np.isfinite(peaks).all() else NOWHERE)
    return tuple(np.array(ends).T)


def optimum_rows(setting: Setting, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Every method on the same runs."""
    (truth,) = truths(setting)
    values, diverged = draw(setting, truth, count, rng)
    cells = [cells_of(*one) for one in zip(values, diverged, strict=True)]
    sane = values[:, 1:] if diverged.any() else values  # the rivals cannot use a level where runs diverged
    found = {
        "averaged": averaged(truth, cells),
        "one_peak": one_peak(truth, cells),
        "quadratic_delta": rivals.delta(truth, sane),
        "quadratic_bootstrap": rivals.bootstrap(truth, sane, rng),
        "oracle": rivals.oracle(truth, sane),
    }
    reference = float(np.median(found["oracle"][1] / found["oracle"][0]))
    return [row(setting, name, ends, truth.peak, ratio=True, reference=reference) for name, ends in found.items()]


def exponent_rows(setting: Setting, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The same for the exponent."""
    planted, log_sizes = truths(setting), np.log(setting.growth)
    drawn = [draw(setting, truth, count, rng)[0] for truth in planted]
    found = {
        "averaged": averaged_slopes(setting, planted, drawn),
        "one_peak": one_peak_slopes(log_sizes, planted, drawn),
        "quadratic_delta": rivals.delta_slopes(log_sizes, planted, drawn),
        "quadratic_bootstrap": rivals.bootstrap_slopes(log_sizes, planted, drawn, rng),
        "oracle": rivals.oracle_slopes(log_sizes, planted, drawn),
    }
    p, reference = float(setting.place), float(np.median(found["oracle"][1] - found["oracle"][0]))
    return [row(setting, name, ends, p, ratio=False, reference=reference) for name, ends in found.items()]


def row(
    setting: Setting, method: str, ends: Intervals, truth: float, *, ratio: bool, reference: float
) -> dict[str, Any]:
    """Coverage and width of the intervals that are bracketed."""
    low, high = ends
    bracketed = np.isfinite(low) & np.isfinite(high)
    count = int(bracketed.sum())
    held = (low[bracketed] <= truth * (1 + 1e-9)) & (truth * (1 - 1e-9) <= high[bracketed])
    coverage = held.mean() if count else math.nan
    widths = (high / low if ratio else high - low)[bracketed]
    meets = "too few" if count < ENOUGH * len(low) else "yes" if coverage >= TARGET else "no"
    grid = ("shared" if setting.shared else "own") if setting.growth else ""
    return {
        "of": "exponent" if setting.growth else "optimum", "curve": setting.curve, "place": setting.place,
        "levels": setting.levels, "sizes": max(len(setting.growth), 1), "grid": grid, "spread": setting.spread,
        "n": setting.n, "method": method, "simulations": len(low), "bracketed": f"{bracketed.mean():.3f}",
        "coverage": f"{coverage:.3f}" if count else "",
        "standard_error": f"{math.sqrt(max(coverage * (1 - coverage), 0.25 / count**2) / count):.4f}" if count else "",
        "median_width": f"{np.median(widths):.3g}" if count else "", "oracle_width": f"{reference:.3g}",
        "meets": meets if setting.n >= 5 and setting.spread != "heavy tails" else "",
    }  # fmt: skip


def evaluate(job: tuple[int, Setting, int]) -> list[dict[str, Any]]:
    """All rows of one setting, the same whatever else is run."""
    index, setting, count = job
    rng = np.random.default_rng([20_26, index])
    return (exponent_rows if setting.growth else optimum_rows)(setting, count, rng)


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per method: in how many of the settings that are judged the coverage holds, the worst, and the widths."""
    found = []
    for of, grid, method in dict.fromkeys((row["of"], row["grid"], row["method"]) for row in rows):
        own = [row for row in rows if (row["of"], row["grid"], row["method"]) == (of, grid, method)]
        judged = [row for row in own if row["meets"] in ("yes", "no")]
        worst = min(judged, key=lambda row: float(row["coverage"]))
        share = statistics.median(float(row["bracketed"]) for row in own if row["n"] >= 5)
        relative = [_log_width(row, "median_width") / _log_width(row, "oracle_width") for row in judged]
        found.append({
            "of": f"{of}, {grid} grid{'s' if grid == 'own' else ''}" if grid else of,
            "method": method, "settings": len(judged), "meet": sum(r["meets"] == "yes" for r in judged),
            "worst_coverage": worst["coverage"], "worst_at": f"{worst['curve']}; {worst['place']}; n {worst['n']}",
            "bracketed": f"{share:.2f}",
            "median_width": f"{statistics.median(float(row['median_width']) for row in judged):.3g}",
            "relative_width": f"{statistics.median(relative):.1f}",
        })  # fmt: skip
    return found


def _log_width(row: dict[str, Any], column: str) -> float:
    """Widths of optima are ratios: their logs compare."""
    return math.log(float(row[column])) if row["of"] == "optimum" else float(row[column])


def main() -> None:
    """Simulate, and write calibration_optimum.csv and calibration_optimum_summary.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000)
    count = parser.parse_args().simulations
    jobs = [(index, setting, count) for index, setting in enumerate([*optimum_settings(), *exponent_settings()])]
    with multiprocessing.Pool(2) as pool:
        rows = [row for found in pool.imap(evaluate, jobs) for row in found]
    write_results("calibration_optimum", rows)
    write_results("calibration_optimum_summary", summary(rows))


if __name__ == "__main__":
    main()
