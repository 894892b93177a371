"""Reading a content back restores what it leaves out."""

import json

import pytest

from warmscale.study.content import PLAIN, filled
from warmscale.study.recipe import Recipe
from warmscale.study.run import RESOLVED

from .study_builders import make_dataset, make_recipe, run_of
from .test_run_ids import CHANGES

KEPT = [leaf for leaf in CHANGES if leaf.partition(".")[0] not in RESOLVED]


def restored(content):
    return filled(json.loads(json.dumps(content)))


def test_every_field_of_a_recipe_is_restored_or_stands_in_the_content_in_another_form():
    assert set(filled(run_of().content)) | RESOLVED == {*Recipe.model_fields, "dataset"}
    assert not set(filled(run_of().content)) & RESOLVED


def test_a_content_without_fields_has_all_defaults():
    given = restored(run_of().content)
    recipe = make_recipe().model_dump()
    assert given == {name: recipe[name] for name in given if name != "dataset"} | {"dataset": given["dataset"]}
    assert given["dataset"] == make_dataset(root=".").model_dump()


@pytest.mark.parametrize("leaf", KEPT)
def test_a_field_that_is_no_default_is_restored(leaf):
    value, context = CHANGES[leaf]
    given = restored(run_of(**context | {leaf: value}).content)
    section, _, field = leaf.rpartition(".")
    assert (given[section] if section else given)[field] == value


def test_a_data_set_is_restored_but_for_its_place():
    dataset = make_dataset(version="3", image_size=160, mean=(0.1, 0.2, 0.3), root="/data", check="none")
    assert restored({"dataset": json.loads(json.dumps(dataset.content())), "model": "resnet50"})["dataset"] == {
        **dataset.model_dump(),
        **{"root": ".", "check": "ends"},
    }


def test_plain_fields_are_neither_sections_nor_resolved():
    assert set(PLAIN) | {"model", "optimizer", "divergence"} | RESOLVED == set(Recipe.model_fields)
