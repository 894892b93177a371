"""The poster's comparison: how the rate is scaled beside the best warmup by mini-batch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from warmscale.analysis import style
from warmscale.analysis.catalogue import figures_of
from warmscale.analysis.comparison_figure import SCALING, WARMUP
from warmscale.analysis.figures import draw, figure_frame
from warmscale.analysis.scaling_captions import scaling_caption
from warmscale.analysis.tables import make_tables, read_tables
from warmscale.analysis.verdict_page import read_rows
from warmscale.analysis.verdicts import make_verdicts
from warmscale.study import load_study

from .conftest import raw_study
from .published_runs import publish

GRID = [0, 0.5, 1, 2, 3, 4, 6, 8]
BEST = {64: 2.0, 256: 4.0}
"""Best warmup by mini-batch size, an exponent of a half."""
TITLE = "Scaling of the learning rate, and the best warmup"


def raw(**changes: object) -> dict:
    """Two sizes along warmup, and both rules of scaling at the larger."""
    large = {"mini_batch_size": 256, "workers": 8}
    experiments = [
        {"name": "warmup-64", "recipe": {"mini_batch_size": 64, "workers": 2}, "grid": {"warmup_epochs": GRID}},
        {"name": "warmup-256", "recipe": large, "grid": {"warmup_epochs": GRID}},
        {"name": "scaled", "recipe": {**large, "warmup_epochs": 2}, "grid": {"lr_scaling.rule": ["linear", "none"]}},
    ]
    exponent = {"id": "half", "statement": "It is.", "kind": "exponent", "value": 0.5}
    claims = [exponent | {"experiments": ["warmup-64", "warmup-256"]}]
    return raw_study() | {"experiments": experiments, "claims": claims, "seeds": 4} | changes


def accuracy(run) -> float:
    """A parabola in logs around the best warmup, steep enough to be found; less without scaling."""
    recipe = run.recipe
    away = math.log2((recipe.warmup_epochs + 0.5) / (BEST[recipe.mini_batch_size] + 0.5))
    return 80 - 3 * away**2 + 0.02 * run.seed - (20 if recipe.lr_scaling.rule == "none" else 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The study, its results, and the frame of its comparison."""
    study, folder = load_study(raw()), tmp_path_factory.mktemp("compared")
    for run in study.runs.values():
        publish(folder, run, top1=[accuracy(run)] * 8, audit_every=10**6)
    make_tables(study, folder)
    tables = read_tables(folder / "tables")
    make_verdicts(study, tables, folder)
    return study, folder, tables, figure_frame(entry_of(study), study, tables)


def entry_of(study):
    return next(entry for entry in figures_of(study) if entry.kind == "comparison")


def drawn(study, tables, frame):
    with style.applied():
        figure = draw(entry_of(study), study, tables.points, frame)
        figure.draw_without_rendering()
    return figure


def test_the_left_panel_has_the_runs_of_both_rules(made):
    _, _, tables, frame = made
    own = frame[frame["panel"] == SCALING]
    assert own["level"].unique().tolist() == ["linear", "none"]
    assert sorted(own["top1"]) == sorted(tables.runs.set_index("run_id").loc[own["run_id"], "top1"])
    assert (own["n"] == 4).all() and own["ci_low"].notna().all()


def test_the_right_panel_has_the_optima_of_the_table_and_the_fitted_law(made):
    _, folder, _, frame = made
    own = frame[(frame["panel"] == WARMUP) & (frame["kind"] == "optimum")]
    rows = read_rows(folder / "tables/optimum.csv")
    expected = [[row["size"], row["optimum"], row["ci_low"], row["ci_high"]] for row in rows]
    np.testing.assert_allclose(own[["size", "optimum", "low", "high"]].astype(float), expected, rtol=1e-6)
    fit = frame[frame["kind"] == "fit"]
    assert len(fit) and fit["exponent"].iloc[0] == pytest.approx(0.5, abs=0.15)


def test_two_panels_stand_side_by_side(made):
    study, _, tables, frame = made
    left, right = (axis for axis in drawn(study, tables, frame).axes if axis.axison)
    assert (left.get_xlabel(), right.get_xlabel()) == ("learning-rate scaling", "mini-batch size (images)")
    assert left.get_position().x1 < right.get_position().x0
    assert left.get_position().y0 == pytest.approx(right.get_position().y0)


def test_legends_stand_in_the_sheet_and_apart(made):
    study, _, tables, frame = made
    mixed = frame.assign(bracketed=frame["bracketed"].where(frame["size"] != 64, False))  # all entries there can be
    figure = drawn(study, tables, mixed)
    legends = [axis.get_legend().get_window_extent() for axis in figure.axes if axis.get_legend()]
    assert len(legends) == 2 and not legends[0].overlaps(legends[1])
    for box in legends:
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0
    for axis in figure.axes:
        assert not axis.axison or not any(axis.get_tightbbox().overlaps(box) for box in legends)


def test_its_caption_names_seeds_sizes_and_intervals(made):
    study, _, _, frame = made
    text = scaling_caption(entry_of(study), frame)
    assert "n: 4 at linear; 4 at none seeds" in text and "at a mini-batch of 64, 256" in text
    assert "Line and band: the fitted power law." in text


def test_without_an_exponent_claim_there_are_optima_and_no_law(made):
    _, _, tables, _ = made
    study = load_study(raw(claims=[]))
    frame = figure_frame(entry_of(study), study, tables)
    assert set(frame["kind"].dropna()) == {"optimum"}
    assert "power law" not in scaling_caption(entry_of(study), frame)


def test_before_any_run_both_panels_say_so(tmp_path):
    study = load_study(raw())
    make_tables(study, tmp_path)
    tables = read_tables(tmp_path / "tables")
    frame = figure_frame(entry_of(study), study, tables)
    texts = [text.get_text() for axis in drawn(study, tables, frame).axes for text in axis.texts]
    assert texts == ["No run has a result yet: 8 pending", "No run has a result yet."]


@pytest.mark.parametrize("left_out", [0, 2])
def test_only_studies_with_both_have_it(left_out):
    experiments = raw()["experiments"]
    kept = experiments[:2] if left_out else [{**experiments[0], "grid": {"warmup_epochs": [0, 2]}}, experiments[2]]
    study = load_study(raw(experiments=kept, claims=[]))
    assert TITLE not in [entry.title for entry in figures_of(study)]
