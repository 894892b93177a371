"""Figures of scaling: what is drawn of their frames, and which studies have them."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from warmscale.analysis import canvas, style
from warmscale.analysis.catalogue import FigureEntry, figures_of
from warmscale.analysis.scaling_captions import scaling_caption
from warmscale.analysis.scaling_cost_figures import communication_figure, target_figure
from warmscale.analysis.scaling_costs import costs_frame, epoch_costs
from warmscale.analysis.scaling_drawing import dodged
from warmscale.analysis.scaling_figures import efficiency_figure, ratio_figure, throughput_figure
from warmscale.analysis.scaling_frames import placements, ratio_frame, throughput_frame, trainings_frame
from warmscale.analysis.scaling_model import with_predictions
from warmscale.analysis.scaling_model_figure import MODEL_ALONE, model_figure
from warmscale.planning.workload import workload
from warmscale.study import load_study

from ..unit.study_builders import read_config
from .conftest import raw_study
from .measured_rows import measured, table_of, throughput_of

WORK = workload("resnet50", 224, 1000, "fp32")
NOTHING = throughput_of((), ())
UNKNOWN = {"engine": None, "zero_stage": None}
"""The table of runs does not say by what they were trained."""
SPEED = {"name": "speed", "kind": "throughput", "nodes": [1, 2], "ranks_per_node": [2], "worker_batch_size": [16, 32]}


def predicted(throughput: pd.DataFrame) -> pd.DataFrame:
    return throughput_frame(with_predictions(placements(throughput), throughput, WORK, "summit-v100"))


def costs() -> pd.DataFrame:
    """Five sizes on 240 ranks and one on 60, three runs each."""
    rows = [
        {"run_id": f"{size}-{ranks}-{seed}", "nodes": ranks // 6, "ranks": ranks, "workers": ranks,
         "mini_batch_size": size, "updates": 1e6 / size, "bytes": 2e8 / size, "epoch_sec": 10 + 1e5 / size + seed}
        for size, ranks in [*((size, 240) for size in (3840, 7680, 15360, 23040, 30720)), (7680, 60)]
        for seed in (1, 2, 3)
    ]  # fmt: skip
    return costs_frame(epoch_costs(pd.DataFrame(rows), "trainings"))


def targets() -> pd.DataFrame:
    """Three sizes, of which the last is not reached by every seed."""
    rows = [
        {"level": f"{size}", "mini_batch_size": size, "seed": seed, "state": "finished",
         "reached": float(size < 30720 or seed > 1), "hours": 2 + seed / 10, "node_hours": 20 + seed, "n": 3,
         "mean": 2.2 if size < 30720 else np.nan, "ci_low": 1.9 if size < 30720 else np.nan, "ci_high": 2.5,
         "node_mean": 22.0 if size < 30720 else np.nan, "node_low": 19.0, "node_high": 25.0}
        for size in (3840, 7680, 30720)
        for seed in (1, 2, 3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


MIXED = pd.concat(
    [throughput_of((1, 2, 10, 40), (16, 32, 64, 96, 128), a_node=6, wider=0.2),
     throughput_of((10, 20, 40), (8,), a_node=6, workers=240)], ignore_index=True,
)  # fmt: skip
NOISY = table_of(
    [measured(nodes, 16, repeat, slower=slower) for nodes in (1, 2) for repeat, slower in ((1, 0.2), (3, 5))]
)
PENDING = throughput_of((1, 2), state="pending", device_name=None, workers_per_pass=None)
TRAINED = pd.concat(
    [throughput_of((10, 40), (16, 32, 64, 96, 128), a_node=6, wider=0.2, data="dataset", **UNKNOWN),
     throughput_of((10, 20, 40), (32, 128), a_node=6, workers=240, wider=0.2, data="dataset", **UNKNOWN)],
    ignore_index=True,
)  # fmt: skip
ONE_PLACE = throughput_of((2,), (16, 32), data="dataset", **UNKNOWN)


def predicted_trainings(rows: pd.DataFrame) -> pd.DataFrame:
    return trainings_frame(with_predictions(placements(rows), rows, WORK, "summit-v100", beside=NOTHING))


DRAWN = {
    "throughput": lambda: throughput_figure(throughput_frame(placements(MIXED)), title="Speed"),
    "efficiency": lambda: efficiency_figure(throughput_frame(placements(MIXED)), title="Speed"),
    "ratio": lambda: ratio_figure(ratio_frame(placements(MIXED)), title="Speed"),
    "model": lambda: model_figure(predicted(MIXED), title="Speed"),
    "noisy throughput": lambda: throughput_figure(throughput_frame(placements(NOISY)), title="Speed"),
    "noisy efficiency": lambda: efficiency_figure(throughput_frame(placements(NOISY)), title="Speed"),
    "model alone": lambda: model_figure(predicted(PENDING), title="Speed"),
    "pending throughput": lambda: throughput_figure(throughput_frame(placements(PENDING)), title="Speed"),
    "trainings": lambda: throughput_figure(trainings_frame(placements(TRAINED)), title="Trainings"),
    "efficiency of trainings": lambda: efficiency_figure(trainings_frame(placements(TRAINED)), title="Trainings"),
    "model of trainings": lambda: model_figure(predicted_trainings(TRAINED), title="Trainings"),
    "communication": lambda: communication_figure(costs(), title="Costs"),
    "target": lambda: target_figure(targets(), names=["mini_batch_size"], metric="top1", target=75.3, title="Target"),
}


def drawn(name: str):
    with style.applied():
        figure = DRAWN[name]()
        figure.draw_without_rendering()
    return figure


def legend_texts(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes if axis.get_legend() for text in axis.get_legend().get_texts()]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_outside_the_sheet_and_no_labels_overlap(name):
    figure = drawn(name)
    sheet = figure.bbox
    for axis in figure.axes:
        boxes = [axis.xaxis.label, axis.yaxis.label, *(axis.get_legend().get_texts() if axis.get_legend() else [])]
        for box in (text.get_window_extent() for text in boxes if text.get_text()):
            assert sheet.x0 <= box.x0 and box.x1 <= sheet.x1 + 1 and sheet.y0 <= box.y0 and box.y1 <= sheet.y1
        if axis.axison:
            assert axis.bbox.width > 0.15 * sheet.width and axis.bbox.height > 0.2 * sheet.height
        labels = [label.get_window_extent() for label in axis.get_xticklabels() if label.get_visible()]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(labels))


@pytest.mark.parametrize("name", DRAWN)
def test_every_axis_with_data_has_two_labelled_ticks_or_more(name):
    for axis in drawn(name).axes:
        if not axis.lines:
            continue
        bottom, top = axis.get_ylim()
        shown = [tick for tick in axis.get_yticks() if bottom <= tick <= top]
        assert len(shown) > 1


def test_every_line_has_its_ideal_dashed_in_its_colour():
    axis = drawn("throughput").axes[0]
    dashed = [line for line in axis.lines if line.get_linewidth() == style.IDEAL_LINE["linewidth"]]
    frame = throughput_frame(placements(MIXED))
    lines = [own["ideal"].tolist() for _, own in frame[frame["ideal"].notna()].groupby("series", sort=False)]
    assert [line.get_ydata().tolist() for line in dashed] == lines
    assert len({tuple(np.ravel(line.get_color())) for line in dashed}) == 6


def test_an_interval_of_many_decades_does_not_stretch_an_axis_of_logs():
    frame = throughput_frame(placements(NOISY))
    assert (frame["ci_low"] < frame["images_per_sec"] / 1000).any()
    bottom, top = drawn("noisy throughput").axes[0].get_ylim()
    assert bottom > frame["images_per_sec"].min() / 4 and top < frame["images_per_sec"].max() * 4


def test_an_efficiency_far_above_the_ideal_is_within_its_axes():
    rows = [measured(nodes, 16, slower=slower) for nodes, slower in ((1, 4.0), (2, 1.0))]
    frame = throughput_frame(placements(table_of(rows)))
    assert frame["efficiency"].max() > 2
    with style.applied():
        axis = efficiency_figure(frame, title="Speed").axes[0]
    assert axis.get_ylim()[1] > 100 * frame["efficiency"].max()


def test_a_missing_measurement_is_a_cross_on_the_ideal_line():
    rows = [*(measured(1, 16, repeat) for repeat in (1, 2)), measured(2, 16, state="failed", device_name=None)]
    frame = throughput_frame(placements(table_of(rows)))
    with style.applied():
        figure = throughput_figure(frame, title="Speed")
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == style.ABSENT_MARK["marker"]]
    assert [line.get_ydata()[0] for line in crosses if len(line.get_xdata())] == frame.loc[
        frame["n"] == 0, "ideal"
    ].tolist()
    assert "no measurement" in legend_texts(figure)


def crosses(axis) -> list:
    return [line for line in axis.lines if line.get_marker() == "x" and line.get_transform() != axis.transData]


@pytest.mark.parametrize(
    ("draw", "make", "x"),
    [(efficiency_figure, throughput_frame, "nodes"), (ratio_figure, ratio_frame, "worker_batch_size")],
)
def test_missing_measurements_are_crosses_at_the_edge_of_shares_and_ratios(draw, make, x):
    lost = [measured(4, 64, repeat, state="failed", device_name=None) for repeat in (1, 2)]
    frame = make(placements(pd.concat([throughput_of((2,), (16, 64)), table_of(lost)], ignore_index=True)))
    with style.applied():
        figure = draw(frame, title="Speed")
    (cross,) = crosses(figure.axes[0])
    assert list(cross.get_xdata()) == pytest.approx([frame.loc[frame["n"] == 0, x].iloc[0]], rel=0.05)
    assert "no measurement" in legend_texts(figure)


def test_the_base_of_the_ideal_is_named_where_the_smallest_placement_failed():
    lost = [measured(1, 16, repeat, a_node=6, state="failed", device_name=None) for repeat in (1, 2)]
    rows = pd.concat([throughput_of((2, 4), (16,), a_node=6), table_of(lost)], ignore_index=True)
    frame = throughput_frame(placements(rows))
    for draw, key in (
        (throughput_figure, "ideal: of the smallest\nmeasured, 12 ranks"),
        (efficiency_figure, "ideal: the smallest\nmeasured, 12 ranks"),
    ):
        with style.applied():
            assert key in legend_texts(draw(frame, title="Speed"))
    assert "smallest measured placement" in scaling_caption(entry_of("efficiency"), frame)


def test_what_was_measured_has_solid_lines():
    for name in ("throughput", "efficiency", "ratio", "trainings", "efficiency of trainings", "communication"):
        for axis in drawn(name).axes:
            styles = {line.get_linestyle() for line in axis.lines if line.get_marker() not in ("none", "None")}
            assert styles <= {"-", "None"}


def test_points_at_one_place_are_not_joined():
    frame = ratio_frame(placements(throughput_of((2,), (16, 64))))
    twice = pd.concat([frame, frame.assign(computation_to_communication=9.0)], ignore_index=True)
    with style.applied():
        lines = [ratio_figure(each, title="Ratio").axes[0].lines[0] for each in (frame, twice)]
    assert [line.get_linestyle() for line in lines] == ["-", "None"]


def test_the_prediction_of_the_preset_is_not_joined_with_calibrated_ones():
    lines = [line for line in drawn("model").axes[0].lines if line.get_linestyle() == "--" and line.get_alpha() is None]
    joined = [len(line.get_xdata()) for line in lines if len(line.get_xdata())]
    frame = predicted(MIXED)
    calibrated = frame[frame["predicted_from"] > 0].groupby("series")["nodes"].nunique()
    assert max(joined) == calibrated.max() == 3
    assert "predicted from the\npreset of the machine" in legend_texts(drawn("model"))


@given(low=st.floats(1e-3, 1e4), wider=st.floats(1.02, 1e4))
def test_round_ticks_are_two_or_more_however_short_the_axis_is(low, wider):
    axis = Figure().subplots()
    axis.set(yscale="log", ylim=(low, low * wider))
    canvas.round_ticks(axis.yaxis)
    ticks = [tick for tick in axis.yaxis.get_majorticklocs() if low <= tick <= low * wider]
    assert len(ticks) > 1


def test_lines_stand_beside_each_other_by_a_little():
    frame = ratio_frame(placements(throughput_of((2, 4, 8), (16, 64))))
    shifts = dodged(frame, "worker_batch_size")["worker_batch_size"] / frame["worker_batch_size"]
    assert shifts.nunique() == 3 and shifts.between(0.95, 1.05).all()


def test_nodes_are_on_the_axis_where_placements_differ_in_them_alone_and_ranks_elsewhere():
    assert drawn("throughput").axes[0].get_xlabel() == "nodes of 6 ranks"
    ranks = table_of([measured(1, 16, repeat, a_node=count) for count in (1, 2) for repeat in (1, 2)])
    with style.applied():
        figure = throughput_figure(throughput_frame(placements(ranks)), title="Speed")
    assert figure.axes[0].get_xlabel() == "ranks"


def test_weak_and_strong_scaling_have_a_panel_each():
    titles = [axis.get_title(loc="left") for axis in drawn("efficiency").axes]
    assert titles == ["weak: the same batch a worker", "strong: the same mini-batch"]
    assert len(drawn("noisy efficiency").axes) == 1


def test_the_ratio_has_a_line_where_both_take_as_long():
    axis = drawn("ratio").axes[0]
    assert any(np.all(np.asarray(line.get_ydata()) == 1) for line in axis.lines)
    bottom, top = axis.get_ylim()
    assert bottom < 1 < top


def test_a_figure_from_the_model_alone_says_so_in_its_title():
    alone, both = drawn("model alone"), drawn("model")
    assert alone.get_suptitle() == f"Speed {MODEL_ALONE}" and both.get_suptitle() == "Speed"
    assert (len(alone.axes), len(both.axes)) == (1, 2)


def test_a_prediction_rests_on_smaller_placements_alone():
    frame = predicted(MIXED)
    for row in frame.to_dict("records"):
        assert row["predicted_from"] == (MIXED["ranks"] < row["ranks"]).sum()
    # what is measured on the largest placement changes nothing that is predicted
    slow = MIXED.assign(step_sec=MIXED["step_sec"].where(MIXED["nodes"] < 40, 99.0))
    pd.testing.assert_series_equal(predicted(slow)["predicted"], frame["predicted"])


def test_predictions_of_a_machine_that_follows_the_model_are_close():
    frame = predicted(throughput_of((1, 2, 4, 8), (32, 64), wider=0.1))
    largest = frame[frame["nodes"] == 8]
    assert (largest["predicted_low"] <= largest["images_per_sec"]).all()
    assert (largest["images_per_sec"] <= largest["predicted_high"]).all()


@pytest.mark.parametrize("said", [{"batchnorm_batch_size": 4}, {"compile": "default"}])
def test_predictions_are_of_the_passes_that_measurements_have(said):
    plain, other = (predicted(throughput_of((2,), (64,), **each)).iloc[0] for each in ({}, said))
    assert plain["predicted_from"] == other["predicted_from"] == 0
    assert other["predicted"] < plain["predicted"]  # more passes, or nothing hidden


def test_a_model_of_unknown_size_is_not_predicted():
    found = with_predictions(placements(MIXED), MIXED, None, None)
    assert found[["predicted", "predicted_low", "predicted_from"]].isna().all(axis=None)


def test_costs_have_a_panel_each_and_one_rank_averages_nothing():
    labels = [axis.get_ylabel() for axis in drawn("communication").axes if axis.axison]
    updates = "all-reduces of all gradients\nan epoch (one an update)"
    assert labels == [updates, "kB a rank sends an epoch", "seconds an epoch"]
    alone = costs_frame(costs().assign(bytes=0.0, ranks=1, nodes=1).drop(columns=["series", "order"]))
    with style.applied():
        figure = communication_figure(alone, title="Costs")
    assert [axis.get_ylabel() for axis in figure.axes] == ["updates an epoch", "seconds an epoch"]


def test_one_rank_has_no_all_reduces_beside_several():
    frame = costs()
    mixed = frame.assign(ranks=frame["ranks"].where(frame["ranks"] > 60, 1))
    with style.applied():
        updates, _, seconds, _ = communication_figure(mixed, title="Costs").axes
    assert [len(line.get_xdata()) for line in updates.lines] == [5]
    assert [len(line.get_xdata()) for line in seconds.lines] == [1, 5]


def test_runs_that_do_not_reach_the_target_are_triangles():
    figure = drawn("target")
    for axis, value in zip(figure.axes, ("hours", "node_hours"), strict=True):
        triangles = [line for line in axis.lines if line.get_marker() == style.NOT_REACHED_MARK["marker"]]
        missed = targets().query("reached == 0")
        assert [list(line.get_ydata()) for line in triangles] == [missed[value].tolist()]
    assert "not reached after\nso long" in legend_texts(figure)


def test_a_run_that_diverged_is_a_cross_at_the_top_and_counted_in_the_caption():
    lost = targets()
    is_lost = lost["mini_batch_size"].eq(30720) & lost["seed"].eq(1)
    lost.loc[is_lost, "state"] = "diverged"
    lost.loc[is_lost, ["hours", "node_hours"]] = np.nan
    lost = lost.assign(reached_of_n=lost["level"].map({"30720": 2}).fillna(3))
    with style.applied():
        figure = target_figure(lost, names=["mini_batch_size"], metric="top1", target=75.3, title="Target")
    for axis in figure.axes:
        (cross,) = [line for line in axis.lines if line.get_marker() == style.DIVERGED_MARK["marker"]]
        assert list(cross.get_xdata()) == [30720] and list(cross.get_ydata()) == [1.0]
        assert cross.get_transform() == axis.get_xaxis_transform()
        assert not [line for line in axis.lines if line.get_marker() == "^"]
    assert {"diverged: never"} < set(legend_texts(figure)) and "not reached after\nso long" not in legend_texts(figure)
    caption = scaling_caption(FigureEntry("target", "time-to-target", "Target"), lost)
    assert "2 of 3 at 30720 (1 diverged)." in caption and "Crosses at the top" in caption


def test_where_all_runs_diverged_the_figure_says_so():
    lost = targets().assign(state="diverged", reached=0.0, hours=np.nan)
    with style.applied():
        figure = target_figure(lost, names=["mini_batch_size"], metric="top1", target=75.3, title="Target")
    assert [text.get_text() for text in figure.axes[0].texts] == ["No run has reached the target: 9 diverged"]


def test_a_mean_until_the_target_is_drawn_only_where_all_reached_it():
    means = [line.get_ydata()[0] for line in drawn("target").axes[0].lines if line.get_marker() == "_"]
    assert means == [2.2, 2.2]


@pytest.mark.parametrize("name", ["throughput", "model", "communication", "target"])
def test_the_same_frame_gives_the_same_bytes(name, tmp_path):
    for stem in ("one", "two"):
        with style.applied():
            canvas.save(DRAWN[name](), tmp_path / stem)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def kinds(raw: dict) -> list[str]:
    return [entry.name for entry in figures_of(load_study(raw))]


def with_speed(**changes: object) -> dict:
    return raw_study() | {"experiments": [{**SPEED, **changes}]}


def test_a_study_of_measurements_alone_has_their_figures_only():
    own = [f"speed-{kind}" for kind in ("throughput", "efficiency", "communication-ratio", "model")]
    assert kinds(with_speed()) == [*own, "communication"]


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"nodes": [2]}, {"speed-throughput", "speed-efficiency"}),
        ({"nodes": [1], "ranks_per_node": [1]}, {"speed-throughput", "speed-efficiency", "speed-communication-ratio"}),
        ({"worker_batch_size": [16]}, {"speed-communication-ratio"}),
        ({"recipe": {"model": "mine:model"}}, {"speed-model"}),
        ({"worker_batch_size": [16], "workers": [4]}, {"speed-communication-ratio", "communication"}),
    ],
)
def test_a_figure_that_would_say_nothing_is_left_out(changes, missing):
    assert set(kinds(with_speed())) - set(kinds(with_speed(**changes))) == missing


def test_without_a_target_nothing_is_until_it():
    assert "sizes-time-to-target" in kinds(raw_study())
    assert "sizes-time-to-target" not in kinds(raw_study() | {"target": None})


def test_the_digits_have_the_comparison_and_what_epochs_and_the_target_cost():
    names = kinds(read_config("digits"))
    assert {"comparison", "communication", "baseline-time-to-target"} <= set(names)


def test_means_of_trainings_are_over_runs_and_stand_filled():
    for name in ("trainings", "efficiency of trainings"):
        axes = drawn(name).axes
        assert any("over runs" in text for text in legend_texts(drawn(name)))
        assert not [text for text in legend_texts(drawn(name)) if "repeats" in text or text == "trainings"]
        faces = [line.get_markerfacecolor() for axis in axes for line in axis.lines if line.get_marker() in "os^Dv"]
        assert faces and "none" not in faces


def test_trainings_stand_hollow_beside_measurements():
    trained = placements(throughput_of((2,), (16,), slower=2.0, data="dataset", **UNKNOWN))
    with style.applied():
        figure = throughput_figure(throughput_frame(placements(throughput_of()), trained), title="Speed")
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "none"]
    assert [list(line.get_xdata()) for line in hollow] == [[2]]
    assert "trainings" in legend_texts(figure) and any("over repeats" in text for text in legend_texts(figure))


@pytest.mark.parametrize(
    ("draw", "make"),
    [
        (throughput_figure, lambda rows: trainings_frame(placements(rows))),
        (efficiency_figure, lambda rows: trainings_frame(placements(rows))),
        (model_figure, predicted_trainings),
    ],
)
def test_trainings_on_one_number_of_ranks_say_that_there_is_nothing_to_compare(draw, make):
    told = [(ONE_PLACE, "All trainings stood on 2 ranks"), (ONE_PLACE.iloc[:0], "No training has finished on one")]
    for rows, said in told:
        with style.applied():
            (axis,) = draw(make(rows), title="Trainings").axes
        assert axis.texts[0].get_text().startswith(said) and not axis.lines


def test_predictions_of_the_preset_alone_look_unlike_calibrated_ones_where_no_line_joins_them():
    rows = throughput_of((10, 40), (16,), a_node=6, data="dataset", **UNKNOWN)
    with style.applied():
        figure = model_figure(predicted_trainings(rows), title="Trainings")
    marks = {line.get_marker(): list(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) == 1}
    assert marks["d"] == [10] and marks["_"] == [40]


def entry_of(kind: str):
    return next(entry for entry in figures_of(load_study(with_speed())) if entry.kind == kind)


def test_captions_of_trainings_name_runs():
    entries = {entry.kind: entry for entry in figures_of(load_study(raw_study())) if entry.name.startswith("trainings")}
    frame = predicted_trainings(TRAINED)
    for kind in ("throughput", "efficiency", "model"):
        text = scaling_caption(entries[kind], frame)
        assert "over runs" in text and "repeats" not in text and text.endswith("n: 3 to 6 runs.")
    assert "from the trainings and measurements on fewer ranks" in scaling_caption(entries["model"], frame)
    said = scaling_caption(entries["efficiency"], trainings_frame(placements(ONE_PLACE)))
    assert said == "All trainings stood on 2 ranks: no two placements to compare."


def test_the_caption_of_costs_says_why_trainings_are_not_compared_by_placement():
    entry = next(entry for entry in figures_of(load_study(raw_study())) if entry.kind == "communication")
    on_one = costs().assign(ranks=1, nodes=1)
    said = "All trainings stood on 1 rank: no two placements to compare. One rank averages nothing."
    assert said in scaling_caption(entry, on_one)
    assert "to compare" not in scaling_caption(entry, costs())
    assert "to compare" not in scaling_caption(entry, on_one.assign(source="measurements"))


def test_captions_name_n_and_the_interval():
    text = scaling_caption(entry_of("throughput"), throughput_frame(placements(MIXED)))
    assert "95 % t-intervals" in text and text.endswith("n: 3 repeats each.")
    one = scaling_caption(entry_of("throughput"), throughput_frame(placements(throughput_of(repeats=1))))
    assert one.endswith("n: 1 repeat each. One alone has no interval.")


def test_the_caption_of_a_model_alone_says_that_nothing_is_measured():
    assert "Nothing is measured yet." in scaling_caption(entry_of("model"), predicted(PENDING))
    assert "Nothing is measured yet." not in scaling_caption(entry_of("model"), predicted(throughput_of()))
