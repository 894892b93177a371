"""bsub -w: expressions such as `done(101) && (ended("prepare*") || !started(103))`."""

from __future__ import annotations

import re
from collections.abc import Callable

from .job import FINISHED, PENDING, Job
from .store import LsfError

BAD_SYNTAX = LsfError("Dependency condition syntax error. Job not submitted.")
JOB = r"""("[^"]*"|'[^']*'|[^\s(),"'&|!]++)"""
TOKEN = re.compile(rf"\s*(?:(&&|\|\||[!()])|(\w+)\s*\(\s*{JOB}\s*(?:,\s*([<>=!]*)\s*(\d+)\s*)?\)|{JOB}(?!\s*\())")
CONDITIONS: dict[str, Callable[[Job], bool]] = {
    "done": lambda job: job.state == "DONE",
    "ended": lambda job: job.state in FINISHED,
    "exit": lambda job: job.state == "EXIT",
    "started": lambda job: job.state not in PENDING,
    "post_done": lambda job: job.state == "DONE",
}
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def fulfilled(expression: str, jobs: list[Job]) -> bool:
    """Whether a job with this dependency may start. LsfError for bad syntax or a job that is not there."""
    values = [token if isinstance(token, str) else _holds(token, jobs) for token in _tokens(expression)]
    value, rest = _either(values)
    if rest:
        raise BAD_SYNTAX
    return value


def matching(what: str, jobs: list[Job]) -> list[Job]:
    """Jobs with this id or, with *, this name: all that match a pattern, the newest of one name."""
    if what.isdigit():
        return [job for job in jobs if job.id == int(what)]
    pattern = what.strip("\"'")
    found = [job for job in jobs if name_matches(pattern, job.name)]
    return found if "*" in pattern else found[-1:]


def name_matches(pattern: str, name: str) -> bool:
    """LSF knows only * as a wildcard."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def _tokens(expression: str) -> list[str | re.Match[str]]:
    tokens: list[str | re.Match[str]] = []
    position = 0
    while expression[position:].strip():
        match = TOKEN.match(expression, position)
        if not match:
            raise BAD_SYNTAX
        tokens.append(match[1] or match)
        position = match.end()
    return tokens


def _holds(token: re.Match[str], jobs: list[Job]) -> bool:
    # a job without a condition means done()
    kind, what, operator, code = token[2] or "done", token[3] or token[6], token[4], token[5]
    if kind not in CONDITIONS or (code and (kind != "exit" or operator not in COMPARISONS)):
        raise BAD_SYNTAX
    found = matching(what, jobs)
    if not found:
        raise LsfError(f"{what}: No matching job found. Job not submitted.")
    return all(
        CONDITIONS[kind](job) and (not code or COMPARISONS[operator](job.exit_code or 0, int(code))) for job in found
    )


def _either(values: list[str | bool]) -> tuple[bool, list[str | bool]]:
    value, rest = _both(values)
    while rest and rest[0] == "||":
        other, rest = _both(rest[1:])
        value = value or other
    return value, rest


def _both(values: list[str | bool]) -> tuple[bool, list[str | bool]]:
    value, rest = _one(values)
    while rest and rest[0] == "&&":
        other, rest = _one(rest[1:])
        value = value and other
    return value, rest


def _one(values: list[str | bool]) -> tuple[bool, list[str | bool]]:
    if not values:
        raise BAD_SYNTAX
    first, rest = values[0], values[1:]
    if isinstance(first, bool):
        return first, rest
    if first == "!":
        value, rest = _one(rest)
        return not value, rest
    if first == "(":
        value, rest = _either(rest)
        if rest[:1] == [")"]:
            return value, rest[1:]
    raise BAD_SYNTAX
