"""Other people's results through the same tables, verdicts and figures."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from warmscale.analysis.catalogue import figures_of
from warmscale.analysis.figures import draw_all, figure_frame
from warmscale.analysis.tables import Tables, make_tables, read_tables
from warmscale.analysis.verdicts import make_verdicts
from warmscale.replay import ReplayError
from warmscale.study import Study, load_study

ROOT = Path(__file__).parents[2]
HEADER = "mini_batch_size,warmup_epochs,seed,top1,device_name"


def analysed(raw: dict, results: Path) -> tuple[Study, Tables, dict[str, dict[str, str]]]:
    """The study, its tables and {claim: its row}."""
    study = load_study(raw)
    make_tables(study, results)
    tables = read_tables(results / "tables")
    make_verdicts(study, tables, results)
    with (results / "tables/claims.csv").open(newline="") as file:
        return study, tables, {row["claim"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def goyal(tmp_path_factory) -> tuple[Study, Tables, dict[str, dict[str, str]]]:
    raw = yaml.safe_load((ROOT / "config/replay/goyal2017.yaml").read_text())
    raw["replay"]["cells"] = str(ROOT / raw["replay"]["cells"])
    return analysed(raw, tmp_path_factory.mktemp("goyal"))


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("no-warmup-8k", "supported"),
        ("constant-warmup-8k", "supported"),
        ("16k-against-256", "supported"),
        ("8k-as-256", "supported"),
        ("8k-as-256-closer", "inconclusive"),
        ("linear-against-sqrt", "supported"),
        ("linear-against-none", "supported"),
    ],
)
def test_the_published_results_of_goyal_have_these_verdicts(goyal, claim, verdict):
    row = goyal[2][claim]
    assert (row["verdict"], row["n"], row["looks"]) == (verdict, "5", "1")


def test_an_equivalence_at_95_percent_is_decided_by_a_90_percent_interval(goyal):
    row = goyal[2]["8k-as-256"]
    # means 23.74 and 23.60, sds 0.09 and 0.12, five runs each: Welch's df 7.4, t(0.95) 1.88
    assert (float(row["decision_ci_low"]), float(row["decision_ci_high"])) == pytest.approx((0.014, 0.266), abs=0.002)


def test_summaries_are_drawn_as_means_without_seeds(goyal, tmp_path):
    study, tables, _ = goyal
    (entry,) = [entry for entry in figures_of(study) if entry.name == "mini-batch-final"]
    frame = figure_frame(entry, study, tables)
    assert frame["mean"].notna().all() and frame["error"].isna().all() and set(frame["n"]) == {5}
    draw_all(study, tables, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".svg", ".png", ".pdf", ".csv"}


def runs_file(folder: Path, *, noise: float = 0.1) -> Path:
    """Three seeds at two sizes and seven warmups; the best is 4 epochs at 256 and 8 at 1,024: an exponent of a half."""
    lines = [HEADER]
    for size, best in ((256, 4), (1024, 8)):
        for warmup in (0, 1, 2, 4, 8, 16, 32):
            fall = abs(([0, 1, 2, 4, 8, 16, 32].index(warmup)) - [0, 1, 2, 4, 8, 16, 32].index(best))
            for seed in (1, 2, 3):
                top1 = 76 - 2.0 * fall - noise * (seed - 2) - (1 if size > 256 else 0)
                lines.append(f"{size},{warmup},{seed},{top1:.3f},V100")
    path = folder / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def of_runs(folder: Path, *claims: dict, **changed: Any) -> dict:
    entries = [{"id": f"c{index}", "statement": "It is so."} | claim for index, claim in enumerate(claims, start=1)]
    experiments = [
        {"name": "small", "where": {"mini_batch_size": 256}},
        {"name": "large", "where": {"mini_batch_size": [1024]}},
        {"name": "four", "where": {"warmup_epochs": 4}, "figures": ["final", "curves"]},
    ]
    replay = {"runs": str(folder / "*.csv"), "num_train_images": 25600}
    return {"study": "theirs", "replay": replay, "experiments": experiments, "claims": entries} | changed


def test_runs_of_others_are_judged_as_our_own(tmp_path):
    runs_file(tmp_path)
    claims = [
        {"kind": "best", "experiment": "small", "factor": "warmup_epochs", "level": 4},
        {"kind": "decreasing", "experiment": "four", "factor": "mini_batch_size"},
        {"kind": "better", "a": {"mini_batch_size": 256}, "b": {"mini_batch_size": 1024}},
        {"kind": "exponent", "experiments": ["small", "large"], "range": [-1, 2]},
    ]
    _, tables, rows = analysed(of_runs(tmp_path, *claims), tmp_path / "results")
    assert [rows[f"c{number}"]["verdict"] for number in (1, 2)] == ["supported", "supported"]
    assert "a is the mean of 7 cells" in rows["c3"]["note"]
    assert len(tables.runs) == 42 and set(tables.runs["state"]) == {"finished"}
    assert set(tables.runs["experiments"]) == {"small", "large", "small;four", "large;four"}


def test_optima_of_others_are_in_steps_where_the_images_are_told(tmp_path):
    runs_file(tmp_path, noise=0.02)
    _, _, rows = analysed(of_runs(tmp_path), tmp_path / "results")
    optimum = pd.read_csv(tmp_path / "results/tables/optimum.csv")
    small = optimum[optimum["experiment"] == "small"].iloc[0]
    assert (small["best_level"], small["bracketed"]) == (4, "yes")
    assert small["optimum_steps"] == pytest.approx(small["optimum"] * 100)
    assert not rows


def test_runs_without_epochs_have_no_curves(tmp_path):
    runs_file(tmp_path)
    study = load_study(of_runs(tmp_path))
    assert [entry.name for entry in figures_of(study)] == ["small-final", "large-final", "four-final"]


def test_epochs_have_curves_and_their_metric_rule(tmp_path):
    lines = ["lr,seed,epoch,top1"]
    lines += [
        f"{lr},{seed},{epoch},{60 + epoch + seed + 10 * lr}"
        for lr in (0.1, 0.2)
        for seed in (1, 2)
        for epoch in range(1, 8)
    ]
    (tmp_path / "epochs.csv").write_text("\n".join(lines) + "\n")
    raw = {"study": "curves", "replay": {"epochs": str(tmp_path / "epochs.csv")}, "metric": {"of_run": "last"}}
    raw["experiments"] = [{"name": "rates", "figures": ["curves", "final"]}]
    study, tables, _ = analysed(raw, tmp_path / "results")
    assert tables.runs["top1"].max() == 60 + 7 + 2 + 2 and set(tables.runs["metric_rule"]) == {"last"}
    frame = figure_frame(figures_of(study)[0], study, tables)
    assert len(frame) == 28 and frame["measured"].all()
    draw_all(study, tables, tmp_path / "figures")


def test_a_diverged_run_of_others_makes_it_a_rank_test(tmp_path):
    lines = ["rule,seed,top1,state"] + [f"linear,{seed},{76 + seed / 10},finished" for seed in range(1, 6)]
    lines += [f"none,{seed},{70 + seed / 10},finished" for seed in range(1, 5)] + ["none,5,,diverged"]
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n")
    claim = {"id": "c", "statement": "", "kind": "better", "a": {"rule": "linear"}, "b": {"rule": "none"}}
    raw = {"study": "theirs", "replay": {"runs": str(tmp_path / "runs.csv")}, "claims": [claim]}
    row = analysed(raw, tmp_path / "results")[2]["c"]
    assert (row["estimand"], row["diverged"], row["verdict"]) == ("P(a better than b)", "1", "supported")


def test_a_summary_with_divergence_cannot_be_ranked_and_decides_nothing(tmp_path):
    (tmp_path / "cells.csv").write_text("rule,n,mean,sd,diverged\nlinear,5,76,0.1,0\nnone,4,70,0.1,1\n")
    claim = {"id": "c", "statement": "", "kind": "better", "a": {"rule": "linear"}, "b": {"rule": "none"}}
    raw = {"study": "theirs", "replay": {"cells": str(tmp_path / "cells.csv")}, "claims": [claim]}
    row = analysed(raw, tmp_path / "results")[2]["c"]
    assert row["verdict"] == "inconclusive" and "no rank test is possible" in row["note"]


def test_an_sd_of_zero_borrows_the_spread_of_the_others(tmp_path):
    (tmp_path / "cells.csv").write_text("rule,n,mean,sd\nlinear,5,76,0\nnone,5,70,0.1\nsqrt,5,71,0.1\n")
    claim = {"id": "c", "statement": "", "kind": "better", "a": {"rule": "linear"}, "b": {"rule": "none"}}
    raw = {"study": "theirs", "replay": {"cells": str(tmp_path / "cells.csv")}, "claims": [claim]}
    row = analysed(raw, tmp_path / "results")[2]["c"]
    assert row["verdict"] == "supported" and "pooled spread" in row["note"]


def test_a_level_that_no_row_has_is_not_run(tmp_path):
    runs_file(tmp_path)
    claim = {"kind": "best", "experiment": "small", "factor": "warmup_epochs", "level": 5}
    row = analysed(of_runs(tmp_path, claim), tmp_path / "results")[2]["c1"]
    assert (row["verdict"], row["note"]) == ("not_run", "no row of small has warmup_epochs 5")


def test_what_is_wrong_with_the_files_is_said_in_lines(tmp_path):
    (tmp_path / "runs.csv").write_text("lr,seed,top1\n0.1,1,abc\n0.1,1\n")
    raw = {"study": "theirs", "replay": {"runs": str(tmp_path / "runs.csv")}}
    with pytest.raises(ReplayError) as caught:
        analysed(raw, tmp_path / "results")
    assert caught.value.lines == [f"{tmp_path / 'runs.csv'}, row 3: has 2 fields, the header has 3"]


def judged_rows(folder: Path, lines: list[str], *claims: dict, **changed: Any) -> dict[str, dict[str, str]]:
    """{claim: its row} of a study that replays these rows."""
    (folder / "runs.csv").write_text("\n".join(lines) + "\n")
    entries = [{"id": f"c{index}", "statement": ""} | claim for index, claim in enumerate(claims, start=1)]
    raw = {"study": "theirs", "replay": {"runs": str(folder / "runs.csv")}, "claims": entries, "familywise": "none"}
    return analysed(raw | changed, folder / "results")[2]


WORDS = [
    f"{rule},{seed},{value + seed / 10}"
    for rule, value in (("ten", 77), ("none", 75), ("five", 76))
    for seed in (1, 2, 3)
]


def test_a_trend_over_words_needs_their_order(tmp_path):
    trend = {"kind": "increasing", "experiment": "all", "factor": "warmup"}
    claims = (trend, trend | {"levels": ["none", "five", "ten"]})
    for lines in (WORDS, WORDS[::-1]):
        rows = judged_rows(tmp_path, ["warmup,seed,top1", *lines], *claims)
        assert (rows["c1"]["verdict"], rows["c2"]["verdict"]) == ("inconclusive", "supported")
        assert "write `levels` in their order" in rows["c1"]["note"]


def test_filters_compare_what_both_sides_have(tmp_path):
    lines = ["batch,warmup,seed,top1"]
    for batch, warmup, value in ((256, 0, 76), (256, 5, 76), (1024, 0, 75), (1024, 5, 75), (8192, 5, 70)):
        lines += [f"{batch},{warmup},{seed},{value + seed / 10}" for seed in (1, 2, 3)]
    claim = {"kind": "better", "a": {"warmup": 0}, "b": {"warmup": 5}}
    row = judged_rows(tmp_path, lines, claim)["c1"]
    assert (row["verdict"], float(row["estimate"])) == ("inconclusive", pytest.approx(0, abs=1e-9))
    assert "left out: 1 x cell that not all sides have" in row["note"]


def test_rows_that_no_experiment_shows_can_be_claimed_about(tmp_path):
    lines = ["batch,rule,seed,top1"]
    lines += [
        f"{batch},{rule},{seed},{70 + (rule == 'linear') + seed / 10}"
        for batch in (1, 2)
        for rule in ("linear", "none")
        for seed in (1, 2, 3)
    ]
    claim = {"kind": "better", "a": {"batch": 2, "rule": "linear"}, "b": {"batch": 2, "rule": "none"}}
    row = judged_rows(tmp_path, lines, claim, experiments=[{"name": "one", "where": {"batch": 1}}])["c1"]
    assert (row["verdict"], row["n"]) == ("supported", "3")


def test_an_experiment_that_selects_nothing_is_a_line(tmp_path):
    with pytest.raises(ReplayError) as caught:
        judged_rows(tmp_path, ["warmup,seed,top1", *WORDS], experiments=[{"name": "one", "where": {"warmup": "Ten"}}])
    assert caught.value.lines == ["experiments.one.where: {'warmup': 'Ten'} selects no row"]


def test_the_spread_that_stands_in_is_not_diluted_by_equal_runs(tmp_path):
    cells = [
        f"{rule},5,{mean},{sd}" for rule, mean, sd in (("a", 76.06, 0), ("b", 76, 0), ("c", 76, 0), ("d", 70, 0.1))
    ]
    (tmp_path / "cells.csv").write_text("\n".join(["rule,n,mean,sd", *cells]) + "\n")
    claim = {"id": "c", "statement": "", "kind": "better", "a": {"rule": "a"}, "b": {"rule": "b"}}
    raw = {"study": "theirs", "replay": {"cells": str(tmp_path / "cells.csv")}, "claims": [claim]}
    row = analysed(raw, tmp_path / "results")[2]["c"]
    assert row["verdict"] == "inconclusive" and "0.1" in row["note"]


def test_values_that_were_corrected_are_no_look_and_runs_that_joined_are(tmp_path):
    claim = {"kind": "better", "a": {"warmup": "ten"}, "b": {"warmup": "none"}}
    first = judged_rows(tmp_path, ["warmup,seed,top1", *WORDS], claim)["c1"]
    corrected = judged_rows(tmp_path, ["warmup,seed,top1", *WORDS[1:], "ten,1,60.0"], claim)["c1"]
    more = judged_rows(tmp_path, ["warmup,seed,top1", *WORDS, "ten,4,77.4"], claim)["c1"]
    again = judged_rows(tmp_path, ["warmup,seed,top1", *WORDS], claim)["c1"]
    assert [row["looks"] for row in (first, corrected, more, again)] == ["1", "1", "2", "1"]
    assert corrected["verdict"] == "inconclusive" and "taken as a correction" in corrected["note"]
    assert "all looks are spent" in more["note"]


def test_a_claim_that_was_rewritten_says_so(tmp_path):
    claim = {"kind": "equivalent", "a": {"warmup": "ten"}, "b": {"warmup": "five"}, "margin": 0.5}
    judged_rows(tmp_path, ["warmup,seed,top1", *WORDS], claim)
    row = judged_rows(tmp_path, ["warmup,seed,top1", *WORDS], claim | {"margin": 9.0})["c1"]
    assert row["note"] == "it said something else at an earlier look"


@pytest.mark.parametrize("text", ["garbage", "claim,look\na,b\n", ""])
def test_a_damaged_file_of_looks_is_one_line(tmp_path, text):
    from warmscale.analysis.looks import LooksError

    (tmp_path / "results").mkdir()
    (tmp_path / "results/looks.csv").write_text(text)
    with pytest.raises(LooksError, match=r"looks\.csv: is not the table of looks"):
        judged_rows(tmp_path, ["warmup,seed,top1", *WORDS], {"kind": "above", "a": {"warmup": "ten"}, "value": 1})


def test_an_empty_level_can_be_named(tmp_path):
    lines = ["batch,clip,seed,top1"] + [f"1,,{seed},{70 + seed / 10}" for seed in (1, 2, 3)]
    lines += [f"1,5,{seed},{75 + seed / 10}" for seed in (1, 2, 3)]
    claim = {"kind": "better", "experiment": "all", "factor": "clip", "levels": [5, None]}
    assert judged_rows(tmp_path, lines, claim)["c1"]["verdict"] == "supported"


def test_exponents_of_curves_that_differ_in_more_say_so(tmp_path):
    lines = ["batch,warmup,optimizer,seed,top1"]
    for batch, name in ((256, "sgd"), (1024, "lars")):
        lines += [
            f"{batch},{w},{name},{seed},{76 - abs(w - 4) / 4 + seed / 20}"
            for w in (0, 1, 2, 4, 8, 16)
            for seed in (1, 2, 3)
        ]
    experiments = [{"name": f"b{batch}", "where": {"batch": batch}} for batch in (256, 1024)]
    claim = {"kind": "exponent", "experiments": ["b256", "b1024"], "factor": "warmup", "of": "batch", "value": 0}
    assert (
        "along with batch differs: optimizer"
        in judged_rows(tmp_path, lines, claim, experiments=experiments)["c1"]["note"]
    )
