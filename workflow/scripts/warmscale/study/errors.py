"""Errors that a config file can cause: one line each, with the key, the value and what is allowed."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from .claims import ID_PATTERN
from .config import KINDS, NAME_PATTERN
from .metric import COLUMN_PATTERN
from .recipe import OWN_MODEL_PATTERN

KEY_ERRORS = {"extra_forbidden", "invalid_key"}
UNION_MEMBERS = {"WarmupRule", "int", "float", "str", "bool", "[key]", *KINDS}
"""How pydantic names the members of a union in a location, beside those that begin with their kind."""
PATTERNS = {
    NAME_PATTERN: "lower-case letters, digits, - and _, a letter first",
    OWN_MODEL_PATTERN: "package.module:function",
    ID_PATTERN: "letters, digits, dots, - and _, a letter or digit first",
    COLUMN_PATTERN: "the name of a column: letters, digits, dots and _, a letter first",
}
"""What a pattern means."""
SHOWN_CHARACTERS = 80
EXACT = 2**53
"""Whole numbers below are exact as floats."""


class StudyError(Exception):
    """What is wrong with a study, one line a finding; its text is all lines."""

    def __init__(self, lines: Iterable[str]):
        self.lines = list(dict.fromkeys(" ".join(line.split()) for line in lines))
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


def shown(value: object) -> str:
    """A value on one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def suggestion(key: str, known: Sequence[str]) -> str:
    """Name the known key closest to an unknown one, or all of them where none is close."""
    close = closest(key, known)
    return f"did you mean {close}?" if close else f"known keys: {', '.join(known)}"


def closest(key: str, known: Sequence[str]) -> str | None:
    """The known key that was probably meant."""
    return next(iter(difflib.get_close_matches(key, known, n=1, cutoff=0.6)), None)


def explain(error: ValidationError, model: type[BaseModel], but: Collection[str] = ()) -> list[tuple[tuple, str]]:
    """Turn pydantic's findings, `but` some types, into (location, message) pairs; a message has value and allowed.

    A key is not called missing beside a misspelling of it.
    """
    by_location: dict[tuple, list[dict]] = {}
    for item in error.errors(include_url=False):
        if item["type"] not in but:
            by_location.setdefault(_field_location(item), []).append(item)
    # findings about a value and inside it: the value is a union's, the deeper finding about the member that was meant
    hidden = {place[:length] for place in by_location for length in range(len(place))}
    unknown = [place for place, items in by_location.items() if items[0]["type"] in KEY_ERRORS]
    meant = {(*place[:-1], closest(place[-1], _known_keys(model, by_location[place][0]))) for place in unknown}
    hidden |= {place for place, items in by_location.items() if items[0]["type"] == "missing" and place in meant}
    return [(place, _message(items, place, model)) for place, items in by_location.items() if place not in hidden]


def _field_location(item: Mapping[str, Any]) -> tuple:
    """The keys that a user wrote: pydantic adds the names of a union's members behind the field."""
    if item["type"] in KEY_ERRORS:
        *location, _ = item["loc"]
        key = item["input"] if item["type"] == "invalid_key" else item["loc"][-1]
        return (*(part for part in location if not _is_union_member(part)), str(key))
    return tuple(part for part in item["loc"] if not _is_union_member(part))


def _is_union_member(part: str | int) -> bool:
    return isinstance(part, str) and (part in UNION_MEMBERS or part.startswith(("constrained-", "literal[", "list[")))


def _message(items: Sequence[Mapping[str, Any]], location: tuple, model: type[BaseModel]) -> str:
    """One message for all that pydantic says about one value: for a union, an item a member."""
    first = items[0]
    if first["type"] in KEY_ERRORS:
        return f"is not a known key: {suggestion(location[-1], _known_keys(model, first))}"
    if first["type"] == "missing":
        return "is missing"
    if first["type"] == "value_error":
        return first["msg"].removeprefix("Value error, ")
    allowed = " or ".join(dict.fromkeys(_allowed(item) for item in items))
    return f"is {shown(first['input'])}, must be {allowed}{_number_hint(items)}{_near_choice(items)}"


def _allowed(item: Mapping[str, Any]) -> str:
    """What may stand there, in words that follow `must be`."""
    if item["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return "a mapping"
    if item["type"] == "string_pattern_mismatch":
        return PATTERNS[item["ctx"]["pattern"]]
    if item["type"] in {"too_short", "too_long", "string_too_long"}:
        return re.sub(r".* should have (at \w+ \d+ \w+).*", r"of \1", item["msg"])
    return re.sub("^Input should (be )?", "", item["msg"])


def _near_choice(items: Sequence[Mapping[str, Any]]) -> str:
    """The choice that was probably meant."""
    choices = [name for item in items for name in re.findall("'([^']*)'", item.get("ctx", {}).get("expected", ""))]
    close = difflib.get_close_matches(str(items[0]["input"]), choices, n=1, cutoff=0.8)
    return f"; did you mean {close[0]}?" if close else ""


def _number_hint(items: Sequence[Mapping[str, Any]]) -> str:
    """How to write what was meant: YAML takes 5e-5 and 5.0e5 for text, they need a dot, and a sign in the exponent."""
    value = items[0]["input"]
    number = re.fullmatch(r"([+-]?\d+)\.?(\d*)[eE]([+-]?)(\d+)", value) if isinstance(value, str) else None
    text = "; YAML takes it for text: write" if number else "; write"
    types = {item["type"] for item in items}
    if "int_type" in types and "float_type" not in types:
        whole = float(value) if number or isinstance(value, float) else math.nan
        return f"{text} {whole:.0f}" if whole.is_integer() and 0 < whole < EXACT else ""
    if number:
        whole, fraction, sign, exponent = number.groups()
        return f"{text} {whole}.{fraction or 0}e{sign or '+'}{exponent}"
    return ""


def _known_keys(model: type[BaseModel], item: Mapping[str, Any]) -> list[str]:
    """The keys of the model that the location of an unknown one leads to."""
    for part in item["loc"][:-1]:
        model = KINDS.get(part, model)
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part not in fields:
            continue
        inner = _model_in(fields[part].annotation)
        model = inner or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if found := _model_in(argument):
            return found
    return None
