"""What failed or is missing in a study, why, where to read on, and what to type: the same for all who tell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence

from .files import last_lines, read_object
from .runs import RunStatus, counted, is_measurement, record_of
from .text import count, duration

LOG_LINES = 5
ADVICE_LINES = 3
DETAILED = 10
"""Failures that are shown with the end of their log; of further ones the reason is enough."""
STOPPED = ("failed", "lost?", "paused")
"""States of a run that was started and needs somebody, or the same command, to go on."""
_QUERY = {"lsf": "bjobs", "slurm": "squeue -j"}


def failure_lines(
    folder: str,
    runs: Sequence[RunStatus],
    command: str,
    *,
    detailed: int | None = DETAILED,
    listed: int | None = None,
    under_way: bool = False,
) -> list[str]:
    """What failed or is missing among the runs of results/<study>, and the command that runs only that again.

    The first `detailed` come with their log's last lines, up to `listed` with their reason; None is all. Runs that were
    never started are missing unless the workflow is `under_way`. Empty where nothing failed and nothing is missing.
    """
    stopped = sorted((run for run in runs if run.state in STOPPED), key=lambda run: STOPPED.index(run.state))
    lines = []
    for number, run in enumerate(stopped[:listed]):
        lines.append(_headline(run))
        if detailed is None or number < detailed:
            lines += [f"    {line}" for line in _details(folder, run)]
    if listed is not None and len(stopped) > listed:
        lines.append(f"... and {len(stopped) - listed} more: `warmscale status --failed` lists all")
    never = [] if under_way else [run for run in runs if run.state == "pending"]
    if never:
        further = f" and {len(never) - 1} more" if len(never) > 1 else ""
        lines.append(f"never started: {never[0].run_id}{further}")
    return lines + _commands(folder, stopped + never, command, under_way)


def rerun_command(command: str, folder: str, run_id: str) -> str:
    """The command for one run only. Its file comes first: --configfile would take it for one of its own."""
    words = shlex.split(command)
    place = next((number for number, word in enumerate(words, 1) if os.path.basename(word) == "snakemake"), len(words))
    return shlex.join([*words[:place], record_of(folder, run_id), *words[place:]])


def _commands(folder: str, runs: Sequence[RunStatus], command: str, under_way: bool) -> list[str]:
    if not runs:
        return []
    failed = [run for run in runs if run.state == "failed"]
    missing = len(runs) - len(failed)
    parts = [f"{counted(failed)} failed"] if failed else []
    if missing:
        parts.append(f"{missing} {'is' if missing == 1 else 'are'} missing" if failed else f"{counted(runs)} missing")
    does = "measures" if all(is_measurement(run.run_id) for run in runs) else "trains"
    when = "when the workflow has ended, the same command" if under_way else "the same command"
    what = f"tries again, and {does} nothing else" if failed else f"{does} what is missing, and nothing else"
    one = "only it" if len(runs) == 1 else "only the first of them"
    return [
        f"{', '.join(parts)}; {when} {what}:",
        f"    {command}",
        f"{one}:",
        f"    {rerun_command(command, folder, runs[0].run_id)}",
    ]


def _headline(run: RunStatus) -> str:
    if run.state == "failed":
        return f"{run.run_id}: {run.failure_class or 'unknown'}: {run.failure or 'no reason was recorded'}"
    if run.state == "lost?":
        return f"{run.run_id}: lost?: no heartbeat for {duration(run.silent_sec)}"
    reason = ": ".join(part for part in (run.failure_class, run.failure) if part) or "asked to stop"
    return f"{run.run_id}: paused: {reason}"


def _details(folder: str, run: RunStatus) -> Iterator[str]:
    state = f"{folder}/state/{run.run_id}"
    job = read_object(f"{state}/job.json")
    place = f" on {run.host}" if run.host else ""
    name = f"job {run.job_id}{place}" if run.job_id else f"no batch job{place}"
    if run.state == "lost?":
        query = _QUERY.get(str(job.get("scheduler")))
        ask = f"; `{query} {run.job_id}` tells" if query and run.job_id else ""
        what = name if run.job_id else f"its process{place}"
        yield f"{what} may be suspended, or its machine dead{ask}"
    else:
        yield f"{name}, {count(run.attempts, 'attempt')}"
    yield from (f"advice: {line}" for line in _advice(run))
    if run.state == "paused" and run.failure_class in (None, "walltime"):
        return  # as it should be: nothing went wrong
    for path in _logs(folder, run, job):
        if found := last_lines(path, LOG_LINES):
            yield path
            yield from (f"| {line}" for line in found)
            return
    yield f"no log in {state}/logs"


def _advice(run: RunStatus) -> Iterator[str]:
    """What may help, without what was tried in vain."""
    pieces = [piece for piece in run.advice if isinstance(piece, dict) and piece.get("fits") is not False]
    for piece in pieces[:ADVICE_LINES]:
        notes = ["tried: it fits"] if piece.get("fits") else []
        notes += ["changes the result"] if piece.get("changes_result") else []
        yield str(piece.get("what", "")) + (f" ({', '.join(notes)})" if notes else "")


def _logs(folder: str, run: RunStatus, job: dict) -> Iterator[str]:
    """Logs of a run, the one that most likely tells the reason first."""
    logs = f"{folder}/state/{run.run_id}/logs"
    if run.rank is not None:
        yield f"{logs}/rank{run.rank}.log"
    yield f"{logs}/launcher.log"
    if job.get("log"):
        yield str(job["log"])
    yield f"{logs}/rank0.log"
    yield f"{folder}/logs/{'measure' if is_measurement(run.run_id) else 'train'}/{run.run_id}.log"
    yield f"{logs}/launch.log"  # where it was once
