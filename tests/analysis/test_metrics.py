"""The one number of a run."""

from __future__ import annotations

import statistics

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmscale.analysis.metrics import chance_level, run_metrics

percent = st.floats(0, 100)


@given(runs=st.lists(st.lists(percent, min_size=1, max_size=12), min_size=1, max_size=4), order=st.randoms())
def test_metrics_are_the_last_value_and_the_median_of_the_last_five(runs, order):
    rows = [
        {"run_id": f"r{run}", "epoch": epoch, "top1": value, "top5": 100 - value, "images_per_sec": value}
        for run, values in enumerate(runs)
        for epoch, value in enumerate(values, start=1)
    ]
    order.shuffle(rows)
    metrics = run_metrics(pd.DataFrame(rows))
    for run, values in enumerate(runs):
        row = metrics.loc[f"r{run}"]
        assert row["top1_last"] == values[-1]
        assert row["top5_last"] == 100 - values[-1]
        assert row["top1_median_last_5"] == pytest.approx(statistics.median(values[-5:]))
        assert row["images_per_sec"] == pytest.approx(statistics.median(values))


@pytest.mark.parametrize(
    ("metric", "num_classes", "percent"),
    [("top1", 1000, 0.1), ("top5", 1000, 0.5), ("top1", 10, 10), ("top5", 10, 50), ("top5", 4, 100)],
)
def test_chance_level_is_what_guessing_gets(metric, num_classes, percent):
    assert chance_level(metric, num_classes) == pytest.approx(percent)
