"""Figures: files, bytes, and what is drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from warmscale.analysis import style
from warmscale.analysis.catalogue import FORMATS, FigureEntry, factors_of, figures_of
from warmscale.analysis.curve_figures import curves
from warmscale.analysis.figures import draw, draw_all, figure_frame
from warmscale.analysis.final_figures import final
from warmscale.analysis.frames import final_frame
from warmscale.analysis.levels import level_points
from warmscale.analysis.rate_figures import FEW_STEPS
from warmscale.analysis.tables import read_tables
from warmscale.study import load_study

from .conftest import raw_study

NAMES = [
    "sizes-curves",
    "warmup-curves",
    "warmup-final",
    "scaling-final",
    "comparison",
    "trainings-throughput",
    "trainings-efficiency",
    "trainings-model",
    "communication",
    "sizes-time-to-target",
    "gradients",
    "learning-rates",
    "realised-rates",
]


def drawn(study, tables, name):
    """A figure by name, and the frame it was drawn from."""
    entry = next(entry for entry in figures_of(study) if entry.name == name)
    frame = figure_frame(entry, study, tables)
    with style.applied():
        return draw(entry, study, tables.points, frame), frame


def legend_texts(figure):
    return [text.get_text() for axis in figure.axes if axis.get_legend() for text in axis.get_legend().get_texts()]


def test_figures_are_named_by_experiment_and_kind(study):
    assert [entry.name for entry in figures_of(study)] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_its_table_and_three_formats(results, name):
    for suffix in ("csv", *FORMATS):
        assert (results / "figures" / f"{name}.{suffix}").stat().st_size > 100


def test_drawing_again_gives_the_same_bytes(study, results, tables, tmp_path):
    draw_all(study, tables, tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 4 * len(NAMES)
    for name in files:
        assert (tmp_path / name).read_bytes() == (results / "figures" / name).read_bytes(), name


@pytest.mark.parametrize("name", NAMES)
def test_the_table_beside_a_figure_is_the_frame_it_was_drawn_from(study, tables, results, name):
    _, frame = drawn(study, tables, name)
    saved = pd.read_csv(results / "figures" / f"{name}.csv", dtype={"level": str})
    assert list(saved.columns) == list(frame.columns)
    numbers = frame.select_dtypes("number").columns
    np.testing.assert_array_equal(saved[numbers], frame[numbers].astype(float))


def test_the_mean_line_of_a_level_is_the_mean_of_its_frame(study, tables):
    figure, frame = drawn(study, tables, "warmup-curves")
    expected = frame[frame["level"] == "2"].drop_duplicates("epoch")["mean"].tolist()
    width = style.MEAN_LINE["linewidth"]
    means = [line.get_ydata().tolist() for line in figure.axes[0].lines if line.get_linewidth() == width]
    assert len(means) == 3
    assert expected in means


def test_every_seed_with_a_result_has_a_thin_line(study, tables):
    figure, _ = drawn(study, tables, "warmup-curves")
    thin = [line for line in figure.axes[0].lines if line.get_linewidth() == style.SEED_LINE["linewidth"]]
    assert len([line for line in thin if len(line.get_xdata())]) == 7


def test_a_zoomed_figure_shows_all_on_the_left_and_the_window_on_the_right(study, tables):
    figure, _ = drawn(study, tables, "warmup-curves")
    full, zoomed = figure.axes
    assert full.get_xlim() == (0, 8)
    assert full.get_ylim()[0] == 0
    assert (zoomed.get_xlim(), zoomed.get_ylim()) == ((4, 8), (60, 90))
    assert len(drawn(study, tables, "sizes-curves")[0].axes) == 1


def zoomed_frames(tables, zoom):
    """Frames around the zoomed window in the left panel of a figure that ends a little above 81 %."""
    raw = raw_study()
    raw["experiments"][1]["zoom"] = zoom
    figure, _ = drawn(load_study(raw), tables, "warmup-curves")
    full = figure.axes[0]
    assert 81 < full.get_ylim()[1] < 90
    return full, [patch.get_bbox() for patch in full.patches]


def test_the_frame_of_a_zoom_ends_where_the_panel_ends(tables):
    full, (frame,) = zoomed_frames(tables, {"epochs": [4, 8], "top1": [60, 100]})
    assert frame.extents.tolist() == [4, 60, 8, full.get_ylim()[1]]
    _, (inside,) = zoomed_frames(tables, {"epochs": [2, 5], "top1": [60, 80]})
    assert inside.extents.tolist() == [2, 60, 5, 80]
    assert zoomed_frames(tables, {"epochs": [4, 8], "top1": [95, 100]})[1] == []


def test_a_diverged_run_is_a_cross_in_the_epoch_it_did_not_complete(study, tables):
    figure, _ = drawn(study, tables, "warmup-curves")
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == style.DIVERGED_MARK["marker"]]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in crosses] == [(4, 10.0)]


def test_no_band_is_drawn_where_a_seed_is_at_chance_level(study, tables):
    figure, _ = drawn(study, tables, "warmup-curves")
    bands = [collection.get_paths() for collection in figure.axes[0].collections]
    ends = [max(path.vertices[:, 0].max() for path in paths) if paths else None for paths in bands]
    assert ends == [3, 8, None]  # one seed of the last level has a result


def test_the_legend_counts_seeds_divergences_and_missing_runs(study, tables):
    texts = legend_texts(drawn(study, tables, "warmup-curves")[0])
    assert texts[:3] == ["0 (3 seeds, 1 diverged)", "2 (3 seeds)", "4 (1 of 3 seeds)"]
    assert "target, 75 %" in texts


def test_the_target_is_a_line_in_every_panel(study, tables):
    for name in ("warmup-curves", "warmup-final"):
        for axis in drawn(study, tables, name)[0].axes:
            assert any(np.all(np.asarray(line.get_ydata()) == 75.0) for line in axis.lines)


def test_final_has_a_point_for_every_run_and_an_interval_for_every_cell_of_two(study, tables):
    figure, frame = drawn(study, tables, "warmup-final")
    axis = figure.axes[0]
    marked = [line for line in axis.lines if line.get_marker() in ("X", *style.MARKERS)]
    points = sorted(value for line in marked for value in line.get_ydata())
    assert points == sorted(frame["top1"].dropna())
    cells = frame[frame["n"] > 1].drop_duplicates("level")
    ends = [tuple(collection.get_paths()[0].vertices[:, 1]) for collection in axis.collections]
    assert ends == list(cells[["ci_low", "ci_high"]].itertuples(index=False, name=None))


def test_final_puts_levels_of_the_first_factor_on_the_axis_and_the_others_side_by_side(study, tables):
    figure, _ = drawn(study, tables, "scaling-final")
    labels = [label.get_text().split("\n")[0] for label in figure.axes[0].get_xticklabels()]
    assert labels == ["linear", "none"]
    assert legend_texts(figure)[:2] == ["0", "2"]
    places = {round(line.get_xdata()[0], 6) for line in figure.axes[0].lines if line.get_marker() == "_"}
    assert len(places) == 4


def test_axes_have_human_labels_with_units(study, tables):
    figure, _ = drawn(study, tables, "warmup-final")
    axis = figure.axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("warmup (epochs)", "top-1 validation accuracy (%)")
    assert style.factor_label("mini_batch_size") == "mini-batch size (images)"
    assert style.factor_label("optimizer.weight_decay") == "optimizer weight decay"


@pytest.mark.parametrize("name", NAMES)
def test_the_note_stands_in_every_figure_as_it_was_written(study, tables, name):
    figure, _ = drawn(study, tables, name)
    assert any(text.get_text() == study.config.note.replace("$", r"\$") for text in figure.texts)


def test_realised_rates_name_the_deviation(study, tables):
    figure, frame = drawn(study, tables, "realised-rates")
    assert legend_texts(figure).count("closed form\n(no deviation)") == 3
    entry = FigureEntry("realised-rates", "realised-rates", "")
    wrong = frame.assign(deviation=0.25)
    with style.applied():
        assert "closed form\n(off by up to 0.25)" in legend_texts(draw(entry, study, tables.points, wrong))


def test_a_schedule_drawn_as_a_line_goes_on_to_the_end_of_training(study, tables):
    figure, frame = drawn(study, tables, "learning-rates")
    own = frame[(frame["experiment"] == "warmup") & (frame["level"] == "2")]
    axis = next(axis for axis in figure.axes if axis.get_title(loc="left") == "warmup")
    assert axis.lines[1].get_xdata().tolist() == [*own["epoch"], 8]
    assert axis.lines[1].get_ydata().tolist() == [*own["learning_rate"], own["learning_rate"].iloc[-1]]


def test_a_schedule_drawn_as_points_has_a_point_a_step(study, tables):
    _, frame = drawn(study, tables, "learning-rates")
    few = frame[frame["step"] < FEW_STEPS]
    entry = next(entry for entry in figures_of(study) if entry.name == "learning-rates")
    with style.applied():
        figure = draw(entry, study, tables.points, few)
    axis = next(axis for axis in figure.axes if axis.get_title(loc="left") == "warmup")
    assert {line.get_linestyle() for line in axis.lines} == {"None"}
    assert {len(line.get_xdata()) for line in axis.lines} == {FEW_STEPS}


def test_a_realised_rate_ends_at_the_last_audited_step(study, tables):
    figure, frame = drawn(study, tables, "realised-rates")
    last = max(line.get_xdata().max() for axis in figure.axes for line in axis.lines)
    assert last == frame["epoch"].max() < 8


@pytest.mark.parametrize("name", NAMES)
def test_the_title_of_a_figure_is_the_one_in_the_catalogue(study, tables, name):
    entry = next(entry for entry in figures_of(study) if entry.name == name)
    assert drawn(study, tables, name)[0].get_suptitle() == style.plain(entry.title)


def test_figures_of_experiments_that_are_gone_are_deleted(study, tables, tmp_path):
    for name in ("gone-final.svg", "gone-final.png", "gone-final.pdf", "gone-final.csv", "notes.txt"):
        (tmp_path / name).write_text("from before")
    draw_all(study, tables, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{name}.{suffix}" for name in NAMES for suffix in ("csv", *FORMATS)} | {"notes.txt"}


def test_few_audited_steps_are_points_and_claim_nothing_between_them(study, tables):
    figure, frame = drawn(study, tables, "realised-rates")
    own = frame[frame["experiment"] == "warmup"]
    axis = next(axis for axis in figure.axes if axis.get_title(loc="left") == "warmup")
    assert {line.get_linestyle() for line in axis.lines} == {"None"}
    assert axis.lines[0].get_ydata().tolist() == own.loc[own["level"] == "0", "realised"].tolist()


def test_with_all_runs_pending_every_figure_is_drawn_and_says_so(study, nothing_yet):
    assert len(list((nothing_yet / "figures").iterdir())) == 4 * len(NAMES)
    figure, _ = drawn(study, read_tables(nothing_yet / "tables"), "warmup-curves")
    assert [text.get_text() for text in figure.axes[0].texts] == ["No run has a result yet: 9 pending"]


def test_the_figures_of_a_study_of_top5_show_top5(tables):
    study = load_study(raw_study() | {"metric": {"name": "top5"}})
    figure, frame = drawn(study, tables, "warmup-curves")
    assert "top5" in frame.columns
    assert figure.axes[0].get_ylabel() == "top-5 validation accuracy (%)"
    assert figure.axes[1].get_ylim() != (60, 90)  # the window is one of top1


def test_one_seed_a_cell_has_neither_band_nor_interval(study, tables):
    own, names = level_points(tables.points, "warmup", factors_of(study, "warmup"))
    frame = final_frame(own[own["seed"] == 2], tables.runs, names, "top1")
    with style.applied():
        figure = final(frame, names=names, metric="top1", title="")
    assert not figure.axes[0].collections
    assert legend_texts(figure) == ["one seed", "diverged,\nat chance level"]


def test_two_seeds_a_cell_have_an_interval(study, tables):
    own, names = level_points(tables.points, "warmup", factors_of(study, "warmup"))
    frame = final_frame(own[own["seed"] <= 2], tables.runs, names, "top1")
    with style.applied():
        figure = final(frame, names=names, metric="top1", title="")
    assert len(figure.axes[0].collections) == 2  # of three cells: the third has one result


def test_a_figure_is_a_function_of_its_table(results):
    saved = pd.read_csv(results / "figures" / "warmup-curves.csv", dtype={"level": str})
    with style.applied():
        figure = curves(saved, names=("warmup_epochs",), metric="top1", title="from the file")
    assert legend_texts(figure)[0] == "0 (3 seeds, 1 diverged)"


def lightness(color) -> float:
    """Relative luminance, as a black and white print has it."""
    return float(np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("count", range(2, 7))
def test_numbers_run_from_dark_to_light_and_differ_in_style_and_marker(count):
    cells = pd.DataFrame({"level": [str(value) for value in range(count)], "size": range(count)})
    looks = list(style.looks(cells, ["size"]).values())
    values = [lightness(look.color) for look in looks]
    assert all(later - earlier > 0.04 for earlier, later in itertools.pairwise(values))
    assert values[-1] < 0.65
    assert len({str(look.linestyle) for look in looks}) == len({look.marker for look in looks}) == count


def test_words_differ_in_lightness_style_and_marker():
    cells = pd.DataFrame({"level": list("abcd"), "rule": list("abcd")})
    looks = list(style.looks(cells, ["rule"]).values())
    values = sorted(lightness(look.color) for look in looks)
    assert len({str(look.linestyle) for look in looks}) == len({look.marker for look in looks}) == 4
    assert lightness(looks[1].color) - lightness(looks[0].color) > 0.2
    assert values[-1] < 0.65


def test_two_factors_share_colour_by_the_first_and_line_style_by_the_second():
    cells = pd.DataFrame({"level": list("abcd"), "size": [1, 1, 2, 2], "rule": ["x", "y", "x", "y"]})
    looks = style.looks(cells, ["size", "rule"])
    assert looks["a"].color == looks["b"].color != looks["c"].color
    assert looks["a"].linestyle == looks["c"].linestyle != looks["b"].linestyle
