"""What is wrong with the values of a point: all of it at once, and nothing that only follows from another error."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from .errors import closest, explain, shown, suggestion
from .grid import LEAVES, SECTIONS, Values
from .recipe import Recipe
from .run import check_point

PLACEHOLDERS = {name: 1 for name, field in Recipe.model_fields.items() if field.is_required()}
"""Stand in for values that are missing or rejected while the others are checked."""
RESTS_ON = {"lr_scaling": {"lr_scaling.rule", "lr_scaling.exponent"}, "optimizer": {"optimizer.name"}}
"""Leaves that the checks of a whole section rest on."""


@dataclass(frozen=True)
class _Nearest:
    """The recipe of what is right about some values."""

    recipe: Recipe
    findings: list[tuple[tuple, str]]
    """(location, message) of what is wrong about them."""
    doubtful: Collection[str]
    """Leaves whose value in the recipe may not be the one that was meant."""


def leaf_errors(values: Values) -> list[str]:
    """What is wrong with values by themselves, as long as others may join them."""
    try:
        Recipe.model_validate(values.nested())
    except ValidationError as error:
        findings = explain(error, Recipe, but=("missing", "value_error"))
        return [_line(values, location, message) for location, message in findings]
    return []


def validated(values: Values, num_train_images: int | None, num_seeds: int) -> tuple[Recipe | None, list[str]]:
    """The recipe of a point, or None with a line for everything wrong with it."""
    nearest = _nearest(values)
    impossible = check_point(nearest.recipe, num_train_images, num_seeds, nearest.doubtful)
    findings = [*nearest.findings, *((tuple(leaf.split(".")), message) for leaf, message in impossible)]
    return (None if findings else nearest.recipe), [_line(values, *finding) for finding in findings]


def _nearest(values: Values) -> _Nearest:
    """Leave out what is rejected until the rest is a recipe: without it, more may show."""
    findings: list[tuple[tuple, str]] = []
    doubtful: set[str] = set()
    kept = values
    while True:
        try:
            return _Nearest(Recipe.model_validate(kept.nested()), findings, doubtful)
        except ValidationError as error:
            found = explain(error, Recipe)
        findings += [finding for finding in found if doubtful.isdisjoint(RESTS_ON.get(finding[0][0], ()))]
        rejected = {key for location, _ in found for key in _keys_at(location, kept.of)}
        kept = replace(kept, of={key: value for key, value in kept.of.items() if key not in rejected})
        doubtful |= {leaf for location, _ in found for leaf in _leaves_meant(location, kept.of)}
        doubtful |= PLACEHOLDERS.keys() - kept.of.keys()
        kept = replace(kept, of=PLACEHOLDERS | kept.of)


def _keys_at(location: tuple, given: Mapping[str, Any]) -> list[str]:
    """The given keys that a finding is about: the one that it names, or all of a section."""
    named = {location[0], ".".join(map(str, location[:2]))} & given.keys()
    return list(named) or [key for key in given if key.startswith(f"{location[0]}.")]


def _leaves_meant(location: tuple, given: Mapping[str, Any]) -> list[str]:
    """The leaves that a finding is about; for an unknown key the closest one, or all that are not given."""
    if len(location) > 1 and location[0] in SECTIONS:
        section, key = f"{location[0]}.", str(location[1])
        known = [leaf.removeprefix(section) for leaf in LEAVES if leaf.startswith(section)]
        meant = closest(key, known)
        return [section + leaf for leaf in known if leaf == meant or not (meant or section + leaf in given)]
    if meant := closest(str(location[0]), [*LEAVES, *SECTIONS, "workers_as"]):
        meant = "workers" if meant == "workers_as" else meant
        return [leaf for leaf in LEAVES if leaf == meant or leaf.startswith(f"{meant}.")]
    begun = {key.partition(".")[0] for key in given}
    return [leaf for leaf in LEAVES if leaf.partition(".")[0] not in begun]


def _line(values: Values, location: tuple, message: str) -> str:
    if "is not a known key" in message and len(location) == 1:
        sections = SECTIONS if isinstance(values.of.get(location[0]), Mapping) else ()
        message = f"is not a known key: {suggestion(location[0], [*LEAVES, *sections, 'workers_as'])}"
    if location == ("workers",) and values.source.get("workers", "").endswith("workers_as"):
        message = f"is {shown(values.of['workers'])}, must be a mapping of nodes and per_node, whole numbers above 0"
    return f"{values.path(location)}: {message}"
