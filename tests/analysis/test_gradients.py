"""What gradients do: its frame, its figure, noise scales with intervals, and what the page shows of them."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from warmscale.analysis import style
from warmscale.analysis.captions import gradients_caption
from warmscale.analysis.catalogue import GRADIENTS, figures_of
from warmscale.analysis.figures import draw, figure_frame
from warmscale.analysis.gradient_figure import COLUMNS, gradients_figure
from warmscale.analysis.gradient_frames import MOST_SHOWN, QUANTITIES, factors_in, gradients_frame
from warmscale.analysis.gradient_page import gradients_section
from warmscale.analysis.inference.ratio import mean_ratio, ratio_interval
from warmscale.analysis.noise_scale import NOISE_BELOW_ZERO, NOT_MEASURED, NOTHING_ABOVE_ZERO, ONE_PASS, noise_rows
from warmscale.analysis.tables import Tables
from warmscale.analysis.verdict_page import read_rows
from warmscale.records import GRADIENT_COLUMNS
from warmscale.study import load_study

from .conftest import EPOCHS, analysed, raw_study

numbers = st.floats(-100, 100).map(lambda value: round(value, 3))


def t_test(numerators, denominators, ratio):
    """p of the t-test that the mean of numerator - ratio * denominator is 0."""
    return stats.ttest_1samp(np.asarray(numerators) - ratio * np.asarray(denominators), 0.0).pvalue


@given(
    st.lists(st.tuples(numbers, numbers), min_size=2, max_size=6).filter(lambda pairs: len(set(pairs)) > 1),
    st.floats(0.01, 50),
)
def test_a_ratio_that_a_t_test_does_not_reject_is_in_the_interval(pairs, ratio):
    tops, below = zip(*pairs, strict=True)
    low, high = ratio_interval(tops, below, 0.95)
    differences = np.asarray(tops) - ratio * np.asarray(below)
    if differences.std() > 1e-6 and t_test(tops, below, ratio) > 0.0501:
        assert low * (1 - 1e-6) <= ratio <= high * (1 + 1e-6)


def test_a_bounded_interval_ends_where_the_t_test_begins_to_reject():
    tops, below = [10.2, 11.0, 9.1, 10.4], [2.1, 1.9, 2.3, 2.0]
    low, high = ratio_interval(tops, below, 0.9)
    assert low < mean_ratio(tops, below) < high < math.inf
    assert [t_test(tops, below, end) for end in (low, high)] == pytest.approx([0.1, 0.1])


def test_a_denominator_that_cannot_be_told_from_0_leaves_the_upper_end_open():
    low, high = ratio_interval([10.0, 11.0, 12.0], [-0.5, 0.1, 0.9], 0.95)
    assert 0 < low < 66
    assert high == math.inf
    assert ratio_interval([-1.0, 0.0, 1.5], [-0.5, 0.1, 0.9], 0.95) == (0.0, math.inf)


def test_one_seed_has_a_ratio_and_no_interval():
    assert mean_ratio([6.0], [2.0]) == 3.0
    assert all(map(math.isnan, ratio_interval([6.0], [2.0], 0.95)))
    assert math.isnan(mean_ratio([1.0], [0.0]))
    assert math.isnan(mean_ratio([], []))


@pytest.mark.parametrize("sign", [1, -1])
def test_ratios_that_are_all_negative_have_no_interval(sign):
    tops, below = [sign * 1.0, sign * 1.1, sign * 0.9], [-sign * 1.0, -sign * 1.05, -sign * 0.95]
    assert all(map(math.isnan, ratio_interval(tops, below, 0.95)))


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("correlation", [-0.8, 0.0, 0.8])
def test_intervals_of_normal_values_cover_the_true_ratio_as_often_as_they_say(n, correlation):
    generator, trials = np.random.default_rng(1), 4000
    covariance = np.array([[4.0, correlation], [correlation, 0.25]])
    draws = generator.multivariate_normal([20.0, 2.0], covariance, (trials, n))
    inside = sum(low <= 10.0 <= high for low, high in (ratio_interval(*draw.T, 0.95) for draw in draws))
    assert abs(inside / trials - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials)


@pytest.fixture(scope="module")
def frame(tables):
    return gradients_frame(tables)


def test_lines_are_told_apart_by_warmup_and_what_else_varies(frame):
    assert factors_in(frame) == ["warmup_epochs", "lr_scaling.rule"]
    assert sorted(frame["mini_batch_size"].unique()) == [64, 128]
    assert set(frame.loc[frame["mini_batch_size"] == 128, "level"]) == {"0, linear"}
    assert set(frame["quantity"]) == set(QUANTITIES)


def test_a_line_is_the_mean_over_seeds_geometric_where_axes_are_logs(frame):
    own = frame[(frame["mini_batch_size"] == 64) & (frame["level"] == "2, linear")]
    norms = own[own["quantity"] == "gradient_norm"]
    assert (norms["n"] == 3).all()
    first = norms.iloc[0]  # seeds 1, 2, 3 measure 2, 3 and 4 in the first epoch
    logs = np.log([2.0, 3.0, 4.0])
    half = stats.t.ppf(0.975, 2) * logs.std(ddof=1) / math.sqrt(3)
    assert [first["mean"], first["ci_low"], first["ci_high"]] == pytest.approx(
        [math.exp(logs.mean()), math.exp(logs.mean() - half), math.exp(logs.mean() + half)]
    )
    cosines = own[own["quantity"] == "gradient_cosine"]
    assert cosines.iloc[0]["mean"] == pytest.approx(0.7)


def test_steps_stand_for_the_first_epochs_and_means_for_the_others(tables):
    one = tables.runs.loc[tables.runs["state"] == "finished", "run_id"].iloc[0]
    steps = tables.steps[tables.steps["run_id"] == one]
    per_epoch = tables.runs.set_index("run_id").loc[one, "total_steps"] / EPOCHS
    early = steps[(steps["step"] < 2 * per_epoch) | (steps["step"] == 35)]  # one audited step of a later epoch
    only = Tables(tables.runs[tables.runs["run_id"] == one], tables.epochs, tables.points, early)
    shown = gradients_frame(only)
    epochs = shown.loc[shown["quantity"] == "gradient_norm", "epoch"].to_numpy()
    assert epochs[epochs > 2].tolist() == [epoch - 0.5 for epoch in range(3, EPOCHS + 1)]
    assert len(epochs[epochs < 2]) > 2


def test_a_run_that_diverged_is_shown_as_far_as_it_came(frame):
    own = frame[(frame["level"] == "0, linear") & (frame["quantity"] == "gradient_norm")]
    own = own[own["mini_batch_size"] == 64]
    assert own["n"].tolist()[0] == 3
    assert own["n"].tolist()[-1] == 2


def test_a_column_is_a_mini_batch_and_a_line_a_cell(study, tables, frame):
    entry = next(entry for entry in figures_of(study) if entry.kind == GRADIENTS)
    with style.applied():
        figure = draw(entry, study, tables.points, figure_frame(entry, study, tables))
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert [title for title in titles if title] == ["mini-batch 64", "mini-batch 128"]
    assert len(figure.axes) == 2 * len(QUANTITIES)
    width = style.THIN_MEAN_LINE["linewidth"]
    lines = [line for line in figure.axes[0].lines if line.get_linewidth() == width]
    assert len(lines) == frame.loc[frame["mini_batch_size"] == 64, "level"].nunique()


def test_panels_of_a_quantity_share_their_axes(frame):
    with style.applied():
        figure = gradients_figure(frame, title="Gradients")
    for row in range(len(QUANTITIES)):
        assert figure.axes[2 * row].get_ylim() == figure.axes[2 * row + 1].get_ylim()
    assert len({axis.get_xlim() for axis in figure.axes}) == 1


def test_many_mini_batches_go_on_below(frame):
    own = frame[frame["mini_batch_size"] == 64]
    many = pd.concat([own.assign(mini_batch_size=64 * 2**k) for k in range(COLUMNS + 2)], ignore_index=True)
    with style.applied():
        figure = gradients_figure(many, title="Gradients")
    visible = [axis for axis in figure.axes if axis.get_visible()]
    assert len(visible) == (COLUMNS + 2) * len(QUANTITIES)
    assert [axis.get_title(loc="left") for axis in visible].count("mini-batch 2,048") == 1


def test_of_many_mini_batches_some_are_shown_and_the_caption_says_so(frame):
    own = frame[frame["mini_batch_size"] == 64]
    many = pd.concat([own.assign(mini_batch_size=64 * k) for k in range(1, 26)], ignore_index=True)
    with style.applied():
        figure = gradients_figure(many, title="Gradients")
    titles = [axis.get_title(loc="left") for axis in figure.axes if axis.get_title(loc="left")]
    assert (len(titles), titles[0], titles[-1]) == (MOST_SHOWN, "mini-batch 64", "mini-batch 1,600")
    assert "Shown are 8 of 25 mini-batch sizes, evenly spaced" in gradients_caption(many)
    assert "Shown" not in gradients_caption(frame)


def test_without_measurements_the_figure_says_so(frame):
    with style.applied():
        figure = gradients_figure(frame.iloc[:0], title="Gradients")
    assert "No step was measured" in figure.axes[0].texts[0].get_text()


def row_at(rows, size, level):
    return next(row for row in rows if (row["mini_batch_size"], row["level"]) == (size, level))


def test_a_cell_has_the_ratio_of_means_over_seeds_and_epochs_up_to_the_target(study, tables):
    row = row_at(noise_rows(study, tables), 64, "2, linear")
    reached = [next(e for e in range(1, 9) if 80 * (1 - 0.6**e) + seed - 1 >= 75) for seed in (1, 2, 3)]
    sq = [np.mean([0.01 / epoch for epoch in range(1, end + 1)]) for end in reached]
    noise = [11.0, 12.0, 13.0]
    assert row["n"] == row["runs"] == 3
    assert row["noise_scale"] == pytest.approx(12.0 / np.mean(sq))
    assert [row["ci_low"], row["ci_high"]] == pytest.approx(ratio_interval(noise, sq, 0.95))
    assert row["first_epoch"] == pytest.approx(1200.0)
    last = [0.01 / end for end in reached]
    assert row["last_epoch"] == pytest.approx(12.0 / np.mean(last))
    assert row["experiments"] == "warmup;scaling"
    assert (row["worker_batch_size"], row["batchnorm_batch_size"]) == (32, 32)


def test_steps_to_the_target_are_the_median_over_runs_infinite_where_it_is_not_reached(study, tables):
    row = row_at(noise_rows(study, tables), 64, "2, linear")
    per_epoch = 1280 // 64
    reached = [next(e for e in range(1, 9) if 80 * (1 - 0.6**e) + seed - 1 >= 75) for seed in (1, 2, 3)]
    assert row["reached"] == 3
    assert row["steps_to_target"] == per_epoch * sorted(reached)[1]
    assert (row["steps_low"], row["steps_high"]) == (per_epoch * min(reached), per_epoch * max(reached))
    diverged = row_at(noise_rows(study, tables), 64, "0, linear")
    assert (diverged["reached"], diverged["steps_high"]) == (2, math.inf)
    assert diverged["steps_to_target"] < math.inf


def changed(tables, **columns):
    return Tables(tables.runs, tables.epochs.assign(**columns), tables.points, tables.steps)


def test_a_cell_without_an_estimate_says_why(study, tables):
    one_pass = changed(tables, gradient_sq=math.nan, gradient_noise=math.nan)
    nothing = changed(tables, **dict.fromkeys(GRADIENT_COLUMNS, math.nan))
    negative = changed(tables, gradient_sq=-1.0)
    quiet = changed(tables, gradient_noise=-1.0, gradient_sq=1.0)
    given = ((one_pass, ONE_PASS), (nothing, NOT_MEASURED), (negative, NOTHING_ABOVE_ZERO), (quiet, NOISE_BELOW_ZERO))
    for given_tables, reason in given:
        rows = noise_rows(study, given_tables)
        assert rows
        assert {row["reason"] for row in rows if row["n"] != 1} == {reason}
        assert all(math.isnan(row["ci_high"]) for row in rows if row["n"] > 1)


def test_without_a_target_all_epochs_count_and_no_steps_are_given(tables):
    study = load_study({**raw_study(), "target": None})
    row = row_at(noise_rows(study, tables), 64, "2, linear")
    assert row["last_epoch"] == pytest.approx(1200.0 * EPOCHS)
    assert "steps_to_target" not in row


def test_only_cells_with_the_same_batchnorm_batch_stand_in_one_table(study, results):
    rows = read_rows(results / "tables" / "gradients.csv")
    other = [row | {"batchnorm_batch_size": 16} for row in rows[:2]]
    section = gradients_section(study, [*rows, *other], {"name": "gradients"})
    assert [(table["batch"], len(table["rows"])) for table in section["tables"]] == [("16", 2), ("32", len(rows))]


def test_the_page_has_the_figure_and_the_noise_scales_beside_the_steps(results):
    page = (results / "report" / "index.html").read_text()
    section = re.search(r'<section aria-labelledby="early-training">.*?</section>', page, re.DOTALL).group()
    assert '<figure id="gradients">' in section
    assert "n: 1 to 3 seeds" in section
    assert "steps to 75 under its rule" in section
    assert "by 2 of 3 runs" in section
    assert '<a href="#early-training">early training</a>' in page


def test_runs_of_before_gradients_were_measured_have_a_report_without_them(study, results, tmp_path):
    folder = tmp_path / "small"
    for path in (path for path in (results / "runs").rglob("*") if path.is_file()):
        text = path.read_text()
        if path.suffix == ".csv":  # as it was written then
            lines = [line.split(",") for line in text.splitlines()]
            count = lines[0].index("gradient_norm")
            text = "".join(",".join(line[:count]) + "\n" for line in lines)
        target = folder / path.relative_to(results)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    analysed(study, folder)
    page = (folder / "report" / "index.html").read_text()
    assert "early-training" not in page
    assert pd.read_csv(folder / "figures" / "gradients.csv").empty
    rows = read_rows(folder / "tables" / "gradients.csv")
    assert {row["reason"] for row in rows} == {NOT_MEASURED}
