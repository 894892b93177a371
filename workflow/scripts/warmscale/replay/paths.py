"""Files of a source: paths, globs, and columns that stand in paths."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)\}")
WILD = re.compile(r"\*\*/|\*\*|\*|\?|\[[^/\]]+\]")
PATTERNS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True)
class Found:
    """A file of a source."""

    path: Path
    """As written or matched: relative to the working directory, or absolute."""
    levels: dict[str, str]
    """{column: its text in the path}."""


def find_files(patterns: Sequence[str], key: str, problems: list[str]) -> list[Found]:
    """Files of paths and globs, each once, in the order of the patterns; a pattern without a file is a problem.

    key: where the patterns stand in the config, `replay.runs`.
    """
    found: dict[Path, Found] = {}
    for pattern in patterns:
        matches = [match for match in _matches(pattern) if match.path.exists()]
        if not matches:
            problems.append(f"{key}: {pattern} {_nothing(pattern)}")
        for match in matches:
            found.setdefault(match.path, match)
    return list(found.values())


def _nothing(pattern: str) -> str:
    wild = PLACEHOLDER.search(pattern) or glob.has_magic(pattern)
    what = "matches no file" if wild else "does not exist"
    return f"{what} below {Path.cwd()}: correct the path, which is relative to the working directory"


def _matches(pattern: str) -> list[Found]:
    if not PLACEHOLDER.search(pattern) and Path(pattern).exists():
        return [Found(Path(pattern), {})]  # a path with brackets in it is no glob
    paths = sorted(glob.glob(PLACEHOLDER.sub("*", pattern), recursive=True))
    shape, names = _shape(pattern)
    matches = ((path, shape.fullmatch(Path(path).as_posix())) for path in paths)
    return [
        Found(Path(path), {name: match[group] for name, group in names.items()}) for path, match in matches if match
    ]


def _shape(pattern: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """Regular expression of a pattern, and {column: group}; a name that stands twice must match the same text."""
    names: dict[str, str] = {}
    shape, place = "", 0
    pattern = Path(pattern).as_posix()
    for token in re.finditer(f"{PLACEHOLDER.pattern}|{WILD.pattern}", pattern):
        shape += re.escape(pattern[place : token.start()])
        place = token.end()
        name = token[1]
        if name in names:
            shape += f"(?P={names[name]})"
        elif name:
            names[name] = f"column{len(names)}"
            shape += f"(?P<{names[name]}>[^/]+?)"
        else:
            shape += PATTERNS.get(token[0]) or token[0].replace("[!", "[^")
    return re.compile(shape + re.escape(pattern[place:])), names
