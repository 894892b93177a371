"""Claims tested on the tables of a study: which rows they compare, what is said of them, and how often one looked."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from warmscale.analysis.tables import make_tables, read_tables
from warmscale.analysis.verdicts import CLAIM_COLUMNS, make_verdicts
from warmscale.study import Study, load_study

from .conftest import raw_study
from .published_runs import publish

WARMUP = {"experiment": "warmup", "factor": "warmup_epochs"}
BY_WARMUP = {0: (70.0, 70.4, 70.2), 2: (75.0, 75.3, 75.1), 4: (73.0, 73.2, 73.4)}


def claimed(*claims: dict, **sections: Any) -> dict:
    """The small study with claims, each called by its place: c1, c2."""
    entries = [{"id": f"c{index}", "statement": "It is so."} | claim for index, claim in enumerate(claims, start=1)]
    return raw_study() | {"claims": entries, "familywise": "none", "max_looks": 1} | sections


def by_warmup(run) -> float:
    """Accuracy by warmup epochs and seed; runs without scaling are 20 worse."""
    values = BY_WARMUP[int(run.recipe.warmup_epochs)]
    value = values[(run.seed - 1) % 3] + 0.01 * (run.seed - 1)
    return value - (20 if run.recipe.lr_scaling.rule == "none" else 0)


def judged(
    raw: dict, results: Path, top1: Callable = by_warmup, states: dict[str, str] | None = None, **changed: Any
) -> dict[str, dict[str, str]]:
    """{claim: its row} after publishing every run; states: {run_id: state} of the others."""
    study = load_study(raw)
    for run in study.runs.values():
        state = (states or {}).get(run.run_id, "finished")
        if state != "pending" and not (results / "runs" / run.run_id).exists():
            publish(results, run, state, [top1(run)] * 8, **changed)
    return judge(study, results)


def judge(study: Study, results: Path) -> dict[str, dict[str, str]]:
    make_tables(study, results)
    make_verdicts(study, read_tables(results / "tables"), results)
    return {row["claim"]: row for row in rows_of(results / "tables/claims.csv")}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def ids(raw: dict, **levels: Any) -> list[str]:
    """Runs of the study with these values."""
    runs = load_study(raw).runs.values()
    return [run.run_id for run in runs if levels.items() <= run.columns().items()]


def test_claims_are_rows_with_the_columns_that_are_promised(tmp_path):
    judged(claimed({"kind": "increasing", **WARMUP}), tmp_path)
    with (tmp_path / "tables/claims.csv").open() as file:
        assert tuple(next(csv.reader(file))) == CLAIM_COLUMNS


def test_a_difference_of_two_levels_has_welchs_interval(tmp_path):
    row = judged(claimed({"kind": "better", **WARMUP, "levels": [2, 0]}), tmp_path)["c1"]
    a, b = ([by_warmup_at(level, seed) for seed in (1, 2, 3)] for level in (2, 0))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert float(row["estimate"]) == pytest.approx(sum(a) / 3 - sum(b) / 3)
    assert (float(row["ci_low"]), float(row["ci_high"])) == pytest.approx((expected.low, expected.high))
    assert (row["verdict"], row["n"], row["diverged"]) == ("supported", "3", "0")


def by_warmup_at(level: int, seed: int) -> float:
    return BY_WARMUP[level][seed - 1] + 0.01 * (seed - 1)


def test_levels_and_filters_choose_the_same_rows(tmp_path):
    pair = {"workers": 2, "lr_scaling.rule": "linear"}
    claims = [
        {"kind": "better", **WARMUP, "levels": [2, 0]},
        {"kind": "better", "a": {"warmup_epochs": 2, **pair}, "b": {"warmup_epochs": [0], **pair}},
        {"kind": "better", "experiment": "warmup", "a": {"warmup_epochs": 2}, "b": {"warmup_epochs": 0}},
    ]
    rows = judged(claimed(*claims), tmp_path)
    assert len({tuple(row[name] for name in ("estimate", "ci_low", "p_support", "n")) for row in rows.values()}) == 1


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ({"kind": "best", **WARMUP, "level": 2}, "supported"),
        ({"kind": "best", **WARMUP, "level": 4}, "refuted"),
        ({"kind": "worst", **WARMUP, "level": 0}, "supported"),
        ({"kind": "worst", **WARMUP, "level": 2}, "refuted"),
        ({"kind": "better", **WARMUP, "levels": [0, 2]}, "refuted"),
        ({"kind": "better", **WARMUP, "levels": [2, 4], "margin": 1.0}, "supported"),
        ({"kind": "better", **WARMUP, "levels": [2, 4], "margin": 3.0}, "refuted"),
        ({"kind": "equivalent", **WARMUP, "levels": [2, 4], "margin": 1.0}, "refuted"),
        ({"kind": "equivalent", **WARMUP, "levels": [2, 4], "margin": 5.0}, "supported"),
        ({"kind": "equivalent", **WARMUP, "levels": [2, 4], "margin": 2.0}, "inconclusive"),
        ({"kind": "increasing", **WARMUP, "levels": [0, 2]}, "supported"),
        ({"kind": "decreasing", **WARMUP, "levels": [0, 2]}, "refuted"),
        ({"kind": "increasing", **WARMUP}, "inconclusive"),
        ({"kind": "increasing", **WARMUP, "strict": True}, "refuted"),
        ({"kind": "above", **WARMUP, "level": 2, "value": 74}, "supported"),
        ({"kind": "below", **WARMUP, "level": 2, "value": 74}, "refuted"),
        ({"kind": "below", "a": {"warmup_epochs": 4}, "value": 75.3}, "supported"),
        ({"kind": "better", **WARMUP, "levels": [2, 0], "paired": True}, "supported"),
        ({"kind": "equivalent", **WARMUP, "levels": [2, 4], "margin": 5.0, "paired": True}, "supported"),
    ],
)  # fmt: skip
def test_kinds_of_claims(claim, verdict, tmp_path):
    assert judged(claimed(claim), tmp_path)["c1"]["verdict"] == verdict


def test_a_smaller_error_is_better(tmp_path):
    claim = {"kind": "better", **WARMUP, "levels": [2, 0], "metric": {"name": "node_hours", "goal": "minimize"}}
    study = load_study(claimed(claim))
    for run in study.runs.values():
        publish(tmp_path, run, top1=[75.0] * 8, node_hours=2.0 - 0.5 * run.recipe.warmup_epochs + 0.01 * run.seed)
    row = judge(study, tmp_path)["c1"]
    assert (row["verdict"], row["metric"], float(row["estimate"])) == ("supported", "node_hours", pytest.approx(-1.0))


def test_one_run_a_cell_decides_nothing_and_is_no_look(tmp_path):
    row = judged(claimed({"kind": "better", **WARMUP, "levels": [2, 0]}, seeds=1), tmp_path)["c1"]
    assert (row["verdict"], row["n"], row["p_support"], row["looks"]) == ("inconclusive", "1", "", "0")
    assert float(row["estimate"]) == pytest.approx(5.0)
    assert "fewer than two runs decide nothing" in row["note"]
    assert rows_of(tmp_path / "looks.csv") == []


def test_a_claim_whose_runs_have_not_all_ended_is_not_run(tmp_path):
    raw = claimed({"kind": "better", **WARMUP, "levels": [2, 0]}, {"kind": "best", **WARMUP, "level": 2})
    waiting = {ids(raw, warmup_epochs=4.0)[0]: "pending"}
    rows = judged(raw, tmp_path, states=waiting)
    assert rows["c1"]["verdict"] == "supported"
    assert (rows["c2"]["verdict"], rows["c2"]["looks"], rows["c2"]["estimate"]) == ("not_run", "0", "")
    assert rows["c2"]["note"] == "1 of 3 runs have not ended"


def test_a_failed_run_is_left_out_and_said_to_be(tmp_path):
    raw = claimed({"kind": "better", **WARMUP, "levels": [2, 0]})
    failed = {ids(raw, warmup_epochs=0.0, mini_batch_size=64, **{"lr_scaling.rule": "linear"})[0]: "failed"}
    row = judged(raw, tmp_path, states=failed)["c1"]
    assert (row["n"], row["verdict"]) == ("2", "supported")
    assert "left out: 1 x failed run" in row["note"]


def test_a_metric_that_no_run_has_is_not_run(tmp_path):
    claim = {"kind": "increasing", **WARMUP, "metric": {"name": "computation_to_communication"}}
    row = judged(claimed(claim), tmp_path)["c1"]
    assert (row["verdict"], row["note"]) == ("not_run", "no row has a column computation_to_communication")


def test_a_diverged_run_makes_it_a_rank_test(tmp_path):
    raw = claimed({"kind": "better", **WARMUP, "levels": [2, 0]}, seeds=6)
    diverged = {ids(raw, warmup_epochs=0.0, mini_batch_size=64, **{"lr_scaling.rule": "linear"})[0]: "diverged"}
    row = judged(raw, tmp_path, states=diverged)["c1"]
    assert (row["estimand"], float(row["estimate"]), row["diverged"]) == ("P(a better than b)", 1.0, "1")
    assert float(row["p_support"]) == pytest.approx(2**-6)
    assert "rank test" in row["note"] and "given convergence: difference 4.89" in row["note"]


def test_device_types_that_are_mixed_are_named(tmp_path):
    study = load_study(claimed({"kind": "better", **WARMUP, "levels": [2, 0]}))
    for run in study.runs.values():
        publish(tmp_path, run, top1=[by_warmup(run)] * 8, device_name="V100" if run.seed < 3 else "H200")
    assert "device types mixed: V100 (4 runs), H200 (2 runs)" in judge(study, tmp_path)["c1"]["note"]


def test_what_differs_along_with_the_factor_is_named(tmp_path):
    claim = {"kind": "better", "experiment": "sizes", "factor": "mini_batch_size", "levels": [64, 128]}
    note = judged(claimed(claim), tmp_path)["c1"]["note"]
    assert "along with mini-batch size differs: workers 2, 4" in note


def two_factors(*claims: dict) -> dict:
    """Scaling and warmup, each at two levels that make a difference to the schedule."""
    raw = claimed(*claims)
    raw["experiments"][2]["grid"] = {"lr_scaling.rule": ["linear", "sqrt"], "warmup_epochs": [2, 4]}
    return raw


def twenty_less(run) -> float:
    return by_warmup(run) - (20 if run.recipe.lr_scaling.rule == "sqrt" else 0)


SCALING = {"experiment": "scaling", "factor": "lr_scaling.rule"}


def test_levels_are_compared_where_all_else_is_the_same(tmp_path):
    row = judged(two_factors({"kind": "better", **SCALING, "levels": ["linear", "sqrt"]}), tmp_path, twenty_less)["c1"]
    assert float(row["estimate"]) == pytest.approx(20.0)
    assert "linear is the mean of 2 cells (2; 4); sqrt is the mean of 2 cells (2; 4)" in row["note"]


def test_a_run_is_not_compared_with_itself(tmp_path):
    # without scaling there is nothing to warm up to: 0 and 2 epochs are the same schedule, so the same runs
    row = judged(claimed({"kind": "better", **SCALING, "levels": ["linear", "none"]}), tmp_path)["c1"]
    assert (row["verdict"], row["note"]) == ("inconclusive", "3 of its runs stand in several cells: they are the same")


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ({"kind": "best", "experiment": "scaling", "factor": "warmup_epochs", "level": 2}, "supported"),
        ({"kind": "worst", "experiment": "scaling", "factor": "warmup_epochs", "level": 2}, "refuted"),
        ({"kind": "decreasing", "experiment": "scaling", "factor": "warmup_epochs"}, "supported"),
        ({"kind": "decreasing", "experiment": "scaling", "factor": "warmup_epochs", "strict": True}, "supported"),
    ],
)
def test_a_level_with_several_cells_is_their_mean(tmp_path, claim, verdict):
    row = judged(two_factors(claim), tmp_path, twenty_less)["c1"]
    assert row["verdict"] == verdict and "is the mean of 2 cells" in row["note"]
    assert abs(float(row["estimate"])) == pytest.approx(75.14 + 0.01 - 73.2 - 0.01, abs=0.02)


def test_holm_shares_the_risk_over_all_claims(tmp_path):
    claims = [{"kind": "better", **WARMUP, "levels": [2, 0]}, *[{"kind": "better", **WARMUP, "levels": [4, 2]}] * 3]
    alone, shared = (judged(claimed(*claims, familywise=rule), tmp_path / rule)["c1"] for rule in ("none", "holm"))
    assert float(alone["p_support_adjusted"]) == pytest.approx(float(alone["p_support"]))
    assert float(shared["p_support_adjusted"]) == pytest.approx(4 * float(shared["p_support"]))


def test_a_decision_interval_excludes_the_bound_where_the_verdict_is_reached(tmp_path):
    bounds = [70.0 + 0.25 * step for step in range(29)]
    claims = [{"kind": "above", **WARMUP, "level": 4, "value": value} for value in bounds]
    rows = judged(claimed(*claims, familywise="holm", max_looks=3), tmp_path)
    for value, row in zip(bounds, rows.values(), strict=True):
        assert (row["verdict"] == "supported") == (float(row["decision_ci_low"]) > value)
        assert (row["verdict"] == "refuted") == (float(row["decision_ci_high"]) < value)


def test_seeds_needed_is_empty_where_settled_and_bounded_elsewhere(tmp_path):
    claims = [
        {"kind": "better", **WARMUP, "levels": [2, 0]},
        {"kind": "equivalent", **WARMUP, "levels": [2, 4], "margin": 2.0},
    ]
    rows = judged(claimed(*claims, smallest_effect=0.5), tmp_path / "some")
    assert rows["c1"]["seeds_needed"] == ""
    assert 2 <= int(rows["c2"]["seeds_needed"]) <= 16
    few = judged(claimed(*claims, smallest_effect=0.01, max_seeds=5), tmp_path / "few")
    assert few["c2"]["seeds_needed"] == "" or few["c2"]["seeds_needed"] == ">5"


def test_a_look_is_counted_when_the_data_have_changed_and_only_then(tmp_path):
    def raw(seeds: int) -> dict:
        return claimed({"kind": "better", **WARMUP, "levels": [2, 0]}, seeds=seeds, max_looks=3)

    assert [judged(raw(seeds), tmp_path)["c1"]["looks"] for seeds in (3, 3, 4)] == ["1", "1", "2"]
    looks = rows_of(tmp_path / "looks.csv")
    assert [(look["look"], look["n"], look["verdict"]) for look in looks] == [
        ("1", "3", "supported"),
        ("2", "4", "supported"),
    ]
    assert len({look["data"] for look in looks}) == 2


def test_an_edited_statement_is_no_look(tmp_path):
    claim = {"kind": "better", **WARMUP, "levels": [2, 0]}
    judged(claimed(claim), tmp_path)
    assert judged(claimed(claim | {"statement": "Or so."}), tmp_path)["c1"]["looks"] == "1"


def test_each_look_has_its_share_of_the_risk(tmp_path):
    claim = {"kind": "better", **WARMUP, "levels": [2, 0]}
    row = judged(claimed(claim, max_looks=3), tmp_path)["c1"]
    assert float(row["p_support_adjusted"]) == pytest.approx(3 * float(row["p_support"]))


def test_after_the_last_look_its_verdict_stands(tmp_path):
    def verdict(seeds: int, top1: Callable) -> tuple[str, str, str]:
        row = judged(claimed({"kind": "better", **WARMUP, "levels": [2, 0]}, seeds=seeds, max_looks=2), tmp_path, top1)[
            "c1"
        ]
        return row["verdict"], row["looks"], row["note"]

    def close(run) -> float:
        return 70.0 + run.seed % 2

    assert verdict(2, close)[:2] == ("inconclusive", "1")
    assert verdict(3, close)[:2] == ("inconclusive", "2")
    # a third look, at data that would support it alone
    found = verdict(12, lambda run: 99.0 + 0.1 * run.seed if run.recipe.warmup_epochs else 1.0 + 0.1 * run.seed)
    assert found[:2] == ("inconclusive", "3")
    assert "all looks are spent" in found[2]


def test_an_exponent_of_the_posters_kind_of_grid_is_refused(tmp_path):
    claim = {"kind": "exponent", "experiments": ["warmup"], "value": 0.5}
    row = judged(claimed(claim), tmp_path)["c1"]
    assert row["verdict"] == "inconclusive" and row["estimate"] == ""
    (exponent,) = rows_of(tmp_path / "tables/exponent.csv")
    assert exponent["refused"] and exponent["experiments"] == "warmup"


def test_every_experiment_with_warmup_has_its_optima(tmp_path):
    judged(claimed(), tmp_path)
    rows = rows_of(tmp_path / "tables/optimum.csv")
    (row,) = [row for row in rows if row["experiment"] == "warmup"]
    assert (row["size"], row["levels"], row["best_level"], row["bracketed"]) == ("64", "0;2;4", "2", "no")
    # 1280 images, 64 a step: 20 steps an epoch
    assert float(row["optimum_steps"]) == pytest.approx(20 * float(row["optimum"]))
    peak, start = 0.2, 0.1  # base_lr 0.1 per 32 images
    assert float(row["increment_per_step"]) == pytest.approx((peak - start) / float(row["optimum_steps"]))


def test_copied_results_have_the_same_verdicts(tmp_path):
    raw = claimed({"kind": "best", **WARMUP, "level": 2})
    first = judged(raw, tmp_path / "here")
    assert judged(raw, tmp_path / "there") == first


def test_every_cell_has_its_divergences_with_an_interval(tmp_path):
    raw = claimed()
    diverged = {ids(raw, warmup_epochs=0.0, mini_batch_size=64, **{"lr_scaling.rule": "linear"})[0]: "diverged"}
    judged(raw, tmp_path, states=diverged)
    row = next(
        row for row in rows_of(tmp_path / "tables/cells.csv") if (row["experiment"], row["level"]) == ("warmup", "0")
    )
    expected = stats.binomtest(1, 3).proportion_ci(0.95, method="exact")
    assert (row["seeds"], row["n"], row["diverged"], row["metric"]) == ("3", "3", "1", "top1")
    assert (float(row["divergence_low"]), float(row["divergence_high"])) == pytest.approx(tuple(expected))
