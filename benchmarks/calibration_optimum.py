"""Do intervals of the best warmup and of its exponent hold the planted truth?

Writes calibration_optimum.csv, a row a setting and method, and calibration_optimum_summary.csv.
Runs are drawn around planted curves and go through the code of the report (`unimodal`) and its rivals:
- quadratic_delta: a parabola in log(w + w1) by least squares over all runs, its vertex with the delta method;
- quadratic_bootstrap: the same vertex over seeds drawn anew within cells, percentiles;
- concave: as unimodal, and beside the peak no slope is steeper than the next one out (contrasts of three cells);
  nearly_concave: at most twice as steep. Both with growing spreads and 5 or 16 runs only;
- oracle: knows the curve but for its place and level, and all spreads: intervals by the likelihood ratio; for the
  exponent the width that their errors (Cramér and Rao's bound) leave.
Coverage and widths are of the intervals that are bracketed: finite, and for the quadratics within the grid.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import write_results
from scipy import stats

from warmscale.analysis.inference.cell import Cell
from warmscale.analysis.inference.exponent import exponent
from warmscale.analysis.inference.optimum import profile
from warmscale.analysis.inference.welch import contrast

SD, DEPTH, LOG2_SHIFT = 0.12, 0.5, 1.25
"""Spread of runs at the peak, and the fall a doubling squared, in points; w + 1.25 is the scale of most curves."""
DRAWS = 400
"""Of the bootstrap."""
ENOUGH = 100
"""Bracketed intervals from which on a coverage is judged."""
ALPHA, TARGET = 0.05, 0.93

CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "parabola": lambda d: -DEPTH * d**2,
    "steep left": lambda d: np.where(d < 0, -2.0, -0.3) * DEPTH * d**2,
    "steep right": lambda d: np.where(d < 0, -0.3, -2.0) * DEPTH * d**2,
    "tent": lambda d: -DEPTH * np.abs(d),
    "tent, steep left": lambda d: np.where(d < 0, 1.5 * d, -0.4 * d) * DEPTH,
    "plateau": lambda d: -1.6 * DEPTH * np.maximum(np.abs(d) - 0.8, 0) - 1e-3 * d**2,
    "half plateau": lambda d: np.where(d < 0, 1e-3 * d, -DEPTH * d),
    "cliff": lambda d: -4 * DEPTH / (1 + np.exp(5 * (d + 1.5))) - 0.4 * DEPTH * np.maximum(d, 0) ** 1.5 + 1e-3 * d,
    "bump": lambda d: 3 * DEPTH * np.exp(-(d**2)),
    "narrow bump": lambda d: 3 * DEPTH * np.exp(-4 * d**2),
    "cusp": lambda d: -DEPTH * np.sqrt(np.abs(d)),
}
"""Percentage points below the peak, by the distance from it in doublings of warmup + 1.25."""
GRIDS = {5: (0, 2.5, 5, 10, 20), 7: (0, 1.25, 2.5, 5, 10, 20, 40), 9: (0, 1.25, 2.5, 3.5, 5, 7, 10, 20, 40)}
PLACES = {"at a level": 5.0, "just above a level": 6.0, "between levels": 6.7, "near the lower edge": 1.8,
          "near the upper edge": 14.0, "beside the upper edge": 27.0}  # fmt: skip
UNLIKE = ("steep left, then steep right", "steep right, then steep left")
"""Curves that take turns over the sizes."""
GROWTHS = {"0": (1, 4), "0.5": (1, 16), "1": (1, 2, 4, 8), "2": (1, 4, 16)}
"""Sizes, as multiples of the smallest, by planted exponent."""
SPREADS = ("equal", "growing", "heavy tails", "divergence at 0")


@dataclass(frozen=True)
class Setting:
    """One row of planted truth."""

    curve: str
    place: str
    """Of the optimum in the grid; or the exponent."""
    levels: int
    spread: str
    n: int
    """Runs a cell."""
    growth: tuple[float, ...] = ()
    """Sizes as multiples of the smallest; empty: one optimum, no exponent."""


def settings() -> Iterator[Setting]:
    """All curves at all n in the plainest case, and what else changes one by one."""
    some = ("parabola", "steep left", "tent", "half plateau")
    for curve, n in itertools.product(CURVES, (2, 3, 5, 8, 16)):
        yield Setting(curve, "between levels", 7, "growing", n)
    for curve, levels, n in itertools.product(some, (5, 9), (5, 16)):
        yield Setting(curve, "at a level", levels, "growing", n)
    for curve, place, n in itertools.product(some, PLACES, (5, 16)):
        if place != "between levels":
            yield Setting(curve, place, 7, "growing", n)
    for curve, n in itertools.product(("plateau", "cliff", "bump", "narrow bump", "cusp"), (5, 16)):
        yield Setting(curve, "just above a level", 7, "growing", n)
    for curve, spread, n in itertools.product(some, SPREADS, (2, 3, 5, 8, 16)):
        if spread != "growing":
            yield Setting(curve, "between levels", 7, spread, n)
    for curve, p, n in itertools.product((*some[:3], *UNLIKE), GROWTHS, (3, 5, 16)):
        yield Setting(curve, p, 9, "growing", n, GROWTHS[p])
    for curve, p in itertools.product((*some[:3], *UNLIKE), GROWTHS):
        yield Setting(curve, p, 12, "growing", 16, GROWTHS[p])


@dataclass(frozen=True)
class Truth:
    """What is planted at one size."""

    levels: np.ndarray
    """(levels,) epochs."""
    shift: float
    """Epochs; the curve is one of log2(w + shift)."""
    peak: float
    """Epochs."""
    curve: Callable[[np.ndarray], np.ndarray]
    sd: np.ndarray
    """(levels,) points."""

    def means(self, peaks: np.ndarray) -> np.ndarray:
        """(peaks, levels) the curve with its peak elsewhere."""
        return self.curve(np.log2((self.levels + self.shift) / (np.asarray(peaks)[:, None] + self.shift)))


def truths(setting: Setting) -> list[Truth]:
    """One a size; grids grow with the optimum by powers of two, as a user would choose them."""
    found, shapes = [], setting.curve.split(", then ")
    for index, growth in enumerate(setting.growth or (1,)):
        factor = growth ** float(setting.place) if setting.growth else 1.0
        scale = 2.0 ** math.floor(math.log2(factor))
        grid = size_grid(setting.levels) if setting.growth else GRIDS[setting.levels]
        levels, shift = np.array(grid) * scale, LOG2_SHIFT * scale
        peak = 5.3 * factor if setting.growth else PLACES[setting.place]
        distance = np.abs(np.log2((levels + shift) / (peak + shift)))
        sd = SD * (1 + (0.5 * distance if setting.spread == "growing" else 0 * distance))
        found.append(Truth(levels, shift, peak, CURVES[shapes[index % len(shapes)]], sd))
    return found


def size_grid(count: int) -> list[float]:
    """No warmup, and steps of 2 (9 levels) or of its root (12) around 5 epochs."""
    return [0.0, *(0.625 * 2**step if count == 9 else 0.9 * 2 ** (step / 2) for step in range(count - 1))]


def draw(setting: Setting, truth: Truth, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Values (count, levels, n), and how many runs of level 0 diverged (count,): the last of them."""
    shape = (count, len(truth.levels), setting.n)
    heavy = setting.spread == "heavy tails"
    noise = rng.standard_t(3, shape) / math.sqrt(3) if heavy else rng.standard_normal(shape)
    chance = 0.7 if setting.spread == "divergence at 0" else 0.0
    return 75 + truth.means([truth.peak])[0][:, None] + truth.sd[:, None] * noise, rng.binomial(
        setting.n, chance, count
    )


def cells_of(values: np.ndarray, diverged: int) -> list[Cell]:
    """Cells of one simulation (levels, n)."""
    converged = values[0, : len(values[0]) - diverged]
    means, sds = values.mean(axis=1), values.std(axis=1, ddof=1)
    others = [
        Cell("", len(row), float(mean), float(sd), tuple(row))
        for row, mean, sd in zip(values[1:], means[1:], sds[1:], strict=True)
    ]
    return [Cell.of("", converged, diverged), *others]


Intervals = tuple[np.ndarray, np.ndarray]
"""(simulations,) lower and upper ends; NaN where not bracketed."""


def unimodal(truth: Truth, cells: Sequence[Sequence[Cell]]) -> Intervals:
    """The report's own."""
    ends = []
    for own in cells:
        curve = profile(truth.levels, own, sign=1)
        interval = curve.interval(ALPHA)
        ends.append(interval if interval and not any(curve.open_sides(ALPHA)) else (math.nan, math.nan))
    return tuple(np.array(ends).T)


def concave(truth: Truth, cells: Sequence[Sequence[Cell]], ratio: float, parts: int = 6) -> Intervals:
    """Unimodal, and beside the peak no slope in log(w + w1) is more than `ratio` times the next one out."""
    return tuple(np.array([_concave(truth.levels, own, ratio, parts) for own in cells]).T)


def _concave(levels: np.ndarray, cells: Sequence[Cell], ratio: float, parts: int) -> tuple[float, float]:
    x, curve, last = np.log(levels + levels[1]), profile(levels, cells, sign=1), len(levels) - 1
    held = []
    for gap in range(last):
        pairs = [*curve.left[gap], *curve.right[gap + 1]]
        for part in range(parts):
            start, end = (x[gap] + (x[gap + 1] - x[gap]) * (part + side) / parts for side in (0, 1))
            middle, p_values = (start + end) / 2, list(pairs)
            if gap + 2 <= last:
                steep = ratio * (x[gap + 1] - middle) / (x[gap + 2] - x[gap + 1])
                p_values.append(contrast(cells[gap : gap + 3], (1, -1 - steep, steep)).p_above(0))
            if gap:
                steep = ratio * (middle - x[gap]) / (x[gap] - x[gap - 1])
                p_values.append(contrast(cells[gap - 1 : gap + 2], (steep, -1 - steep, 1)).p_above(0))
            if len(p_values) * min(p_values) > ALPHA:
                held.append((gap, start, end))
    if not held or held[0][0] < 1 or held[-1][0] > last - 2:
        return math.nan, math.nan
    return math.exp(held[0][1]) - levels[1], math.exp(held[-1][2]) - levels[1]


def design(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale log(w + w1), and the matrix (3, levels) from means to the coefficients of a parabola."""
    x = np.log(levels + levels[levels > 0][0])
    return x, np.linalg.pinv(np.vander(x, 3, increasing=True))


def quadratic_delta(truth: Truth, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Vertex and its standard error in the scale (NaN where there is no peak), and degrees of freedom."""
    _, levels, n = values.shape
    x, matrix = design(truth.levels[-levels:])
    means = values.mean(axis=2)
    _, b, c = matrix @ means.T
    fitted = (np.vander(x, 3, increasing=True) @ (matrix @ means.T)).T
    dof = levels * n - 3
    variance = ((values - fitted[:, :, None]) ** 2).sum(axis=(1, 2)) / dof
    slope = np.array([0 * b, -1 / (2 * c), b / (2 * c**2)])  # (3, simulations)
    error = np.sqrt(variance * np.einsum("is,ij,js->s", slope, matrix @ matrix.T / n, slope))
    vertex = np.where(c < 0, -b / (2 * c), np.nan)
    return vertex, error, dof


def bootstrap(truth: Truth, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vertices in the scale (simulations, draws); NaN where there is no peak."""
    _, levels, n = values.shape
    _, matrix = design(truth.levels[-levels:])
    weights = rng.multinomial(n, np.full(n, 1 / n), (levels, DRAWS)) / n
    means = np.einsum("sln,ldn->sdl", values, weights, optimize=True)
    b, c = means @ matrix[1], means @ matrix[2]
    return np.where(c < 0, -b / (2 * c), np.nan)


def percentiles(drawn: np.ndarray) -> Intervals:
    """Middle 95 % of each row; draws without a value stand on both sides."""
    low = np.quantile(np.where(np.isnan(drawn), -np.inf, drawn), ALPHA / 2, axis=1, method="lower")
    high = np.quantile(np.where(np.isnan(drawn), np.inf, drawn), 1 - ALPHA / 2, axis=1, method="higher")
    return low, high


def within_grid(truth: Truth, low: np.ndarray, high: np.ndarray) -> Intervals:
    """From the scale to epochs; NaN where the interval is open or leaves the grid."""
    shift = truth.levels[truth.levels > 0][0]
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = np.exp(low) - shift, np.exp(high) - shift
        inside = (low > 0) & (high < truth.levels[-1])
    return np.where(inside, low, np.nan), np.where(inside, high, np.nan)


def oracle(truth: Truth, values: np.ndarray) -> Intervals:
    """Likelihood ratio over the place of the known curve, its level unknown, its spreads known."""
    used = values.shape[1]
    peaks = np.geomspace(truth.peak / 8, truth.peak * 8, 2001)
    shapes, weights = truth.means(peaks)[:, -used:], values.shape[2] / truth.sd[-used:] ** 2
    means = values.mean(axis=2)
    shapes = shapes - (shapes @ weights / weights.sum())[:, None]
    means = means - (means @ weights / weights.sum())[:, None]
    misfit = (shapes**2 @ weights)[None, :] - 2 * (means * weights) @ shapes.T  # (simulations, peaks), up to a constant
    held = misfit - misfit.min(axis=1, keepdims=True) <= stats.chi2.ppf(1 - ALPHA, 1)
    first, last = held.argmax(axis=1), len(peaks) - 1 - held[:, ::-1].argmax(axis=1)
    half_a_step = math.sqrt(peaks[1] / peaks[0])
    return peaks[first] / half_a_step, peaks[last] * half_a_step


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
    meets = "too few" if count < ENOUGH else "yes" if coverage >= TARGET else "no"
    return {
        "of": "exponent" if setting.growth else "optimum", "curve": setting.curve, "place": setting.place,
        "levels": setting.levels, "sizes": max(len(setting.growth), 1), "spread": setting.spread, "n": setting.n,
        "method": method, "simulations": len(low), "bracketed": f"{bracketed.mean():.3f}",
        "coverage": f"{coverage:.3f}" if count else "",
        "standard_error": f"{math.sqrt(max(coverage * (1 - coverage), 0.25 / count**2) / count):.4f}" if count else "",
        "median_width": f"{np.median(widths):.3g}" if count else "", "oracle_width": f"{reference:.3g}",
        "meets": meets if setting.n >= 5 and setting.spread != "heavy tails" else "",
    }  # fmt: skip


def optimum_rows(setting: Setting, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Every method on the same runs."""
    (truth,) = truths(setting)
    values, diverged = draw(setting, truth, count, rng)
    cells = [cells_of(*one) for one in zip(values, diverged, strict=True)]
    sane = values[:, 1:] if diverged.any() else values  # the rivals cannot use a level where runs diverged
    vertex, error, dof = quadratic_delta(truth, sane)
    half = stats.t.ppf(1 - ALPHA / 2, dof) * error
    found = {
        "unimodal": unimodal(truth, cells),
        "quadratic_delta": within_grid(truth, vertex - half, vertex + half),
        "quadratic_bootstrap": within_grid(truth, *percentiles(bootstrap(truth, sane, rng))),
        "oracle": oracle(truth, sane),
    }
    if setting.n in (5, 16) and setting.spread == "growing":
        found |= {"concave": concave(truth, cells, 1), "nearly_concave": concave(truth, cells, 2)}
    reference = float(np.median(found["oracle"][1] / found["oracle"][0]))
    return [row(setting, name, ends, truth.peak, ratio=True, reference=reference) for name, ends in found.items()]


def slope_of(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Least-squares slopes; y and weights: (..., sizes)."""
    x = x - (weights * x).sum(axis=-1, keepdims=True) / weights.sum(axis=-1, keepdims=True)
    return (weights * x * y).sum(axis=-1) / (weights * x**2).sum(axis=-1)


def oracle_slope_width(setting: Setting, log_sizes: np.ndarray) -> float:
    """Width of a 95 % interval for the exponent from the least errors that unbiased optima can have."""
    variances = []
    for truth in truths(setting):
        step = 1e-4
        around = truth.means(truth.peak * np.exp([-step, step]))
        gradient, weights = (around[1] - around[0]) / (2 * step), setting.n / truth.sd**2
        gradient = gradient - gradient @ weights / weights.sum()
        variances.append(1 / (gradient**2 @ weights))
    weights = 1 / np.array(variances)
    spread = weights @ (log_sizes - weights @ log_sizes / weights.sum()) ** 2
    return 2 * stats.norm.ppf(1 - ALPHA / 2) / math.sqrt(spread)


def exponent_rows(setting: Setting, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The same for the exponent."""
    planted, log_sizes = truths(setting), np.log(setting.growth)
    drawn = [draw(setting, truth, count, rng)[0] for truth in planted]
    ends, p = [], float(setting.place)
    for values in zip(*drawn, strict=True):
        profiles = [(truth.levels, cells_of(own, 0)) for truth, own in zip(planted, values, strict=True)]
        found = exponent(setting.growth, profiles, sign=1)
        ends.append((math.nan, math.nan) if found.refused else (found.low, found.high) if found.fits else (-9e9, -9e9))
    parabolas = [quadratic_delta(truth, values) for truth, values in zip(planted, drawn, strict=True)]
    shifts = np.array([truth.levels[1] for truth in planted])
    with np.errstate(invalid="ignore", over="ignore"):
        vertex = np.stack([own[0] for own in parabolas], axis=-1)
        level = np.exp(vertex) - shifts
        level = np.where(level > 0, level, np.nan)
        error = np.stack([own[1] for own in parabolas], axis=-1) * np.exp(vertex) / level
        estimate = slope_of(log_sizes, np.log(level), error**-2)
        centred = log_sizes - (error**-2 * log_sizes).sum(axis=-1, keepdims=True) / (error**-2).sum(
            axis=-1, keepdims=True
        )
        half = stats.t.ppf(1 - ALPHA / 2, parabolas[0][2]) / np.sqrt((error**-2 * centred**2).sum(axis=-1))
        # (simulations, draws, sizes)
        again = np.stack([bootstrap(*own, rng) for own in zip(planted, drawn, strict=True)], axis=-1)
        again = np.exp(again) - shifts
        slopes = slope_of(log_sizes, np.log(np.where(again > 0, again, np.nan)), np.ones_like(again))
    methods = {
        "unimodal": tuple(np.array(ends).T),
        "quadratic_delta": (estimate - half, estimate + half),
        "quadratic_bootstrap": percentiles(slopes),
    }
    reference = oracle_slope_width(setting, log_sizes)
    return [row(setting, name, found, p, ratio=False, reference=reference) for name, found in methods.items()]


def evaluate(job: tuple[int, Setting, int]) -> list[dict[str, Any]]:
    """All rows of one setting, the same whatever else is run."""
    index, setting, count = job
    rng = np.random.default_rng([20_26, index])
    return (exponent_rows if setting.growth else optimum_rows)(setting, count, rng)


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per method: in how many of the settings that are judged the coverage holds, the worst, and the widths."""
    found = []
    for of, method in dict.fromkeys((row["of"], row["method"]) for row in rows):
        own = [row for row in rows if (row["of"], row["method"]) == (of, method)]
        judged = [row for row in own if row["meets"] in ("yes", "no")]
        worst = min(judged, key=lambda row: float(row["coverage"]))
        share = statistics.median(float(row["bracketed"]) for row in own if row["n"] >= 5)
        relative = [_log_width(row, "median_width") / _log_width(row, "oracle_width") for row in judged]
        found.append({
            "of": of, "method": method, "settings": len(judged),
            "meet": sum(r["meets"] == "yes" for r in judged),
            "worst_coverage": worst["coverage"], "worst_at": f"{worst['curve']}; {worst['place']}; n {worst['n']}",
            "bracketed": f"{share:.2f}", "relative_width": f"{statistics.median(relative):.1f}",
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
    jobs = [(index, setting, count) for index, setting in enumerate(settings())]
    with multiprocessing.Pool(2) as pool:
        rows = [row for found in pool.imap(evaluate, jobs) for row in found]
    write_results("calibration_optimum", rows)
    write_results("calibration_optimum_summary", summary(rows))


if __name__ == "__main__":
    main()
