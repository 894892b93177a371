"""Cells of an experiment: which factors name them, and in which order they stand."""

from __future__ import annotations

import pandas as pd
import pytest

from warmscale.analysis.catalogue import factors_of
from warmscale.analysis.levels import label_factors, level_points
from warmscale.analysis.tables import points_rows
from warmscale.study import load_study

from .conftest import raw_study


def cells_of(experiment: dict, also: dict | None = None) -> tuple[list[str], tuple[str, ...]]:
    """Labels of the cells of an experiment in their order, and the factors in them."""
    experiments = [{"name": "it", "recipe": {"mini_batch_size": 64, "workers": 2}} | experiment]
    experiments += [{"name": "also", "recipe": {"mini_batch_size": 64}} | also] if also else []
    study = load_study(raw_study() | {"experiments": experiments})
    own, names = level_points(pd.DataFrame(points_rows(study)), "it", factors_of(study, "it"))
    return own["level"].drop_duplicates().tolist(), names


def test_numbers_are_ordered_by_value():
    assert cells_of({"grid": {"warmup_epochs": [4, 0, 2.5]}}) == (["0", "2.5", "4"], ("warmup_epochs",))


def test_words_keep_the_order_of_the_config():
    assert cells_of({"grid": {"lr_scaling.rule": ["none", "linear"]}})[0] == ["none", "linear"]


def test_a_factor_that_goes_with_the_first_is_not_in_the_label():
    extra = [{"point": {"mini_batch_size": size, "workers": size // 32}} for size in (1280, 64)]
    assert cells_of({"extra": extra}) == (["64", "1,280"], ("mini_batch_size",))


def test_independent_factors_join_the_label():
    found = cells_of({"grid": {"warmup_epochs": [0, 2], "optimizer.nesterov": [False, True]}})
    assert found == (["0, no", "0, yes", "2, no", "2, yes"], ("warmup_epochs", "optimizer.nesterov"))


def test_a_factor_of_one_level_is_not_in_the_label():
    assert cells_of({"grid": {"workers": [2], "warmup_epochs": [0, 2]}})[1] == ("warmup_epochs",)


def test_a_point_that_sets_no_factor_is_a_cell():
    assert cells_of({"extra": [{"point": {}}]}) == (["all runs"], ())


def test_a_factor_that_a_point_leaves_out_has_the_value_of_its_recipe():
    found = cells_of({"grid": {"warmup_epochs": [0, 2]}, "extra": [{"point": {"base_lr": 0.2, "warmup_epochs": 2}}]})
    assert found == (["0, 0.1", "2, 0.1", "2, 0.2"], ("warmup_epochs", "base_lr"))


@pytest.mark.parametrize("also", [None, {"grid": {"warmup_start": ["zero", 0.5]}}])
def test_numbers_are_numbers_though_another_experiment_has_words(also):
    assert cells_of({"grid": {"warmup_start": [0.5, 0.25]}}, also)[0] == ["0.25", "0.5"]


def test_a_warmup_rule_is_a_level():
    rule = {"base_epochs": 2, "base_mini_batch_size": 1280, "exponent": 1}
    assert cells_of({"grid": {"warmup_epochs": [2, rule]}})[0] == ["2", "2 · (mini-batch / 1,280)^1"]


def test_levels_that_are_close_have_labels_of_their_own():
    assert len(cells_of({"grid": {"base_lr": [0.1234567, 0.1234568]}})[0]) == 2


def test_seeds_are_ordered_within_a_cell(study, tables):
    own, _ = level_points(tables.points, "warmup", factors_of(study, "warmup"))
    assert own["seed"].tolist() == [1, 2, 3] * 3


def test_label_factors_need_no_seed_to_tell_cells_apart():
    points = pd.DataFrame({"a": [1, 1, 2, 2], "b": [5, 5, 6, 6], "c": [7, 8, 7, 8]})
    assert label_factors(points, ("a", "b", "c")) == ("a", "c")
