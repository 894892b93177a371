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
    assert "mean of 7 cells" in rows["c3"]["note"]
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
