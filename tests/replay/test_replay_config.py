import pytest
from pydantic import ValidationError

from warmscale.study.replay import Replay
from warmscale.study.schema import config_schema


def test_replay_needs_a_source():
    with pytest.raises(
        ValidationError, match="has no source: give one or more of cells, runs, epochs, mllog, tensorboard"
    ):
        Replay(unit="percent")


def test_tensorboard_needs_tags():
    with pytest.raises(ValidationError, match="tags"):
        Replay(tensorboard={"files": "x", "tags": {}})


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError, match="cell"):
        Replay(runs="x.csv", cell="y.csv")


def test_one_path_and_several_are_both_lists():
    replay = Replay(runs="x.csv", epochs=["a", "b"], tensorboard={"files": "t", "tags": {"top1": "acc"}})
    assert [replay.paths(source) for source in ("runs", "epochs", "tensorboard", "cells")] == [
        ["x.csv"],
        ["a", "b"],
        ["t"],
        [],
    ]


def test_every_field_is_documented():
    fields = config_schema()["$defs"]["Replay"]["properties"]
    assert set(fields) == set(Replay.model_fields)
    assert all(field.get("description") for field in fields.values())
