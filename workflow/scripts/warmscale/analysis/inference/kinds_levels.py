"""Claims on the levels of a factor: the best, the worst, a trend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np

from .cell import Cell, shares_diverged
from .compare import UNKNOWN, Comparison, Share, compare, matched
from .evidence import Bound, Evidence, Power, counts, one_sided
from .power import SMALLEST_EFFECT, contrasts, in_sds
from .rank_power import all_won
from .ranks import can_rank, has_diverged, scores, wins
from .welch import Contrast, contrast, difference

Level = Cell | Sequence[Cell]
"""The cells of a level: its value is the plain mean of theirs."""
Sides = Sequence[tuple[Cell, ...]]
Pairs = Sequence[tuple[int, int]]
"""Places of the levels that are compared: the first is to be the larger."""


def best(
    level: Level,
    others: Sequence[Level],
    *,
    sign: int = 1,
    spread: float = math.nan,
    smallest_effect: float = SMALLEST_EFFECT,
) -> Evidence:
    """The level is better than every other (intersection-union test); refuted where some other is better."""
    pairs = [(0, place) for place in range(1, len(others) + 1)]
    return _least(
        _sides([level, *others]), pairs, sign, sign, spread, smallest_effect, "difference to the strongest rival"
    )


def worst(
    level: Level,
    others: Sequence[Level],
    *,
    sign: int = 1,
    spread: float = math.nan,
    smallest_effect: float = SMALLEST_EFFECT,
) -> Evidence:
    """The level is worse than every other; refuted where some other is worse."""
    pairs = [(0, place) for place in range(1, len(others) + 1)]
    return _least(
        _sides([level, *others]), pairs, -sign, sign, spread, smallest_effect, "difference to the weakest rival"
    )


def trend(
    levels: Sequence[Level],
    *,
    increasing: bool,
    strict: bool = False,
    sign: int = 1,
    spread: float = math.nan,
    smallest_effect: float = SMALLEST_EFFECT,
) -> Evidence:
    """The number itself rises (or falls) along the levels, which are in order.

    The contrast is linear in rank and scaled to the change from the lowest level to the highest. strict: every
    neighbouring pair must rise. sign places diverged runs only.
    """
    direction, sides = 1 if increasing else -1, _sides(levels)
    pairs = [(place + 1, place) for place in range(len(sides) - 1)]
    if strict:
        return _least(sides, pairs, direction, sign, spread, smallest_effect, "smallest change between neighbours")
    cells = _all(sides)
    ranked, row = has_diverged(cells), _row(sides, rank_contrast(len(sides)))
    change = contrast(cells, row, spread)
    chance = f"P({'increasing' if increasing else 'decreasing'}), mean over pairs of levels,"
    tested = one_sided(_concordance(sides, direction, sign), 0.5, 1) if ranked else one_sided(change, 0.0, direction)
    return Evidence(
        estimand=chance.rstrip(",") if ranked else "change from the lowest to the highest level",
        **tested,
        **counts(cells, spread, f"{chance} against 1/2"),
        power=_power_of_trend(sides, direction * sign, in_sds(smallest_effect, spread), ranked),
        reversed_p=_reversed_p(_compared(sides, pairs, sign, spread), direction),
        converged=change if ranked else None,
    )


def rank_contrast(levels: int) -> tuple[float, ...]:
    """Coefficients linear in rank whose sum over equally spaced means is the change from the first to the last."""
    centred = np.arange(levels) - (levels - 1) / 2
    return tuple(float(c) for c in centred * (levels - 1) / (centred @ centred))


def _sides(levels: Sequence[Level]) -> Sides:
    return [(level,) if isinstance(level, Cell) else tuple(level) for level in levels]


def _all(sides: Sides) -> list[Cell]:
    return [cell for side in sides for cell in side]


def _places(sides: Sides) -> list[list[int]]:
    """Places of the cells of each level among all cells."""
    ends = np.cumsum([0, *(len(side) for side in sides)])
    return [list(range(start, end)) for start, end in pairwise(ends)]


def _row(sides: Sides, coefficients: Sequence[float]) -> tuple[float, ...]:
    """Coefficients of all cells, from those of the levels."""
    return tuple(c / len(side) for side, c in zip(sides, coefficients, strict=True) for _ in side)


def _least(
    sides: Sides, pairs: Pairs, direction: int, sign: int, spread: float, smallest_effect: float, estimand: str
) -> Evidence:
    """Every pair differs in the direction: an Evidence on the one that does so least.

    Its interval is that of the least of the differences: from below the least bound at the level itself, from above
    the least at the level divided by the pairs (as with Hsu's comparisons with the best, 1984).
    """
    found, cells = _compared(sides, pairs, sign, spread), _all(sides)
    beyond = [_p(one, direction) for one in found]
    opposite = [p for one in found if (p := _p(one, -direction)) is not None]
    ranked = any(has_diverged([*sides[a], *sides[b]]) for a, b in pairs)
    return Evidence(
        estimand=estimand,
        estimate=direction * min(direction * one.estimate for one in found),
        lower=_least_bound([one.lower for one in found], direction, corrected=direction < 0),
        upper=_least_bound([one.upper for one in found], direction, corrected=direction > 0),
        p_support=None if None in beyond else max(p for p in beyond if p is not None),
        p_refute=min(1.0, len(found) * min(opposite)) if opposite else None,
        decision_low=_least_bound([one.decision_low for one in found], direction, corrected=direction < 0),
        decision_high=_least_bound([one.decision_high for one in found], direction, corrected=direction > 0),
        supports_with="low" if direction > 0 else "high",
        **counts(cells, spread, "median of the differences, P(a better than b) against 1/2, for cells with one"),
        power=_power_of_all(sides, pairs, direction * sign, in_sds(smallest_effect, spread)),
        converged=_least_converged(sides, pairs, direction, spread) if ranked else None,
    )


def _least_bound(bounds: Sequence[Bound], direction: int, corrected: bool) -> Bound:
    """The least of the bounds in the direction; corrected: each at the level divided by their number."""
    share = 1 / len(bounds) if corrected else 1.0
    return lambda alpha: direction * min(direction * bound(share * alpha) for bound in bounds)


def _compared(sides: Sides, pairs: Pairs, sign: int, spread: float) -> list[Comparison]:
    return [compare(sides[a], sides[b], sign=sign, spread=spread) for a, b in pairs]


def _p(found: Comparison, direction: int) -> float | None:
    return found.p_above(0.0) if direction > 0 else found.p_below(0.0)


def _reversed_p(found: Sequence[Comparison], direction: int) -> float | None:
    """Smallest p-value for a difference against the direction, corrected for their number (Bonferroni)."""
    known = [p for one in found if (p := _p(one, -direction)) is not None]
    return min(1.0, len(found) * min(known)) if known else None


def _concordance(sides: Sides, direction: int, sign: int) -> Comparison:
    """Chance that the run of the higher level is the larger, mean over pairs of levels, of one run drawn from each."""
    cells = _all(sides)
    if not can_rank(cells):
        return UNKNOWN
    pairs = [pair for low, high in combinations(sides, 2) for pair in matched(low, high)]
    share = float(np.mean([wins(scores(high, sign), scores(low, sign)) for low, high in pairs]))
    return Share(share if direction * sign > 0 else 1 - share, min(cell.runs for cell in cells))


def _least_converged(sides: Sides, pairs: Pairs, direction: int, spread: float) -> Contrast:
    """The least difference among runs that converged."""
    known = [(a, b) for a, b in pairs if all(cell.n for cell in (*sides[a], *sides[b]))]
    found = [difference(sides[a], sides[b], spread) for a, b in known]
    return min(found, key=lambda one: direction * one.estimate) if found else UNKNOWN


def _power_of_trend(sides: Sides, better: int, effect: float, ranked: bool) -> Power:
    """Power where the levels are equally spaced; better: 1 where the higher levels are to be the better ones."""
    number = len(sides)
    if not ranked:
        return lambda n, alpha: contrasts((_row(sides, rank_contrast(number)),), effect, n, alpha)
    shifts = [better * effect * place / (number - 1) for place, side in enumerate(sides) for _ in side]
    pairs = [(high, low) if better > 0 else (low, high) for low, high in combinations(range(number), 2)]
    won = [pair for a, b in pairs for pair in _matched_places(sides, a, b)]
    return lambda n, alpha: all_won(shifts, shares_diverged(_all(sides)), [won], n, alpha)


def _power_of_all(sides: Sides, pairs: Pairs, better: int, effect: float) -> Power:
    """Power where every pair differs by `effect` standard deviations; better: 1 where the first is to be the better.

    Tests by ranks and by Welch are taken as independent, which understates it.
    """
    ranks = [(a, b) for a, b in pairs if has_diverged([*sides[a], *sides[b]])]
    rows = tuple(
        _row(sides, [float((place == a) - (place == b)) for place in range(len(sides))])
        for a, b in pairs
        if (a, b) not in ranks
    )
    shifts = [0.0] * len(sides)
    for a, b in pairs:
        shifts[a] = shifts[b] + effect
    of_cells = [better * shift for shift, side in zip(shifts, sides, strict=True) for _ in side]
    won = [_matched_places(sides, *((a, b) if better > 0 else (b, a))) for a, b in ranks]

    def power(n: int, alpha: float) -> float:
        by_welch = contrasts(rows, effect, n, alpha) if rows else 1.0
        by_ranks = all_won(of_cells, shares_diverged(_all(sides)), won, n, alpha) if won else 1.0
        return by_welch * by_ranks

    return power


def _matched_places(sides: Sides, a: int, b: int) -> list[tuple[int, int]]:
    """Places of the cells of two levels that are compared with each other."""
    places = _places(sides)
    return list(matched(places[a], places[b]))
