"""Claims on two sides, or on one side and a number; a side is the plain mean of its cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .cell import Cell, shares_diverged
from .compare import UNKNOWN, Comparison, Median, Share, compare, matched
from .evidence import Evidence, Power, counts, one_sided
from .power import SMALLEST_EFFECT, Matrix, contrasts, in_sds, within
from .rank_power import all_above, all_near, all_won
from .ranks import can_rank, has_diverged, scores, wins
from .welch import contrast, difference


def better(
    a: Sequence[Cell],
    b: Sequence[Cell],
    *,
    sign: int = 1,
    margin: float = 0.0,
    spread: float = math.nan,
    smallest_effect: float = SMALLEST_EFFECT,
) -> Evidence:
    """a is better than b by more than the margin; sign: 1 where larger is better, else -1."""
    cells, ranked = [*a, *b], has_diverged([*a, *b])
    found, bound, direction = difference(a, b, spread), sign * margin, sign
    if ranked:
        found, bound, direction = _chance_to_win(a, b, sign, margin), 0.5, 1
    by = f" by {margin:g}" if margin else ""
    return Evidence(
        estimand=f"P(a better than b{by})" if ranked else "difference a - b",
        **one_sided(found, bound, direction),
        **counts(cells, spread, f"P(a better than b{by}) against 1/2"),
        power=_power_better(a, b, in_sds(smallest_effect, spread), ranked),
        converged=difference(a, b, spread) if ranked else None,
    )


def equivalent(
    a: Sequence[Cell],
    b: Sequence[Cell],
    *,
    margin: float,
    sign: int = 1,
    spread: float = math.nan,
    smallest_effect: float = SMALLEST_EFFECT,
) -> Evidence:
    """a and b differ by less than the margin (two one-sided tests, Schuirmann 1987); sign places diverged runs only."""
    cells, ranked = [*a, *b], has_diverged([*a, *b])
    matrix = _sides(len(a), len(b))
    offset, width = in_sds(max(0.0, margin - smallest_effect), spread), in_sds(margin, spread)
    diverged, pairs = shares_diverged(cells), _places(a, b)

    def power(n: int, alpha: float) -> float:
        if not ranked:
            return within(matrix, offset, width, n, alpha)
        return all_near([offset] * len(a) + [0.0] * len(b), diverged, pairs, width, n, alpha)

    return Evidence(
        estimand="median of the differences a - b" if ranked else "difference a - b",
        **between(compare(a, b, sign=sign, spread=spread), margin),
        **counts(cells, spread, "median of the differences, P(a + margin better than b) and the reverse against 1/2"),
        power=power,
        converged=difference(a, b, spread) if ranked else None,
    )


def above(
    cells: Sequence[Cell],
    value: float,
    *,
    sign: int = 1,
    spread: float = math.nan,
    smallest_effect: float = SMALLEST_EFFECT,
) -> Evidence:
    """The mean of the cells is above the value; sign places diverged runs only."""
    return _beside(cells, value, 1, sign, spread, smallest_effect)


def below(
    cells: Sequence[Cell],
    value: float,
    *,
    sign: int = 1,
    spread: float = math.nan,
    smallest_effect: float = SMALLEST_EFFECT,
) -> Evidence:
    """The mean of the cells is below the value; sign places diverged runs only."""
    return _beside(cells, value, -1, sign, spread, smallest_effect)


def between(found: Comparison, margin: float) -> dict:
    """Fields of an Evidence that the true value is within the margin of 0; refuted on the side of the estimate."""
    low, high = found.p_above(-margin), found.p_below(margin)
    refute, share = _beyond(found, margin)
    return dict(
        estimate=found.estimate,
        lower=found.lower,
        upper=found.upper,
        p_support=None if low is None or high is None else max(low, high),
        p_refute=refute,
        refute_share=share,
        decision_low=found.decision_low,
        decision_high=found.decision_high,
        supports_with="both" if abs(found.estimate) < margin else "outside",
    )


def _beyond(found: Comparison, margin: float) -> tuple[float | None, float]:
    """p-value for a true value beyond the margin on either side, and the part of it that the nearer side has."""
    test, side = (found.p_above, 1) if found.estimate > 0 else (found.p_below, -1)
    near, far = test(side * margin), test(-side * margin)
    if near is None or far is None:
        return None, 1.0
    if isinstance(found, Median):  # ranks have no distribution at the margin: both sides at half the level
        far = near
    return min(1.0, near + far), near / (near + far)


def _beside(
    cells: Sequence[Cell], value: float, direction: int, sign: int, spread: float, smallest_effect: float
) -> Evidence:
    """The mean of the cells is above (direction 1) or below (-1) the value."""
    ranked = has_diverged(cells)
    matrix = _sides(len(cells), 0)
    mean = contrast(cells, matrix[0], spread)
    side = "above" if direction > 0 else "below"
    diverged = shares_diverged(cells)
    effect = in_sds(smallest_effect, spread)

    def power(n: int, alpha: float) -> float:
        if not ranked:
            return contrasts(matrix, effect, n, alpha)
        if direction != sign:  # a diverged run is on the side of the claim: the power is at least that without
            return all_above([effect] * len(cells), [0.0] * len(cells), n, alpha)
        return all_above([effect] * len(cells), diverged, n, alpha)

    if ranked:
        chance = _chance_beside(cells, value, direction, sign)
        return Evidence(
            estimand=f"P(a run is {side} {value:g})",
            **one_sided(chance, 0.5, 1),
            **counts(cells, spread, f"P(a run is {side} {value:g}) against 1/2"),
            power=power,
            converged=mean,
        )
    return Evidence(estimand="mean", **one_sided(mean, value, direction), **counts(cells, spread), power=power)


def _chance_to_win(a: Sequence[Cell], b: Sequence[Cell], sign: int, margin: float) -> Comparison:
    """P(a better than b by more than the margin), on average of the matched cells."""
    cells = [*a, *b]
    if not can_rank(cells):
        return UNKNOWN
    share = np.mean([wins(scores(left, sign), scores(right, sign), margin) for left, right in matched(a, b)])
    return Share(float(share), min(cell.runs for cell in cells))


def _chance_beside(cells: Sequence[Cell], value: float, direction: int, sign: int) -> Comparison:
    """P(a run is above or below the value), on average of the cells."""
    if not can_rank(cells):
        return UNKNOWN
    number = np.array([direction * value])
    share = np.mean([wins(direction * sign * scores(cell, sign), number) for cell in cells])
    return Share(float(share), min(cell.runs for cell in cells))


def _sides(a: int, b: int) -> Matrix:
    """The contrast of the mean of a cells with that of b cells."""
    return ((1 / a,) * a + (-1 / b,) * b if b else (1 / a,) * a,)


def _power_better(a: Sequence[Cell], b: Sequence[Cell], effect: float, ranked: bool) -> Power:
    """Power where a is better by `effect` standard deviations more than the margin."""
    if not ranked:
        return lambda n, alpha: contrasts(_sides(len(a), len(b)), effect, n, alpha)
    diverged, pairs = shares_diverged([*a, *b]), _places(a, b)
    shifts = [effect] * len(a) + [0.0] * len(b)
    return lambda n, alpha: all_won(shifts, diverged, [pairs], n, alpha)


def _places(a: Sequence[Cell], b: Sequence[Cell]) -> list[tuple[int, int]]:
    """Matched cells by their places among those of both sides."""
    return matched(range(len(a)), range(len(a), len(a) + len(b)))
