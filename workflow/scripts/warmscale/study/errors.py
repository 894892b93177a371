"""Errors that a config file can cause: one line each, with the key, the value and what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError


class StudyError(Exception):
    """What is wrong with a study, one line a finding; its text is all lines."""

    def __init__(self, lines: Iterable[str]):
        self.lines = list(dict.fromkeys(lines))
        super().__init__("\n".join(self.lines))


def join_path(*parts: object) -> str:
    """Write a path of keys as in `experiments.warmup-7k.grid`; a number becomes an index, `seeds[2]`."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif str(part):
            path += f".{part}" if path else str(part)
    return path


def suggestion(key: str, known: Sequence[str]) -> str:
    """Name the known key closest to an unknown one, or all of them where none is close."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"


def explain(error: ValidationError, model: type[BaseModel]) -> list[tuple[tuple, str]]:
    """Turn pydantic's findings into (location, message) pairs, the message with the value and what is allowed."""
    by_location: dict[tuple, list[dict]] = {}
    for item in error.errors(include_url=False):
        by_location.setdefault(_field_location(item), []).append(item)
    return [(location, _message(items, model)) for location, items in by_location.items()]


def _field_location(item: Mapping[str, Any]) -> tuple:
    """The keys that a user wrote: pydantic adds the names of a union's members behind the field."""
    return tuple(part for part in item["loc"] if isinstance(part, int) or not _is_union_member(part))


def _is_union_member(part: str) -> bool:
    return part in {"int", "float", "str", "bool", "none"} or part[:1].isupper() or "[" in part or "constrained" in part


def _message(items: Sequence[Mapping[str, Any]], model: type[BaseModel]) -> str:
    """One message for all that pydantic says about one value: for a union, an item a member."""
    first = items[0]
    if first["type"] == "extra_forbidden":
        return f"is not a known key: {suggestion(str(first['loc'][-1]), _known_keys(model, first['loc'][:-1]))}"
    if first["type"] == "missing":
        return "is missing"
    if first["type"] == "value_error":
        return first["msg"].removeprefix("Value error, ")
    allowed = " or ".join(dict.fromkeys(_allowed(item) for item in items))
    return f"is {first['input']!r}, must be {allowed}{_yaml_hint(first['input'])}"


def _allowed(item: Mapping[str, Any]) -> str:
    if item["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return "a mapping"
    return re.sub("^(Input|String|List|Tuple) should ((be|have) )?", "", item["msg"])


def _yaml_hint(value: Any) -> str:
    """YAML reads 5e-5 as text: a number in scientific notation needs a dot."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+[eE][+-]?\d+", value):
        mantissa, exponent = re.split("[eE]", value)
        return f"; YAML takes it for text: write {mantissa}.0e{exponent}"
    return ""


def _known_keys(model: type[BaseModel], location: tuple) -> list[str]:
    """The keys of the model that a location leads to."""
    for part in location:
        if not isinstance(part, str) or part not in model.model_fields:
            continue
        inner = _model_in(model.model_fields[part].annotation)
        model = inner or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if found := _model_in(argument):
            return found
    return None
