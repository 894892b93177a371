"""Verdicts on all claims of a study together, whatever was looked at before.

One-sided level alpha = 1 - confidence, for supporting and for refuting each its own family. Every claim may be looked
at max_looks times, each time at alpha / max_looks: Bonferroni, which holds also where the number of seeds was chosen
after a look at the data, as group-sequential boundaries do not. Over claims Holm (1979), whose proof needs no more than
that the p-values of each claim are valid at each of its looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .evidence import Evidence

Verdict = Literal["supported", "refuted", "inconclusive", "not_run"]
TARGET_POWER = 0.8
SMALLEST = 1e-300
"""Stands in for a p-value of 0, whose ratio to its adjusted one is not a number."""


@dataclass(frozen=True)
class Decision:
    """What is decided on one claim."""

    verdict: Verdict
    p_support_adjusted: float | None = None
    """For looks and for the other claims; None where the claim cannot be tested."""
    p_refute_adjusted: float | None = None
    decision_ci_low: float = math.nan
    """The interval that excludes the bound of the claim exactly if the verdict is reached; NaN where not run."""
    decision_ci_high: float = math.nan
    notes: tuple[str, ...] = ()


def decide(
    evidence: Sequence[Evidence | None],
    *,
    confidence: float = 0.95,
    familywise: str = "holm",
    max_looks: int = 1,
    looks: Sequence[int] | None = None,
    standing: Sequence[Verdict] | None = None,
) -> list[Decision]:
    """Verdicts on all claims of a study; None: not run.

    looks: how often each claim was looked at, this time included. With more than max_looks nothing new is decided:
    the verdict of the last look that was allowed stands (standing; inconclusive where it is not known).
    """
    spent = [look > max_looks for look in looks or [1] * len(evidence)]
    alpha = 1 - confidence
    tested = [one if one is not None and not over else None for one, over in zip(evidence, spent, strict=True)]
    supports = _adjusted([one and one.p_support for one in tested], alpha, familywise, max_looks)
    refutes = _adjusted([one and one.p_refute for one in tested], alpha, familywise, max_looks)
    stands = standing or ["inconclusive"] * len(evidence)
    return [
        _decision(one, support, refute, alpha, verdict if over else None)
        for one, support, refute, verdict, over in zip(evidence, supports, refutes, stands, spent, strict=True)
    ]


def seeds_needed(
    evidence: Sequence[Evidence | None],
    decisions: Sequence[Decision],
    *,
    confidence: float = 0.95,
    familywise: str = "holm",
    max_looks: int = 1,
    max_seeds: int = 16,
) -> list[int | None]:
    """Total runs a cell for 80 % power to support each claim where the truth is smallest_effect beyond its bound.

    The level is `level_of_a_look`. None: settled, not run, or the spread is unknown; max_seeds + 1: more than
    max_seeds.
    """
    level = level_of_a_look(len(evidence), confidence, familywise, max_looks)
    return [
        None if one is None or decision.verdict in ("supported", "refuted") else fewest_seeds(one, level, max_seeds)
        for one, decision in zip(evidence, decisions, strict=True)
    ]


def level_of_a_look(claims: int, confidence: float, familywise: str, max_looks: int) -> float:
    """What one look at one of so many claims is sure to have: Holm's procedure compares with this or more.

    Claims that are supported are counted as well: Holm frees their share only while their p-values count, and with
    new runs that of a claim whose looks are spent does not.
    """
    return (1 - confidence) / max_looks / (max(claims, 1) if familywise == "holm" else 1)


def fewest_seeds(evidence: Evidence, level: float, max_seeds: int, target: float = TARGET_POWER) -> int | None:
    """Smallest n of 2 .. max_seeds with the power aimed at, which rises with n; max_seeds + 1: none, None: unknown.

    Raises ArithmeticError where a power is known of max_seeds and not of fewer.
    """
    most = evidence.power(max_seeds, level)
    if math.isnan(most):
        return None
    if most < target:
        return max_seeds + 1
    low, high = 2, max_seeds
    while low < high:
        middle = (low + high) // 2
        found = evidence.power(middle, level)
        if math.isnan(found):
            raise ArithmeticError(f"the power with {middle} runs is no number, and with {max_seeds} it is {most:.3g}")
        if found >= target:
            high = middle
        else:
            low = middle + 1
    return low


def _decision(
    evidence: Evidence | None,
    support: tuple[float | None, float],
    refute: tuple[float | None, float],
    alpha: float,
    standing: Verdict | None,
) -> Decision:
    """Of one claim, from its adjusted p-values and the levels of its tests."""
    if evidence is None:
        return Decision("not_run")
    low, high = _decision_interval(evidence, support[1], refute[1])
    if standing:
        return Decision(standing, None, None, low, high, ("all looks are spent: the verdict of the last one stands",))
    verdict: Verdict = "inconclusive"
    notes: tuple[str, ...] = ()
    if support[0] is not None and support[0] <= alpha:
        verdict = "supported"
        if evidence.reversed_p is not None and evidence.reversed_p <= support[1]:
            verdict, notes = "inconclusive", ("not supported: a pair of neighbouring levels is established reversed",)
    elif refute[0] is not None and refute[0] <= alpha:
        verdict = "refuted"
    return Decision(verdict, support[0], refute[0], low, high, notes)


def _decision_interval(evidence: Evidence, support: float, refute: float) -> tuple[float, float]:
    """Each bound at the level of the test that it belongs to."""
    match evidence.supports_with:
        case "low":
            levels = support, refute
        case "high":
            levels = refute, support
        case "both":
            levels = support, support
        case "outside":
            levels = (refute * evidence.refute_share,) * 2
    return evidence.decision_low(levels[0]), evidence.decision_high(levels[1])


def _adjusted(
    p_values: Sequence[float | None], alpha: float, familywise: str, max_looks: int
) -> list[tuple[float | None, float]]:
    """Adjusted p-values, and the level with which each unadjusted one is compared; no p-value counts as 1."""
    number = len(p_values) if familywise == "holm" else 1
    known = np.array([1.0 if p is None else max(p, SMALLEST) for p in p_values])
    factors = max_looks * (_holm_factors(known) if familywise == "holm" else np.ones(len(known)))
    return [
        (None, alpha / (max_looks * number)) if p is None else (min(1.0, p * float(factor)), alpha / float(factor))
        for p, factor in zip(p_values, factors, strict=True)
    ]


def _holm_factors(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What Holm multiplies each p-value with, not cut off where the product is above 1.

    Not by statsmodels, whose multipletests cuts off, and collects garbage in every call: 35 ms.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    factors = np.empty(len(order))
    factors[order] = adjusted / p_values[order]
    return factors
