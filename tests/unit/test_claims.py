"""Claims in a config: what each kind needs, and what is said of those that are about nothing."""

from __future__ import annotations

import pytest

from warmscale.study import load_study

from .study_builders import lines_of, make_config

GRID = {"name": "grid", "grid": {"warmup_epochs": [0, 1, 2.5], "lr_scaling.rule": ["linear", "none"]}}
SIZES = {"name": "sizes", "grid": {"mini_batch_size": [100, 200]}}


def config_of(*claims: dict, **sections: object) -> dict:
    entries = [{"id": f"c{index}", "statement": "It is so."} | claim for index, claim in enumerate(claims, start=1)]
    return make_config(experiments=[GRID, SIZES], claims=entries, **sections)


def replayed(*claims: dict, **sections: object) -> dict:
    entries = [{"id": f"c{index}", "statement": "It is so."} | claim for index, claim in enumerate(claims, start=1)]
    return {"study": "theirs", "replay": {"cells": "cells.csv"}, "claims": entries} | sections


WARMUP = {"experiment": "grid", "factor": "warmup_epochs"}
RIGHT = [
    {"kind": "better", **WARMUP, "levels": [1, 0]},
    {"kind": "better", **WARMUP, "levels": [1.0, 2.5], "margin": 0.3, "paired": True},
    {"kind": "better", "a": {"warmup_epochs": [1, 2.5]}, "b": {"warmup_epochs": 0, "lr_scaling.rule": "none"}},
    {"kind": "better", "a": {"warmup_epochs": 1}, "b": {"warmup_epochs": 0}, "experiment": "grid"},
    {"kind": "equivalent", **WARMUP, "levels": [1, 0], "margin": 0.5},
    {"kind": "equivalent", "a": {"peak_lr": 0.3125}, "b": {"lr_scaling.rule": "none"}, "margin": 1},
    {"kind": "best", **WARMUP, "level": 1},
    {"kind": "worst", "experiment": "grid", "factor": "lr_scaling.rule", "level": "none"},
    {"kind": "best", **WARMUP, "level": 1, "levels": [0, 1]},
    {"kind": "increasing", **WARMUP},
    {"kind": "decreasing", **WARMUP, "levels": [1, 2.5], "strict": True},
    {"kind": "above", **WARMUP, "level": 0, "value": 75.3},
    {"kind": "below", "a": {"workers": 4}, "value": 75.3, "metric": {"name": "node_hours", "goal": "minimize"}},
    {"kind": "exponent", "experiments": ["grid"], "value": 0.5},
    {"kind": "exponent", "experiments": ["grid"], "range": [0, 1], "factor": "warmup_epochs", "of": "workers"},
]


@pytest.mark.parametrize("claim", RIGHT)
def test_a_claim_with_what_its_kind_needs_is_accepted(claim):
    (found,) = load_study(config_of(claim)).config.claims
    assert found.kind == claim["kind"]


WRONG = [
    (
        {"kind": "better", **WARMUP},
        "claims.c1: levels is missing: better needs experiment, factor, levels or a, b",
    ),
    (
        {"kind": "better", "a": {"workers": 4}},
        "claims.c1: b is missing: better needs experiment, factor, levels or a, b",
    ),
    (
        {"kind": "better", **WARMUP, "levels": [0, 1, 2.5]},
        "claims.c1: levels are 3, better compares two: a first, then b",
    ),
    (
        {"kind": "equivalent", **WARMUP, "levels": [0, 1]},
        "claims.c1: margin is missing: equivalent needs experiment, factor, levels, margin or a, b, margin",
    ),
    (
        {"kind": "equivalent", **WARMUP, "levels": [0, 1], "margin": 0.0},
        "claims.c1: margin is 0: no two cells can be shown to be the same, give a difference that does not matter",
    ),
    ({"kind": "best", **WARMUP}, "claims.c1: level is missing: best needs experiment, factor, level"),
    (
        {"kind": "increasing", **WARMUP, "value": 3},
        "claims.c1: value has no meaning for increasing with experiment, factor: leave it out",
    ),
    (
        {"kind": "exponent", "experiments": ["grid"]},
        "claims.c1: value is missing: exponent needs experiments, value or experiments, range",
    ),
    (
        {"kind": "exponent", "experiments": ["grid"], "range": [1, 0]},
        "claims.c1.range: [1, 0] must be from low to high",
    ),
    (
        {"kind": "best", "experiment": "grit", "factor": "workers", "level": 1},
        "claims.c1.experiment: grit is no experiment; did you mean grid?",
    ),
    (
        {"kind": "exponent", "experiments": ["grid", "x"], "value": 1},
        "claims.c1.experiments: x is no experiment; known keys: grid, sizes",
    ),
    (
        {"kind": "best", "experiment": "grid", "factor": "warmup_epoch", "level": 1},
        "claims.c1.factor: warmup_epoch is no factor of experiment grid; did you mean warmup_epochs?",
    ),
    (
        {"kind": "best", **WARMUP, "level": 5},
        "claims.c1.level: 5 is no level of warmup_epochs in grid: [0.0, 1.0, 2.5]",
    ),
    (
        {"kind": "exponent", "experiments": ["sizes"], "value": 1},
        "claims.c1.factor: warmup_epochs is no factor of experiment sizes; known keys: mini_batch_size",
    ),
    (
        {"kind": "below", "a": {"warmup_epoch": 1}, "value": 3},
        "claims.c1.a.warmup_epoch: is no column of runs; did you mean warmup_epochs?",
    ),
    (
        {"kind": "below", "a": {"workers": 5}, "value": 3},
        "claims.c1.a: {'workers': 5} selects no run of the study",
    ),
    (
        {"kind": "bettr", **WARMUP},
        "claims.c1.kind: is 'bettr', must be 'better', 'equivalent', 'best', 'worst', 'increasing', 'decreasing', "
        "'above', 'below' or 'exponent'; did you mean better?",
    ),
    ({"kind": "best", **WARMUP, "levl": 1}, "claims.c1.levl: is not a known key: did you mean level?"),
]


@pytest.mark.parametrize(("claim", "line"), WRONG)
def test_a_claim_that_is_wrong_is_said_to_be_in_one_line(claim, line):
    assert lines_of(config_of(claim)) == [line]


def test_two_claims_need_two_ids():
    twice = config_of({"kind": "increasing", **WARMUP}, {"kind": "decreasing", **WARMUP, "id": "c1"})
    assert "claims.c1: stands twice; ids must differ" in lines_of(twice)


def test_a_level_may_be_written_as_whole_number_or_as_fraction():
    load_study(config_of({"kind": "best", **WARMUP, "level": 1.0}, {"kind": "best", **WARMUP, "level": 1}))


def test_a_claimed_value_is_a_window_as_wide_as_its_tolerance():
    claims = load_study(
        config_of(
            *({"kind": "exponent", "experiments": ["grid"], "value": 0.5} | more for more in ({}, {"tolerance": 0.1}))
        )
    ).config.claims
    assert [claim.window for claim in claims] == [pytest.approx((0.3, 0.7)), pytest.approx((0.4, 0.6))]


def test_claims_are_not_part_of_any_run():
    plain, claimed = make_config(), config_of({"kind": "increasing", **WARMUP})
    assert load_study({**claimed, "experiments": plain["experiments"], "claims": []}).runs == load_study(plain).runs
    assert load_study(claimed).runs == load_study({**claimed, "claims": []}).runs


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("confidence", 1, "confidence: is 1, must be less than 1"),
        ("confidence", 95, "confidence: is 95, must be less than 1"),
        ("familywise", "bonferroni", "familywise: is 'bonferroni', must be 'holm' or 'none'"),
        ("smallest_effect", 0, "smallest_effect: is 0, must be greater than 0"),
        ("max_looks", 0, "max_looks: is 0, must be greater than or equal to 1"),
        ("max_seeds", 1, "max_seeds: is 1, must be greater than or equal to 2"),
    ],
)
def test_settings_of_verdicts_have_bounds(key, value, line):
    assert lines_of(make_config(**{key: value})) == [line]
    assert lines_of(replayed(**{key: value})) == [line]


def test_a_replayed_study_trains_nothing():
    study = load_study(replayed())
    assert study.is_replayed and not study.runs and not study.points
    assert [experiment.name for experiment in study.config.experiments] == ["all"]
    assert (study.config.max_looks, load_study(make_config()).config.max_looks) == (1, 3)


def test_a_replayed_study_has_no_recipe():
    config = replayed(dataset={"name": "x"}, recipe={})
    assert lines_of(config) == ["dataset, recipe: a study with replay trains nothing; leave it out"]


def test_levels_of_replayed_results_are_known_when_they_are_read():
    claim = {"kind": "best", "experiment": "all", "factor": "anything", "level": "unknown"}
    assert load_study(replayed(claim)).config.claims[0].level == "unknown"


def test_replayed_runs_are_not_paired():
    claim = {"kind": "better", "a": {"x": 1}, "b": {"x": 2}, "paired": True}
    assert lines_of(replayed(claim)) == [
        "claims.c1.paired: of replayed runs it is not known what those with the same seed share"
    ]


def test_a_replay_needs_a_source():
    (line,) = lines_of(replayed(replay={}))
    assert line == "replay: has no source: give one or more of cells, runs, epochs, mllog, tensorboard"
