"""Results of others in the cells of a trained study: not trained again, shown and judged beside its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from warmscale.analysis.figures import draw_all
from warmscale.study import StudyError, load_study

from .published_runs import publish
from .test_verdicts import WARMUP, by_warmup, claimed, judge, rows_of

CLAIM = {"kind": "better", **WARMUP, "levels": [2, 0]}


def importing(folder: Path, text: str, *claims: dict, source: str = "runs", **sections: Any) -> dict:
    path = folder / f"{source}.csv"
    path.write_text(text)
    return claimed(*claims, **sections) | {"import": {source: str(path)}}


def lines_of(raw: dict) -> list[str]:
    with pytest.raises(StudyError) as caught:
        load_study(raw)
    return caught.value.lines


THEIRS = "mini_batch_size,warmup_epochs,lr_scaling.rule,seed,top1\n64,2,linear,1,75.5\n64,2,linear,7,75.7\n"


def test_a_run_that_is_imported_is_not_planned(tmp_path):
    plain, filled = load_study(claimed()), load_study(importing(tmp_path, THEIRS))
    gone = [plain.runs[run_id] for run_id in plain.runs.keys() - filled.runs.keys()]
    assert [(run.recipe.warmup_epochs, run.recipe.mini_batch_size, run.seed) for run in gone] == [(2.0, 64, 1)]
    assert set(filled.runs) <= set(plain.runs)


def test_imported_runs_are_points_of_every_experiment_that_has_their_cell(tmp_path):
    study = load_study(importing(tmp_path, THEIRS))
    theirs = [(point.experiment, point.seed) for point in study.points if point.run_id in study.imported]
    assert sorted(theirs) == [("scaling", 1), ("scaling", 7), ("warmup", 1), ("warmup", 7)]


@pytest.fixture
def published(tmp_path):
    """A study with two imported runs, its own published."""
    raw = importing(tmp_path, THEIRS, CLAIM)
    study = load_study(raw)
    for run in study.runs.values():
        publish(tmp_path / "results", run, top1=[by_warmup(run)] * 8)
    return study, tmp_path / "results"


def test_imported_runs_are_judged_and_said_to_be_imported(published):
    study, results = published
    row = judge(study, results)["c1"]
    own = [75.31, 75.12]  # seeds 2 and 3; seed 1 is imported
    assert float(row["estimate"]) == pytest.approx((sum(own) + 75.5 + 75.7) / 4 - (70.0 + 70.41 + 70.22) / 3)
    assert "2 of its runs are imported" in row["note"]


def test_imported_runs_are_marked_in_the_table(published):
    study, results = published
    judge(study, results)
    runs = pd.read_csv(results / "tables/runs.csv")
    theirs = runs[runs["imported"].notna()]
    assert theirs["seed"].tolist() == [1, 7] and theirs["top1"].tolist() == [75.5, 75.7]
    assert set(theirs["state"]) == {"finished"} and set(theirs["mini_batch_size"]) == {64}
    assert set(theirs["experiments"]) == {"warmup;scaling"}


def test_figures_show_them(published):
    from warmscale.analysis.tables import read_tables

    study, results = published
    judge(study, results)
    draw_all(study, read_tables(results / "tables"), results / "figures")
    drawn = pd.read_csv(results / "figures/warmup-final.csv")
    assert drawn.loc[drawn["level"] == 2, "n"].tolist() == [4] * 4


def test_epochs_that_are_imported_are_in_the_table_of_epochs(tmp_path):
    lines = ["mini_batch_size,warmup_epochs,lr_scaling.rule,seed,epoch,top1"]
    lines += [f"64,2,linear,1,{epoch},{70 + epoch}" for epoch in range(1, 9)]
    study = load_study(importing(tmp_path, "\n".join(lines) + "\n", source="epochs"))
    judge(study, tmp_path / "results")
    epochs = pd.read_csv(tmp_path / "results/tables/epochs.csv")
    assert epochs["top1"].tolist() == [70 + epoch for epoch in range(1, 9)]
    runs = pd.read_csv(tmp_path / "results/tables/runs.csv").dropna(subset="imported")
    assert runs["top1"].tolist() == [76.0] and set(runs["metric_rule"]) == {"median_last_5"}


def test_a_summarised_cell_takes_the_place_of_all_its_runs(tmp_path):
    text = "mini_batch_size,warmup_epochs,lr_scaling.rule,n,mean,sd\n64,0,linear,5,70.2,0.3\n"
    raw = importing(tmp_path, text, CLAIM, source="cells")
    study = load_study(raw)
    scaled = [run for run in study.runs.values() if run.scale_factor == 2 and run.recipe.lr_scaling.rule == "linear"]
    assert {run.recipe.warmup_epochs for run in scaled} == {2.0, 4.0}
    for run in study.runs.values():
        publish(tmp_path / "results", run, top1=[by_warmup(run)] * 8)
    row = judge(study, tmp_path / "results")["c1"]
    assert float(row["estimate"]) == pytest.approx((75.0 + 75.31 + 75.12) / 3 - 70.2)
    assert row["verdict"] == "supported"
    assert rows_of(tmp_path / "results/tables/optimum.csv")[0]["n"] == "3"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "mini_batch_size,warmup_epochs,seed,top1\n64,3,1,75\n",
            "mini_batch_size 64, warmup_epochs 3 is no cell of the study: add it to an experiment, or take it out",
        ),
        (
            "mini_batch_size,warmup_epochs,seed,top1\n64,0,1,75\n",
            "mini_batch_size 64, warmup_epochs 0 fits 2 cells: say which by lr_scaling.rule, peak_lr",
        ),
        (
            "mini_batch_size,warmup,seed,top1\n64,2,1,75\n64,4,1,75\n",
            "warmup is no column of runs: did you mean warmup_step? Or take it out",
        ),
    ],
)  # fmt: skip
def test_a_row_that_belongs_to_no_one_cell_is_refused(text, line, tmp_path):
    (found, *_) = lines_of(importing(tmp_path, text))
    assert found.startswith("import: ") and line in found


def test_a_file_that_is_not_there_is_said_in_one_line(tmp_path):
    (line,) = lines_of(claimed() | {"import": {"runs": str(tmp_path / "none.csv")}})
    assert "none.csv does not exist" in line


def test_a_misspelt_column_is_refused_where_it_has_one_value(tmp_path):
    text = "mini_batch_size,warmup_epoch,lr_scaling.rule,seed,top1\n64,2,linear,1,75\n"
    (line,) = lines_of(importing(tmp_path, text))
    assert line.endswith("warmup_epoch is no column of runs: did you mean warmup_epochs? Or take it out")


def test_a_failed_run_of_others_stands_for_nothing(tmp_path):
    text = "mini_batch_size,warmup_epochs,lr_scaling.rule,seed,top1,state\n"
    text += "64,2,linear,1,,failed\n64,2,linear,2,75,finished\n"
    assert len(load_study(importing(tmp_path, text)).runs) == len(load_study(claimed()).runs) - 1


def test_imported_runs_are_not_paired(tmp_path):
    raw = importing(tmp_path, THEIRS, CLAIM | {"paired": True})
    study = load_study(raw)
    for run in study.runs.values():
        publish(tmp_path / "results", run, top1=[by_warmup(run)] * 8)
    row = judge(study, tmp_path / "results")["c1"]
    assert (row["verdict"], row["note"]) == (
        "inconclusive",
        "paired: of imported runs it is not known what those with the same seed share",
    )


def test_an_imported_summary_is_found_by_its_recipe_and_said_to_be_imported(tmp_path):
    text = "mini_batch_size,warmup_epochs,lr_scaling.rule,n,mean,sd\n64,0,linear,5,70.2,0.3\n"
    filters = {"a": {"warmup_epochs": 2, "mini_batch_size": 64}, "b": {"warmup_epochs": 0, "mini_batch_size": 64}}
    by_filters = {"kind": "better", **filters, "experiment": "warmup"}
    study = load_study(importing(tmp_path, text, CLAIM, by_filters, source="cells"))
    for run in study.runs.values():
        publish(tmp_path / "results", run, top1=[by_warmup(run)] * 8)
    rows = judge(study, tmp_path / "results")
    assert rows["c1"]["estimate"] == rows["c2"]["estimate"] and rows["c2"]["verdict"] == "supported"
    assert rows["c1"]["note"].startswith("1 of its runs are imported") and "differs" not in rows["c1"]["note"]


def test_runs_and_a_summary_of_one_cell_are_refused(tmp_path):
    head = "mini_batch_size,warmup_epochs,lr_scaling.rule"
    raw = importing(tmp_path, f"{head},n,mean,sd\n64,0,linear,5,70.2,0.3\n", source="cells")
    (tmp_path / "runs.csv").write_text(f"{head},seed,top1\n64,0,linear,9,70\n")
    (line,) = lines_of(raw | {"import": raw["import"] | {"runs": str(tmp_path / "runs.csv")}})
    assert "has single runs and a summary: keep one" in line
