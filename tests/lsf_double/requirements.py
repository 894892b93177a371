"""The small languages in bsub's options: resource requirements, GPU requirements, times, exit codes for requeueing."""

from __future__ import annotations

import re

from .store import LsfError

SECTIONS = ("select", "order", "rusage", "span", "same", "cu", "affinity")
GPU_KEYS = ("num", "mode", "mps", "j_exclusive", "aff", "block", "gpack", "gvendor", "gmodel", "gmem", "gtile", "glink")
BAD_SYNTAX = LsfError("Bad resource requirement syntax. Job not submitted.")


def span(requirements: tuple[str, ...]) -> dict[str, int]:
    """{"ptile": N}, {"hosts": 1} or nothing. LsfError where LSF calls the syntax bad."""
    found: dict[str, int] = {}
    for text in requirements:
        for name, body in _sections(text):
            if name == "rusage":
                _check_rusage(body)
            elif name == "span":
                # LSF merges several -R, but a job has one span
                if found:
                    raise BAD_SYNTAX
                found = _span(body)
    return found


def hosts_left_out(requirements: tuple[str, ...]) -> tuple[str, ...]:
    """Of select[hname!='a' && hname!='b']; other terms of a select string leave out none."""
    return tuple(
        host
        for text in requirements
        for name, body in _sections(text)
        if name == "select"
        for host in re.findall(r"hname\s*!=\s*['\"]?([\w.-]+)", body)
    )


def _sections(text: str) -> list[tuple[str, str]]:
    """(name, body) of each section; a bare text is a select string."""
    if text.count("[") != text.count("]") or not text.strip():
        raise BAD_SYNTAX
    if "[" not in text:
        return [("select", text)]
    sections = re.findall(r"\s*(?:([a-z]+)\s*\[([^\[\]]*)\])", text)
    rest = re.sub(r"\s*[a-z]+\s*\[[^\[\]]*\]", "", text).strip()
    if rest or any(name not in SECTIONS for name, _ in sections):
        raise BAD_SYNTAX
    return sections


def _check_rusage(body: str) -> None:
    entry = r"\s*\w+\s*=\s*\d+(\.\d+)?\s*([KMGTP]B?)?(/(host|task|slot|job))?\s*"
    extras = r"(:\s*(duration|decay)\s*=\s*\d+[mhs]?\s*)*"
    if not re.fullmatch(rf"{entry}{extras}([,:|]+{entry}{extras})*", body):
        raise BAD_SYNTAX


def _span(body: str) -> dict[str, int]:
    body = body.strip()
    if match := re.fullmatch(r"ptile\s*=\s*([1-9]\d*)", body):
        return {"ptile": int(match[1])}
    if re.fullmatch(r"hosts\s*=\s*1", body):
        return {"hosts": 1}
    if re.fullmatch(r"hosts\s*=\s*-1|stripe", body):
        return {}
    raise BAD_SYNTAX


def gpus(text: str) -> int:
    """GPUs a host from `num=6:mode=exclusive_process`; `-` is the cluster's default, 1."""
    if text == "-":
        return 1
    number = 1
    for entry in text.split(":"):
        key, _, value = entry.partition("=")
        if key not in GPU_KEYS or not value or (key == "num" and not re.fullmatch(r"[1-9]\d*(/(host|task))?", value)):
            raise LsfError(f"Bad GPU resource requirement <{text}>. Job not submitted.")
        if key == "num":
            number = int(value.split("/")[0])
    return number


def minutes(option: str, text: str) -> int:
    """Of `90`, `1:30` or `1:30/host`; LsfError unless it is above 0."""
    match = re.fullmatch(r"(?:(\d+):)?(\d+)(?:/[\w.-]+)?", text)
    total = int(match[1] or 0) * 60 + int(match[2]) if match else 0
    if not total:
        raise LsfError(f"Bad argument for option -{option}: <{text}>. Job not submitted.")
    return total


def slots(text: str) -> tuple[int, int]:
    """(least, most) of `4` or `2,8`; LsfError unless 1 <= least <= most."""
    match = re.fullmatch(r"(\d+)(?:,(\d+))?", text)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most:
        raise LsfError(f"Bad argument for option -n: <{text}>: not a number of tasks. Job not submitted.")
    return least, most


def requeues(text: str, code: int) -> bool:
    """Whether `-Q "75 EXCLUDE(9)"`, `-Q "all ~1"` puts a job with this exit code back to the queue."""
    codes = text.replace("EXCLUDE(", " ").replace(")", " ").split()
    return bool(code) and f"~{code}" not in codes and ("all" in codes or str(code) in codes)


def check_requeue(text: str) -> str:
    """The text itself; LsfError unless it is a list of exit codes."""
    codes = re.sub(r"EXCLUDE\(([\d\s]+)\)", r"\1", text).split()
    if not codes or not all(re.fullmatch(r"all|~?\d+", code) and int(code.strip("~al") or 0) < 256 for code in codes):
        raise LsfError(f"Bad argument for option -Q: <{text}>: bad requeue exit values. Job not submitted.")
    return text
