"""Columns and types of the tables, explicit: a column without a value has the type of one with values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from ..records import EPOCH_COLUMNS, STEP_COLUMNS
from ..study.recipe import Recipe, WarmupRule, leaves
from .statistics import KNOWN

INTEGERS = {"epoch", "step", "images_seen", "distinct_images", "skipped"}
METRIC_COLUMNS = ("top1_last", "top1_median_last_5", "top5_last", "top5_median_last_5")


NO_FACTORS = ("experiment", "run_id", "seed", *KNOWN, "known_metric")
"""Columns of `points` beside the factors of experiments."""


def _measured(columns: Iterable[str]) -> pa.Schema:
    types = {"run_id": pa.string()} | dict.fromkeys(INTEGERS, pa.int64())
    return pa.schema([(name, types.get(name, pa.float64())) for name in columns])


EPOCHS = _measured(EPOCH_COLUMNS)
STEPS = _measured(STEP_COLUMNS)


def runs_schema() -> pa.Schema:
    """Columns of `runs`: the run, its recipe, what follows from it, and its outcome."""
    return pa.schema(
        [
            ("run_id", pa.string()),
            ("experiments", pa.string()),  # ;-joined
            *((leaf, leaf_type(annotation)) for leaf, annotation in _leaf_annotations()),
            ("worker_batch_size", pa.int64()),
            ("scale_factor", pa.float64()),
            ("peak_lr", pa.float64()),
            ("warmup_steps", pa.int64()),
            ("total_steps", pa.int64()),
            ("total_epochs", pa.int64()),  # epochs, and the warmup where it counts before them
            ("seed", pa.int64()),
            ("state", pa.string()),
            ("failure_class", pa.string()),
            ("diverged_step", pa.int64()),
            ("epochs_done", pa.int64()),
            ("top1", pa.float64()),  # percent, by metric_rule
            ("top5", pa.float64()),
            *((name, pa.float64()) for name in METRIC_COLUMNS),
            ("metric_rule", pa.string()),
            ("attempts", pa.int64()),
            ("node_hours", pa.float64()),
            ("nodes", pa.int64()),  # empty where it moved from one placement to another
            ("ranks", pa.int64()),
            ("images_per_sec", pa.float64()),  # median over epochs
            ("device_name", pa.string()),
            ("imported", pa.string()),  # where it comes from, if it was not trained here
        ]
    )


def points_schema(levels: dict[str, list[Any]]) -> pa.Schema:
    """Columns of `points`; a factor has the type that all its levels in the study share, else it is text.

    A point that is known as the summary of a cell only has no run and no seed, but KNOWN.
    """
    fixed = [("experiment", pa.string()), ("run_id", pa.string()), ("seed", pa.int64())]
    known = [*((name, pa.float64()) for name in KNOWN), ("known_metric", pa.string())]
    return pa.schema([*fixed, *((leaf, shared_type(values)) for leaf, values in levels.items()), *known])


def leaf_type(annotation: Any) -> pa.DataType:
    """Column type of a leaf of the recipe; a leaf that may be a word as well as a number is text."""
    kinds = set(_kinds(annotation)) - {NoneType, WarmupRule}  # a rule is resolved to a number of epochs
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds <= {int, float} else pa.string()


def _kinds(annotation: Any) -> Iterator[type]:
    origin = get_origin(annotation)
    if origin is Literal or origin is tuple:
        yield str
    elif origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin is None:
        yield annotation
    else:
        for member in get_args(annotation):
            yield from _kinds(member)


def _leaf_annotations() -> Iterator[tuple[str, Any]]:
    for leaf in leaves():
        section, _, field = leaf.rpartition(".")
        model: type[BaseModel] = Recipe.model_fields[section].annotation if section else Recipe
        yield leaf, model.model_fields[field].annotation


def shared_type(values: list[Any]) -> pa.DataType:
    """Type of a column with these values: text where they have no other in common."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()
