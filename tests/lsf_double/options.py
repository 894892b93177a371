"""bsub's command line, read and refused as LSF 10.1 does."""

from __future__ import annotations

import os
import re
import shlex
import signal
from dataclasses import dataclass, field
from pathlib import Path

from . import requirements
from .job import Request
from .store import LsfError, Settings

VALUES = "J o oo e eo i env P q W We n R gpu cwd Q wt wa w app sp M G L U m u Jd g"
FLAGS = "r rn x H N B"
EASY_VALUES = "nnodes alloc_flags"
NOT_MODELLED = "I Ip Is K a b E Ep t k pack jsdl f ext extsched sla C c D F S T v p data ti outdir is csm"
NAME_LENGTH = 4094
HOURS_OF_NODES = ((46, 6 * 60), (1, 2 * 60))
"""Summit: 46 nodes and more may take 6 hours, fewer 2."""


@dataclass
class Line:
    """A command line taken apart."""

    values: dict[str, str] = field(default_factory=dict)
    """Of options that take one, the last one given; flags have an empty one."""
    requirements: list[str] = field(default_factory=list)
    """All -R."""
    command: list[str] = field(default_factory=list)


def split_line(words: list[str], settings: Settings) -> Line:
    """Options up to the first word that is none. LsfError for an unknown option or a missing value."""
    line = Line()
    with_value = [*VALUES.split(), *(EASY_VALUES.split() if settings.easy_mode else ())]
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        name = rest.pop(0)[1:]
        if name in NOT_MODELLED.split():
            raise LsfError(f"-{name} is not modelled by the double of LSF. Job not submitted.")
        if name in FLAGS.split():
            line.values[name] = ""
        elif name not in with_value:
            raise LsfError(f"Illegal option -- {name}. Job not submitted.")
        elif not rest:
            raise LsfError(f"Option -{name} requires an argument. Job not submitted.")
        elif name == "R":
            line.requirements.append(rest.pop(0))
        else:
            line.values[name] = rest.pop(0)
    line.command = rest
    return line


def read_script(text: str, settings: Settings) -> Line:
    """A job script from standard input; lines that begin with #BSUB are options."""
    words: list[str] = []
    for row in text.splitlines():
        if match := re.match(r"#\s?BSUB\s+(.*)", row):
            words += shlex.split(match[1], comments=True)
    line = split_line(words, settings)
    if not re.sub(r"(?m)^\s*#.*$", "", text).strip():
        raise LsfError("No command is specified. Job not submitted.")
    return Line(line.values, line.requirements, [text])


def merge(script: Line, line: Line) -> Line:
    """The command line wins over the script's options."""
    return Line({**script.values, **line.values}, line.requirements or script.requirements, script.command)


def request(line: Line, settings: Settings) -> Request:
    """What is asked for. LsfError for what LSF refuses."""
    given = line.values
    command = " ".join(line.command)
    here = os.getcwd()
    queue = _queue(given.get("q"), settings)
    return Request(
        command=command,
        name=_name(given["J"]) if "J" in given else command.strip(),
        queue=queue,
        project=given.get("P", "default"),
        cwd=os.path.join(here, given.get("cwd", "")).rstrip("/") or "/",
        submitted_from=here,
        out=given.get("oo", given.get("o", "")),
        err=given.get("eo", given.get("e", "")),
        stdin=given.get("i", "/dev/null"),
        overwrite="oo" in given,
        mail_report="N" in given,
        exclusive="x" in given or "nnodes" in given,
        gpus=requirements.gpus(given["gpu"]) if "gpu" in given else 0,
        hosts=_hosts(given.get("m", ""), settings),
        requeue=requirements.check_requeue(given["Q"]) if "Q" in given else "",
        rerunnable="r" in given and "rn" not in given,
        depends=given.get("w", ""),
        held="H" in given,
        priority=_number("sp", given["sp"]) if "sp" in given else 0,
        environment=given.get("env", "all"),
        shell=_shell(given.get("L", "")),
        requirements=tuple(line.requirements),
        but=requirements.hosts_left_out(tuple(line.requirements)),
        **_size(line, settings),
        **_time(given, settings.queues[queue]),
    )


def _size(line: Line, settings: Settings) -> dict:
    span = requirements.span(tuple(line.requirements))
    given = line.values
    if "M" in given and not re.fullmatch(r"\d+(\.\d+)?[KMGTPEZ]?B?!?", given["M"]):
        raise LsfError(f"Bad argument for option -M: <{given['M']}>. Job not submitted.")
    least, most = requirements.slots(given.get("n", "1"))
    if "nnodes" not in given:
        return dict(slots_min=least, slots_max=most, ptile=span.get("ptile", 0), one_host="hosts" in span)
    if "n" in given or span:
        raise LsfError("Easy mode: -nnodes cannot be combined with -n or -R span. Job not submitted.")
    if missing := [name for name in ("P", "W") if name not in given]:
        raise LsfError(f"Easy mode: -nnodes requires -{missing[0]}. Job not submitted.")
    nodes = _number("nnodes", given["nnodes"])
    limit = next(limit for least, limit in HOURS_OF_NODES if nodes >= least)
    if requirements.minutes("W", given["W"]) > limit:
        raise LsfError(f"RUNLIMIT: Cannot exceed {limit} minutes for {nodes} nodes. Job not submitted.")
    return dict(slots_min=nodes, slots_max=nodes, nodes=nodes)


def _time(given: dict[str, str], queue_limit: int | None) -> dict:
    limit = requirements.minutes("W", given["W"]) if "W" in given else queue_limit
    if limit and queue_limit and limit > queue_limit:
        raise LsfError("RUNLIMIT: Cannot exceed queue's hard limit(s). Job not submitted.")
    action = given.get("wa", "").removeprefix("SIG")
    if action and f"SIG{action}" not in signal.Signals.__members__:
        raise LsfError(f"Bad argument for option -wa: <{given['wa']}>. Job not submitted.")
    warning = requirements.minutes("wt", given["wt"]) if "wt" in given else 0
    return dict(run_limit_min=limit, warning_min=warning, warning_signal=action)


def _name(text: str) -> str:
    if len(text) > NAME_LENGTH:
        raise LsfError("Job name is too long. Job not submitted.")
    if re.search(r"\[[\d,:-]+\](%\d+)?$", text):
        raise LsfError("Job arrays are not modelled by the double of LSF. Job not submitted.")
    return text


def _queue(name: str | None, settings: Settings) -> str:
    names = (name or next(iter(settings.queues))).split()
    for name in names:
        if name not in settings.queues:
            raise LsfError(f"{name}: No such queue. Job not submitted.")
    return names[0]


def _hosts(text: str, settings: Settings) -> tuple[str, ...]:
    for host in text.split():
        if host not in settings.hosts:
            raise LsfError(f"{host}: Bad host name, host group name or cluster name. Job not submitted.")
    return tuple(text.split())


def _shell(path: str) -> str:
    if path and not (Path(path).is_absolute() and os.access(path, os.X_OK)):
        raise LsfError(f"{path}: Bad login shell. Job not submitted.")
    return path


def _number(option: str, text: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", text):
        raise LsfError(f"Bad argument for option -{option}: <{text}>. Job not submitted.")
    return int(text)
