"""What a sound analysis finds in Goyal et al. 2017: error in %, mean and sd of 5 runs."""

from __future__ import annotations

import pytest

from warmscale.analysis.inference.cell import Cell, pooled_sd
from warmscale.analysis.inference.evidence import Evidence
from warmscale.analysis.inference.kinds import best, better, equivalent, trend, worst
from warmscale.analysis.inference.verdict import decide

NONE, CONSTANT, GRADUAL = (
    Cell("none", 5, 24.84, 0.37),
    Cell("constant", 5, 25.88, 0.56),
    Cell("gradual", 5, 23.74, 0.09),
)
SMALL, LARGE, LARGEST = Cell("256", 5, 23.60, 0.12), Cell("16k", 5, 24.79, 0.27), Cell("64k", 5, 33.96, 0.80)
ROOT, UNSCALED = Cell("sqrt", 5, 26.22, 0.03), Cell("no scaling", 5, 41.67, 0.10)
SPREAD = pooled_sd([NONE, CONSTANT, GRADUAL])


def verdict(evidence: Evidence) -> str:
    return decide([evidence], familywise="none")[0].verdict


@pytest.mark.parametrize(
    ("a", "b"), [(GRADUAL, NONE), (GRADUAL, CONSTANT), (SMALL, LARGE), (GRADUAL, ROOT), (GRADUAL, UNSCALED)]
)
def test_what_the_paper_finds_better_is_supported_and_its_opposite_refuted(a, b):
    assert verdict(better([a], [b], sign=-1, spread=SPREAD)) == "supported"
    assert verdict(better([b], [a], sign=-1, spread=SPREAD)) == "refuted"


def test_8k_with_gradual_warmup_is_equivalent_to_256_within_0_3_but_not_within_0_2():
    assert verdict(equivalent([GRADUAL], [SMALL], margin=0.3, spread=SPREAD)) == "supported"
    assert verdict(equivalent([GRADUAL], [SMALL], margin=0.2, spread=SPREAD)) == "inconclusive"


def test_no_warmup_is_not_the_worst_since_constant_warmup_is():
    assert verdict(worst(NONE, [GRADUAL, CONSTANT], sign=-1, spread=SPREAD)) == "refuted"
    assert verdict(best(GRADUAL, [NONE, CONSTANT], sign=-1, spread=SPREAD)) == "supported"


def test_error_rises_with_the_mini_batch():
    assert verdict(trend([SMALL, GRADUAL, LARGE, LARGEST], increasing=True, spread=SPREAD)) == "supported"
    assert verdict(trend([SMALL, GRADUAL, LARGE, LARGEST], increasing=False, spread=SPREAD)) == "refuted"
