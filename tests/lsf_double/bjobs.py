"""bjobs: the states of jobs, as a table, in fields of one's choice, or as JSON."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .dependencies import name_matches
from .environment import user
from .job import FINISHED, PENDING, REASONS, SUBMIT_HOST, Job, exec_host
from .placement import eligible
from .scheduler import dispatch
from .store import LsfError, Store

FLAGS = ("a", "d", "p", "r", "s", "w", "W", "x", "X", "noheader", "json", "UF")
VALUES = ("J", "u", "q", "P", "m", "o")
TABLE = "jobid user stat queue from_host exec_host job_name submit_time"
DELIMITER = re.compile(r"""delimiter\s*=\s*(['"]?)(.+?)\1\s*$""")


@dataclass
class Query:
    """A command line taken apart."""

    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    ids: list[int] = field(default_factory=list)


def main(store: Store, words: list[str]) -> int:
    """Print what is asked for; 255 if jobs were asked for and none is there."""
    query = read_query(words)
    lacking = [name for name in _fields(query)[0] if name.split(":")[0].lower() in store.settings.fields_lacking]
    if lacking:
        raise LsfError(f"bjobs: unknown output field <{lacking[0]}>")
    dispatch(store)
    known = known_jobs(store)
    jobs = [job for job in known if selected(job, query)]
    missing = [number for number in query.ids if number not in {job.id for job in jobs}]
    if "json" in query.flags:
        print(_as_json(jobs, missing, query))
    elif jobs:
        rows = _rows(jobs, query)
        if "p" in query.flags and "o" not in query.values:
            rows = rows[: -len(jobs)] + [
                f"{row}\n {why_pending(store, job)}" for row, job in zip(rows[-len(jobs) :], jobs, strict=True)
            ]
        print("\n".join(rows), flush=True)
    for number in missing:
        print(f"Job <{number}> is not found", file=sys.stderr)
    if not jobs and not missing:
        print(_nothing(query), file=sys.stderr)
    return 255 if not jobs and (missing or "J" in query.values) else 0


def read_query(words: list[str]) -> Query:
    """LsfError for an option that LSF, or the double, does not know. -aJ is -a -J."""
    query = Query()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.isdigit():
            query.ids += [int(word)] if int(word) else []
            continue
        name = word[1:]
        if match := re.fullmatch(r"([adprswx]+)([JuqPm]?)", name) if name not in FLAGS + VALUES else None:
            query.flags |= set(match[1])
            name = match[2]
        if name in VALUES and word.startswith("-"):
            if not rest:
                raise LsfError(f"bjobs: option requires an argument -- {name}")
            query.values[name] = rest.pop(0)
        elif word.startswith("-") and name in FLAGS:
            query.flags.add(name)
        elif name or not word.startswith("-"):
            raise LsfError(
                f"{word}: Illegal job ID." if not word.startswith("-") else f"bjobs: illegal option -- {name}"
            )
    return query


def why_pending(store: Store, job: Job) -> str:
    """As `bjobs -p` says it, below the job's row."""
    if job.true_state == "PSUSP":
        return "The job was suspended by the user while pending;"
    settings = store.settings
    out = len(settings.hosts) - len(eligible(job.request, settings))
    counted = [
        (out, "Host is not eligible: not in the queue, or not selected"),
        (len(store.down_hosts()), "Host is unavailable"),
    ]
    reasons = [f"{text}: {count} host{'s' * (count > 1)};" for count, text in counted if count]
    return "\n ".join([*reasons, "Not enough job slots;"])


def known_jobs(store: Store) -> list[Job]:
    """Without those that ended longer than the clean period ago."""
    oldest = time.time() - store.settings.clean_period_sec
    return [job for job in store.jobs() if not job.finished or (job.ended or 0) > oldest]


def selected(job: Job, query: Query) -> bool:
    """Finished jobs only on -a, -d, or when named by id."""
    if query.ids and job.id not in query.ids:
        return False
    asked = {"J": job.name, "q": job.request.queue, "P": job.request.project}
    if any(not name_matches(query.values[key], text) for key, text in asked.items() if key in query.values):
        return False
    if query.values.get("u", "all") not in ("all", user()):
        return False
    if "m" in query.values and query.values["m"] not in job.hosts:
        return False
    if "p" in query.flags and job.state not in PENDING:
        return False
    return bool(query.ids) or _state_selected(job.state, query.flags)


def _state_selected(state: str, flags: set[str]) -> bool:
    kinds = {"a": True, "d": state in FINISHED, "p": state in PENDING, "r": state == "RUN"}
    kinds["s"] = state in ("USUSP", "SSUSP", "PSUSP")
    asked = flags & set(kinds)
    return any(kinds[flag] for flag in asked) if asked else state not in FINISHED


def _nothing(query: Query) -> str:
    if "J" in query.values:
        return f"Job <{query.values['J']}> is not found"
    kinds = {
        "a": "No job found",
        "d": "No DONE/EXIT job found",
        "p": "No pending job found",
        "r": "No running job found",
    }
    return next((text for flag, text in kinds.items() if flag in query.flags), "No unfinished job found")


def _fields(query: Query) -> tuple[list[str], str | None]:
    """(names with widths, delimiter)."""
    text = query.values.get("o", TABLE)
    match = DELIMITER.search(text)
    names = (text[: match.start()] if match else text).split()
    for name in names:
        if name.split(":")[0].lower() not in FIELDS:
            raise LsfError(f"bjobs: unknown output field <{name}>")
    return names, match[2] if match else None


def _rows(jobs: list[Job], query: Query) -> list[str]:
    names, delimiter = _fields(query)
    columns = [FIELDS[name.split(":")[0].lower()] for name in names]
    table = [[column.text(job) or "-" for column in columns] for job in jobs]
    if "noheader" not in query.flags:
        table.insert(0, [column.head for column in columns])
    if delimiter:
        return [delimiter.join(row) for row in table]
    widths = [int(name.partition(":")[2] or column.width) for name, column in zip(names, columns, strict=True)]
    if "o" not in query.values and query.flags & {"w", "W"}:
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [" ".join(_fit(text, width) for text, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _fit(text: str, width: int) -> str:
    if len(text) > abs(width):
        # LSF keeps the end of what is too long
        text = "*" + text[len(text) - abs(width) + 1 :]
    return text.rjust(-width) if width < 0 else text.ljust(width)


def _as_json(jobs: list[Job], missing: list[int], query: Query) -> str:
    names = [name.split(":")[0].lower() for name in _fields(query)[0]]
    records = [{FIELDS[name].head: FIELDS[name].text(job) for name in names} for job in jobs]
    records += [{"JOBID": str(number), "ERROR": f"Job <{number}> is not found"} for number in missing]
    return json.dumps({"COMMAND": "bjobs", "JOBS": len(records), "RECORDS": records}, indent=2)


def _date(seconds: float | None) -> str:
    return time.strftime("%b %e %H:%M", time.localtime(seconds)) if seconds else ""


@dataclass(frozen=True)
class Column:
    """A field of -o."""

    head: str
    width: int
    text: Callable[[Job], str]


def _reason(job: Job) -> str:
    return f"{job.reason}: {REASONS[job.reason]}" if job.reason else ""


def _time_left(job: Job) -> str:
    """Hours and minutes until the run limit, and LSF's letter for such a limit."""
    if job.true_state != "RUN" or not job.request.run_limit_min:
        return ""
    minute_sec = Store(Path(os.environ["LSF_DOUBLE"])).settings.minute_sec
    minutes = max(0, int(job.request.run_limit_min - (time.time() - job.started) / minute_sec))
    return f"{minutes // 60}:{minutes % 60:02d} L"


FIELDS = {
    "jobid": Column("JOBID", 7, lambda job: str(job.id)),
    "id": Column("JOBID", 7, lambda job: str(job.id)),
    "stat": Column("STAT", 5, lambda job: job.state),
    "user": Column("USER", 7, lambda job: user()),
    "queue": Column("QUEUE", 10, lambda job: job.request.queue),
    "from_host": Column("FROM_HOST", 11, lambda job: SUBMIT_HOST),
    "exec_host": Column("EXEC_HOST", 11, lambda job: exec_host(job.hosts)),
    "nexec_host": Column("NEXEC_HOST", 10, lambda job: str(len(set(job.hosts))) if job.hosts else ""),
    "job_name": Column("JOB_NAME", 10, lambda job: job.name),
    "name": Column("JOB_NAME", 10, lambda job: job.name),
    "submit_time": Column("SUBMIT_TIME", 15, lambda job: _date(job.submitted)),
    "start_time": Column("START_TIME", 15, lambda job: _date(job.started)),
    "finish_time": Column("FINISH_TIME", 15, lambda job: _date(job.ended)),
    "time_left": Column("TIME_LEFT", 11, _time_left),
    "exit_code": Column("EXIT_CODE", 10, lambda job: str(job.exit_code) if job.state == "EXIT" else ""),
    "exit_reason": Column("EXIT_REASON", 50, _reason),
    "proj_name": Column("PROJ_NAME", 11, lambda job: job.request.project),
    "project": Column("PROJ_NAME", 11, lambda job: job.request.project),
    "command": Column("COMMAND", 15, lambda job: job.request.command),
    "slots": Column("SLOTS", 5, lambda job: str(len(job.hosts) or job.request.slots_min)),
    "output_file": Column("OUTPUT_FILE", 10, lambda job: job.request.out),
}
