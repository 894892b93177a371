"""What LSF tells of jobs beside their states: how they ended, why they wait, which one an output file belongs to.

Standard library only. A bjobs that has no such fields is no error: the report that LSF adds to a job's output tells
most of it too, later where the file system is slow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .ask import CANNOT_START, HANGS, MISSING, answer, chunks, silence
from .lsf import NO_JOB, is_transient
from .settle import End

FIELDS = ["bjobs", "-a", "-noheader", "-o"]
ENDS = [*FIELDS, "jobid exec_host exit_reason delimiter='|'"]


def _files(said: str) -> list[list[str]]:
    return _rows(said, cells=2)


def files_in(said: str) -> list[list[str]]:
    """[[job id, its output file]] from `bjobs -l`, which breaks lines anywhere."""
    jobs = re.split(r"^Job <(?=\d)", re.sub(r"\n {10,}", "", said), flags=re.MULTILINE)[1:]
    files = ((job.partition(">")[0], re.search(r"Output File(?: \(overwrite\))? <(.*?)>", job)) for job in jobs)
    return [[job_id, file[1]] for job_id, file in files if file]


FILES = (
    ([*FIELDS, "jobid output_file delimiter='|'"], _files),
    (["bjobs", "-a", "-l"], files_in),
)
"""Ways to ask for output files; the second one is for LSF's relatives."""


def ends(job_ids: Sequence[str]) -> dict[str, End]:
    """How jobs ended, of those of which LSF tells."""
    found = {}
    for chunk in chunks(job_ids):
        for row in _rows(answer([*ENDS, *chunk])[1], cells=3):
            hosts = [] if row[1] in ("", "-") else [re.sub(r"^\d+\*", "", host) for host in row[1].split(":")]
            found[row[0]] = End(_term(row[2]), tuple(hosts))
    return found


def submitted_as(name: str, log: str) -> str | None:
    """Id of the job with this name and this output file, which no other job has; None where there is none.

    None too for a bjobs that cannot tell. Raises SchedulerSilentError.
    """
    for form, files in FILES:
        words = [*form, "-J", name]
        code, said = answer(words)
        if found := files(said):
            return next((job_id for job_id, file in found if file == log), None)
        if code in (MISSING, CANNOT_START, HANGS) or is_transient(said) or (code and not said.strip()):
            raise silence(words, code, said)
        if NO_JOB.search(said):
            break
    return None


def pending_reasons(job_ids: Sequence[str]) -> dict[str, str]:
    """{job id: why LSF does not start it}, of those that wait and of which it tells."""
    reasons: dict[str, list[str]] = {}
    job_id = ""
    for chunk in chunks(job_ids):
        for line in answer(["bjobs", "-p", *chunk])[1].splitlines():
            if number := re.match(r"\d+", line):
                job_id = number[0]
            elif line.startswith(" ") and job_id:
                reasons.setdefault(job_id, []).append(line.strip())
    return {job_id: " ".join(lines).rstrip(";") for job_id, lines in reasons.items()}


def end_in(log: str) -> End | None:
    """How a job ended, from the report that LSF adds to its output; None where there is none yet."""
    _, mark, report = log.rpartition("Sender: LSF System")
    if not mark:
        return None
    where = re.search(r"^Job was executed on host\(s\) <[^>]+>.*(?:\n +<[^>]+>.*)*", report, re.MULTILINE)
    hosts = re.findall(r"(?:^ +|host\(s\) )<(?:\d+\*)?([^>]+)>", where[0], re.MULTILINE) if where else []
    return End(_term(report), tuple(hosts))


def output_in(log: str) -> str:
    """A job's own output: LSF's report follows it, or where LSF cannot append stands before it."""
    own = re.split(r"^(?:-{10,}\n)?Sender: LSF System", log, maxsplit=1, flags=re.MULTILINE)[0]
    return own if own.strip() else log.partition("The output (if any) follows:")[2]


def _rows(said: str, cells: int) -> list[list[str]]:
    rows = ([cell.strip() for cell in line.split("|")] for line in said.splitlines())
    return [row for row in rows if len(row) == cells and row[0].isdigit()]


def _term(text: str) -> str | None:
    """LSF's word for why it ended a job, as TERM_MEMLIMIT; a report may quote one in its summary of the command."""
    return next(iter(re.findall(r"^(TERM_\w+)", text, re.MULTILINE)[-1:]), None)
