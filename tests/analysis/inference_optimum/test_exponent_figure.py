"""The figure of the exponent: what is in its frame and what is drawn of it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from warmscale.analysis import canvas, style
from warmscale.analysis.exponent_figure import COLUMNS, exponent_figure, exponent_frame
from warmscale.analysis.inference.exponent import exponent

from .curves import GRID, POSTER_GRID, cells_at, planted

SIZES = (7_680, 30_720, 122_880)


@pytest.fixture(scope="module")
def law():
    return exponent(SIZES, [planted(peak, sd=0.01) for peak in (5.0, 10.0, 20.0)], sign=1)


@pytest.fixture(scope="module")
def refused():
    return exponent(SIZES[:2], [planted(peak, POSTER_GRID, sd=0.01) for peak in (5.0, 10.0)], sign=1)


def drawn(result, **texts):
    with style.applied():
        figure = exponent_figure(exponent_frame(result), title="Best warmup", **texts)
        figure.draw_without_rendering()
    return figure


def test_frame_has_a_row_an_optimum_and_the_law_in_its_band(law):
    frame = exponent_frame(law)
    assert frame.columns.tolist() == COLUMNS
    optima, fit = (frame[frame["kind"] == kind] for kind in ("optimum", "fit"))
    assert optima["size"].tolist() == list(SIZES)
    assert (fit["low"] <= fit["optimum"] * (1 + 1e-9)).all() and (fit["optimum"] <= fit["high"] * (1 + 1e-9)).all()


def test_rivals_pass_through_the_centre_of_the_optima_with_their_exponents(law):
    frame = exponent_frame(law)
    optima = np.log(frame.loc[frame["kind"] == "optimum", ["size", "optimum"]].to_numpy(dtype=float))
    for rival, line in frame[frame["kind"] == "rival"].groupby("exponent"):
        (x0, y0), (x1, y1) = np.log(line[["size", "optimum"]].to_numpy(dtype=float))
        assert (y1 - y0) / (x1 - x0) == pytest.approx(rival)
        assert y0 + rival * (optima[:, 0].mean() - x0) == pytest.approx(optima[:, 1].mean())


def test_refused_exponent_has_optima_only_and_the_reason_below(refused):
    frame = exponent_frame(refused)
    assert set(frame["kind"]) == {"optimum"} and not frame["bracketed"].any()
    texts = " ".join(text.get_text().replace("\n", " ") for text in drawn(refused, note="A note.").texts)
    assert f"No exponent: {refused.refused}. A note." in texts


def test_open_ends_are_arrows_and_others_bars(refused):
    axis = drawn(refused).axes[0]
    markers = [line.get_marker() for line in axis.lines if len(line.get_xdata())]
    assert sorted(markers) == ["^", "_", "_", "o", "o", "v"]


def test_all_that_is_finite_stands_within_the_axes(law):
    axis = drawn(law).axes[0]
    bottom, top = axis.get_ylim()
    assert bottom < min(found.low for found in law.optima) and max(found.high for found in law.optima) < top


def test_best_warmup_of_zero_stands_at_the_foot():
    result = exponent(SIZES[:2], [(GRID, cells_at(range(8, 0, -1), n=1)), planted(10.0)], sign=1)
    axis = drawn(result).axes[0]
    points = [line.get_ydata()[0] for line in axis.lines if line.get_marker() == "o"]
    assert points == [axis.get_ylim()[0], pytest.approx(10.0, rel=0.05)]
    assert "0" in [text.get_text() for text in axis.texts]


@pytest.mark.parametrize("kind", ["law", "refused", "off every line", "crowded", "many single runs"])
def test_nothing_is_outside_the_sheet_and_no_labels_overlap(kind, law, refused):
    result = {
        "law": law,
        "refused": refused,
        "off every line": exponent(SIZES, [planted(peak, sd=0.001) for peak in (5.0, 20.0, 5.0)], sign=1),
        "crowded": exponent((256, 7_680, 7_681, 1_000_000), [planted(5.0, sd=0.01)] * 4, sign=1),
        "many single runs": exponent(range(1000, 7000, 1000), [planted(5.0, POSTER_GRID, n=1)] * 6, sign=1),
    }[kind]
    figure = drawn(result, note="Note & $5", mark="3 runs are missing")
    axis, sheet = figure.axes[0], figure.bbox
    texts = [*axis.texts, *figure.texts, *axis.get_legend().get_texts(), axis.xaxis.label, axis.yaxis.label]
    for box in (text.get_window_extent() for text in texts):
        assert sheet.x0 <= box.x0 and box.x1 <= sheet.x1 + 1 and sheet.y0 <= box.y0 and box.y1 <= sheet.y1
    labels = [label.get_window_extent() for label in axis.get_xticklabels() if label.get_visible()]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(labels))
    assert not any(text.get_window_extent().overlaps(axis.get_legend().get_window_extent()) for text in axis.texts)


def test_without_any_optimum_the_figure_says_so():
    result = exponent(SIZES[:2], [((), ())] * 2, sign=1)
    assert math.isnan(result.optima[0].value)
    figure = drawn(result)
    assert figure.axes[0].texts[0].get_text() == "No run has a result yet."


def test_the_same_frame_gives_the_same_bytes(law, tmp_path):
    for name in ("one", "two"):
        with style.applied():
            canvas.save(exponent_figure(exponent_frame(law), title="Best warmup"), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
