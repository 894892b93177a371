"""Means, intervals and counts of cells, against a second way to them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from warmscale.analysis.statistics import cells, summary

values = st.lists(st.floats(0, 100).map(lambda value: round(value, 6)), min_size=1, max_size=9)


@given(runs=st.dictionaries(st.integers(0, 5), values, min_size=1), confidence=st.sampled_from([0.9, 0.95]))
def test_summary_agrees_with_scipys_one_sample_interval(runs, confidence):
    frame = pd.DataFrame([(level, value) for level, own in runs.items() for value in own], columns=["level", "top1"])
    found = summary(frame, ["level"], "top1", confidence).set_index("level")
    assert found.index.tolist() == list(runs)
    for level, own in runs.items():
        row = found.loc[level]
        assert row["n"] == len(own)
        assert row["mean"] == pytest.approx(np.mean(own), abs=1e-9)
        if len(own) == 1:
            assert row[["sd", "ci_low", "ci_high"]].isna().all()
            continue
        assert row["sd"] == pytest.approx(np.std(own, ddof=1), abs=1e-6)
        if np.ptp(own) > 1e-3:
            interval = stats.ttest_1samp(own, 0).confidence_interval(confidence)
            assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high), abs=1e-6)


def test_three_seeds_give_the_interval_of_the_book():
    frame = pd.DataFrame({"level": ["a"] * 3, "top1": [74.0, 75.0, 76.0]})
    row = summary(frame, ["level"], "top1").iloc[0]
    assert row["ci_high"] - row["mean"] == pytest.approx(4.302653 / np.sqrt(3), abs=1e-5)


def test_empty_values_are_not_counted():
    frame = pd.DataFrame({"level": ["a", "a", "b"], "top1": [70.0, None, None]})
    found = summary(frame, ["level"], "top1").set_index("level")
    assert found["n"].to_dict() == {"a": 1, "b": 0}
    assert np.isnan(found.loc["b", "mean"])


def test_cells_count_what_became_of_their_seeds():
    states = ["finished", "diverged", "failed", "pending", "paused"]
    frame = pd.DataFrame({"level": "a", "seed": range(5), "state": states, "top1": [80.0, 10.0, None, None, None]})
    row = cells(frame, ["level"], "top1").iloc[0]
    assert row[["seeds", "n", "diverged", "failed", "pending"]].tolist() == [5, 2, 1, 1, 2]
    assert row["mean"] == 45.0
