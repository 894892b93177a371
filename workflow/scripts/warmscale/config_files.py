"""Reading a config file strictly: where YAML itself would be silent or vague, an error with its line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .study.errors import StudyError, join_path

FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where PyYAML was built with it, a tenth of the time: ten thousand points may be written down one by one."""


def read_config(path: Path) -> Mapping[str, Any]:
    """The mapping of a YAML file; raises StudyError for a file that is none, with the line, or has a key twice."""
    try:
        text = path.read_text()
    except OSError as error:
        raise StudyError([f"cannot be read: {error.strerror}"]) from error
    try:
        value, root = _parsed(text, FAST_LOADER)
    except yaml.YAMLError:
        try:
            value, root = _parsed(text, yaml.SafeLoader)  # it says better what is wrong
        except yaml.YAMLError as error:
            raise StudyError([_where_and_what(error)]) from error
    if not isinstance(value, Mapping):
        raise StudyError(["is no mapping; a config begins with `study: <name>`"])
    if repeated := _repeated_keys(root, ()):
        raise StudyError(repeated)
    return value


def _parsed(text: str, kind: type) -> tuple[Any, yaml.Node | None]:
    loader = kind(text)
    root = loader.get_single_node()
    return (loader.construct_document(root) if root else None), root


def _where_and_what(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}no valid YAML: {getattr(error, 'problem', None) or error}".partition("\n")[0]


def _repeated_keys(node: yaml.Node | None, path: tuple[str | int, ...]) -> list[str]:
    """A line for each key that a mapping has twice: YAML's parser keeps the last one and says nothing."""
    found: list[str] = []
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                found.append(f"{join_path(*path, key.value)}: stands twice, in lines {lines[key.value]} and {line}")
            lines[key.value] = line
            found += _repeated_keys(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found += _repeated_keys(value, (*path, index))
    return found
