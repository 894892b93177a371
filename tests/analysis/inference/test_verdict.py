"""Verdicts of a study: Holm, looks, the decision interval, and how many seeds would settle a claim."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from warmscale.analysis.inference.cell import Cell, pooled_sd
from warmscale.analysis.inference.evidence import Evidence
from warmscale.analysis.inference.kinds import above, best, better, equivalent, paired_better, trend, worst
from warmscale.analysis.inference.verdict import decide, fewest_seeds, seeds_needed

p_values = st.lists(st.floats(1e-6, 1).map(lambda p: round(p, 6)), min_size=1, max_size=12)

rules = st.sampled_from(["holm", "none"])


def evidence(support: float | None, refute: float | None = 1.0) -> Evidence:
    nothing = lambda alpha: math.nan  # noqa: E731
    return Evidence("", 0.0, nothing, nothing, support, refute, nothing, nothing, "low", 5, 0)


def study(seed: int, n: int, sd: float = 0.2, diverged: int = 0) -> list[Evidence]:
    """Claims of every kind on the same cells, some true and some false; the bound of every one is 0, 0.5 or 75."""
    random = np.random.default_rng(seed)
    cells = [Cell.of(str(mean), random.normal(mean, sd, n)) for mean in (75.0, 75.4, 75.8, 76.2)]
    if diverged:
        cells[0] = Cell.of("diverged", cells[0].values[diverged:], diverged)
    spread = pooled_sd(cells)
    return [
        better([cells[3]], [cells[0]], spread=spread),
        better([cells[0]], [cells[3]], spread=spread),
        better([cells[0]], [cells[3]], sign=-1, spread=spread),
        equivalent([cells[1]], [cells[2]], margin=0.5, spread=spread),
        equivalent([cells[0]], [cells[3]], margin=0.5, spread=spread),
        best(cells[3], cells[:3], spread=spread),
        best(cells[0], cells[1:], sign=-1, spread=spread),
        worst(cells[3], cells[:3], spread=spread),
        trend(cells, increasing=True, spread=spread),
        trend(cells, increasing=False, spread=spread),
        trend(cells, increasing=True, strict=True, spread=spread),
        above([cells[2]], 75.0, spread=spread),
    ]


BOUNDS = [0, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 75.0]


@settings(max_examples=20)  # statsmodels collects garbage in every call
@given(p_values, st.integers(1, 3))
def test_p_values_are_adjusted_as_by_statsmodels(p_values, max_looks):
    found = [decision.p_support_adjusted for decision in decide([evidence(p) for p in p_values], max_looks=max_looks)]
    expected = multipletests(np.minimum(1, np.array(p_values) * max_looks), method="holm")[1]
    assert found == pytest.approx(np.minimum(1, expected))


@given(p_values)
def test_without_a_familywise_rule_only_looks_are_corrected(p_values):
    decisions = decide([evidence(p) for p in p_values], familywise="none", max_looks=3)
    assert [one.p_support_adjusted for one in decisions] == pytest.approx([min(1, 3 * p) for p in p_values])


def test_claims_without_a_p_value_still_count():
    alone = decide([evidence(0.02)])
    beside = decide([evidence(0.02), evidence(None, None), None])
    assert (alone[0].verdict, beside[0].verdict) == ("supported", "inconclusive")
    assert beside[0].p_support_adjusted == pytest.approx(0.06)
    assert [one.verdict for one in beside[1:]] == ["inconclusive", "not_run"]


def test_supporting_and_refuting_are_two_families():
    decisions = decide([evidence(0.02, 0.98), evidence(0.98, 0.02)])
    assert [one.verdict for one in decisions] == ["supported", "refuted"]


@given(
    seed=st.integers(0, 300), n=st.integers(2, 8), max_looks=st.integers(1, 3), rule=st.sampled_from(["holm", "none"])
)
def test_the_decision_interval_excludes_the_bound_exactly_where_the_verdict_is_reached(seed, n, max_looks, rule):
    claims = study(seed, n, diverged=1 if seed % 3 == 0 and n > 2 else 0)
    for one, decision, bound in zip(claims, decide(claims, max_looks=max_looks, familywise=rule), BOUNDS, strict=True):
        if one.estimand.startswith("P("):
            bound = 0.5
        low, high = decision.decision_ci_low, decision.decision_ci_high
        if bound == 0.5 and one.supports_with in ("both", "outside"):
            supported, refuted = -bound < low and high < bound, low > bound or high < -bound
        else:
            above, below = low > bound, high < bound
            supported, refuted = (above, below) if one.supports_with == "low" else (below, above)
        expected = "supported" if supported else "refuted" if refuted else "inconclusive"
        assert decision.verdict == expected or decision.notes, one


@given(seed=st.integers(0, 100), diverged=st.integers(0, 1))
def test_one_run_never_decides(seed, diverged):
    for decision in decide(study(seed, 1, diverged=diverged)):
        assert decision.verdict == "inconclusive"


def test_a_study_with_plenty_of_runs_decides_every_claim():
    verdicts = [decision.verdict for decision in decide(study(1, 16, sd=0.05), max_looks=3)]
    assert verdicts == [
        "supported", "refuted", "supported", "supported", "refuted", "supported", "supported", "refuted",
        "supported", "refuted", "supported", "supported",
    ]  # fmt: skip


def test_a_trend_with_a_neighbouring_pair_established_reversed_is_not_supported():
    random = np.random.default_rng(1)
    cells = [Cell.of("", random.normal(mean, 0.05, 8)) for mean in (75.0, 76.0, 75.5, 77.0)]
    (decision,) = decide([trend(cells, increasing=True)])
    assert (decision.verdict, len(decision.notes)) == ("inconclusive", 1)
    assert decision.p_support_adjusted < 0.001


def test_after_the_last_look_its_verdict_stands():
    (found,) = decide([evidence(0.001)], max_looks=3, looks=[4], standing=["inconclusive"])
    assert (found.verdict, found.p_support_adjusted) == ("inconclusive", None)
    (kept,) = decide([evidence(0.9)], max_looks=3, looks=[4], standing=["supported"])
    assert kept.verdict == "supported"
    (last,) = decide([evidence(0.001)], max_looks=3, looks=[3])
    assert last.verdict == "supported"


def test_settled_and_missing_claims_need_no_seeds():
    claims = [*study(1, 16, sd=0.05)[:2], None]
    assert seeds_needed(claims, decide(claims)) == [None, None, None]


def test_seeds_needed_are_the_fewest_with_a_power_of_80_percent():
    cells = [Cell("a", 3, 75.2, 0.3), Cell("b", 3, 75.0, 0.3)]
    claims = [better(cells[:1], cells[1:], spread=0.3), None, None]
    (needed, *_) = seeds_needed(claims, decide(claims, max_looks=3), max_looks=3)
    level = 0.05 / 3 / 3
    assert claims[0].power(needed, level) >= 0.8 > claims[0].power(needed - 1, level)


def test_more_seeds_than_allowed_are_said_to_be_one_more():
    cells = [Cell("a", 3, 75.2, 2.0), Cell("b", 3, 75.0, 2.0)]
    claims = [better(cells[:1], cells[1:], spread=2.0)]
    assert seeds_needed(claims, decide(claims), max_seeds=16) == [17]


def test_a_supported_claim_still_counts_as_its_looks_may_be_spent_at_the_next_look():
    cells = [Cell("a", 3, 75.2, 0.4), Cell("b", 3, 75.0, 0.4)]
    open_claim, clear = better(cells[:1], cells[1:], spread=0.4), evidence(1e-9)
    with_clear, with_open = [open_claim, clear], [open_claim, evidence(0.5)]
    assert seeds_needed(with_clear, decide(with_clear))[0] == seeds_needed(with_open, decide(with_open))[0]
    again, spent = decide([evidence(0.03), clear], looks=[1, 2], standing=["inconclusive", "supported"])
    assert (again.verdict, spent.verdict) == ("inconclusive", "supported")  # 0.03 is not compared with 0.05


def test_a_power_that_is_no_number_on_the_way_is_an_error():
    gap = replace(evidence(0.5), power=lambda n, alpha: math.nan if n < 10 else 1.0)
    with pytest.raises(ArithmeticError, match="with 9 runs is no number"):
        fewest_seeds(gap, 0.05, 16)


def test_an_unknown_spread_has_no_number_of_seeds():
    claims = [better([Cell.of("a", [75.0])], [Cell.of("b", [74.0])])]
    assert seeds_needed(claims, decide(claims)) == [None]


def test_seeds_needed_with_divergence_are_at_least_what_complete_separation_takes():
    claims = [paired_better([75.0, 75.1, 75.2], [74.0, math.nan, 74.0], spread=0.2)]
    (needed,) = seeds_needed(claims, decide(claims))
    assert 2.0**-needed <= 0.05
