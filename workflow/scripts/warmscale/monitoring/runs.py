"""Where one run is, from the files of its state folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..records import OUTCOMES
from .files import heartbeat, last_epoch, read_object, read_objects
from .text import count

STATES = ("finished", "diverged", "running", "queued", "paused", "pending", "lost?", "failed")
"""In the order in which they are counted for a reader."""
UNDER_WAY = ("running", "queued")
SILENT_SEC = 120.0
"""After so long without a heartbeat (one in 5 s) a run is no longer believed to be alive."""


def is_measurement(run_id: str) -> bool:
    """Whether an id is that of a measurement, not of a run: study/throughput.py makes them."""
    return run_id.startswith("tp-")


@dataclass(frozen=True)
class RunStatus:
    """What is known of a run, or of a measurement, which has neither epochs nor metrics."""

    run_id: str
    state: str
    """One of STATES."""
    steps_done: int = 0
    total_steps: int | None = None
    epoch: int = 0
    """The one that goes on, from 1; of a run that has ended, epochs done."""
    epochs: int | None = None
    attempts: int = 0
    """Started so far."""
    node_hours: float = 0.0
    job_id: str | None = None
    failure_class: str | None = None
    failure: str | None = None
    rank: int | None = None
    """Whose log says why."""
    advice: Sequence[Mapping[str, Any]] = ()
    """What would help, where the trainer knows: `what`, `fits` (true: tried), `changes_result`."""
    host: str | None = None
    silent_sec: float | None = None
    """Since the last heartbeat of an attempt that goes on."""
    eta_sec: float | None = None
    images_per_sec: float | None = None
    top1: float | None = None
    """Of the last epoch, in percent."""

    @property
    def fraction(self) -> float:
        """How much of the run is trained; a divergence ends it."""
        if self.state in OUTCOMES:
            return 1.0
        return min(self.steps_done / self.total_steps, 1.0) if self.total_steps else 0.0


def read_run(study: str, run_id: str, planned: Mapping[str, Any], now: float) -> RunStatus:
    """The run as its state folder has it at this moment, without what `with_metrics` adds.

    The outcome is looked for first: most runs of a large study have one, and need no other question. What a run leaves
    while it is being read is later than what was read before, so the order below never shows a run as less than it was.
    """
    folder = f"{study}/state/{run_id}"
    outcome = read_object(f"{folder}/outcome.json")
    going = {} if outcome else read_object(f"{folder}/attempt.json")
    ended = read_objects(f"{folder}/attempts.jsonl")
    last = ended[-1] if ended else {}
    if going.get("number", 0) <= last.get("number", 0):
        going = {}  # its line was written this moment
    hours = sum(_node_hours(attempt, attempt.get("ended", 0.0)) for attempt in ended)
    state = outcome.get("state") or last.get("state")
    if state in OUTCOMES and not going:
        epoch = outcome.get("epochs_done", 0)
        return RunStatus(
            run_id,
            state,
            steps_done=outcome.get("steps_done", 0),
            epoch=epoch,
            epochs=planned.get("epochs") or epoch or None,
            attempts=len(ended),
            node_hours=hours,
            job_id=_text(last.get("job_id")),
            host=last.get("host"),
        )
    run = _without_outcome(RunStatus(run_id, "pending"), folder, going, last, planned, now)
    hours += _node_hours(going, now - (run.silent_sec or 0.0))
    epoch = run.epoch or int(run.fraction * (run.epochs or 0))  # 0 is what is told between start and first step
    return replace(run, epoch=epoch, attempts=len(ended) + bool(going), node_hours=hours)


def _without_outcome(
    run: RunStatus, folder: str, going: dict[str, Any], last: dict[str, Any], planned: Mapping[str, Any], now: float
) -> RunStatus:
    """State and progress of a run that has no result yet."""
    job, progress = read_object(f"{folder}/job.json"), read_object(f"{folder}/progress.json")
    content = read_object(f"{folder}/content.json") if going or not planned else {}
    planned = planned or content
    run = replace(
        run,
        epochs=planned.get("epochs"),
        epoch=progress.get("epoch", 0),
        total_steps=planned.get("total_steps") or progress.get("total_steps"),
        steps_done=last.get("steps_done", 0),
        job_id=_text(going.get("job_id") or job.get("job_id") or last.get("job_id")),
        host=going.get("host") or last.get("host"),
    )
    beat = heartbeat(f"{folder}/lease")
    if going:
        return _going(run, going, {**progress, "images_per_step": content.get("mini_batch_size")}, beat, now)
    if beat is not None and now - beat < SILENT_SEC:  # between two attempts, or publishing
        return replace(run, state="running", silent_sec=now - beat)
    if job and _is_newer(job, last):
        return replace(run, state="queued")
    if not last:
        return run
    reasons = {name: last.get(name) for name in ("failure_class", "failure", "rank")}
    reasons["advice"] = last.get("advice", ())
    if last.get("state") == "killed":
        reasons["failure"] = reasons["failure"] or "killed"
    return replace(run, state="failed" if last.get("state") == "failed" else "paused", **reasons)


def _going(
    run: RunStatus, going: dict[str, Any], progress: dict[str, Any], beat: float | None, now: float
) -> RunStatus:
    """An attempt without an end: it goes on, or nobody was left to say that it ended."""
    started, before = going.get("started", now), going.get("steps_before", 0)
    told = progress.get("time", 0.0)
    is_fresh = told >= started  # else what an earlier attempt left
    beat = beat or max(started, told)  # folders of a version without leases
    run = replace(
        run,
        state="running" if now - beat < SILENT_SEC else "lost?",
        silent_sec=max(now - beat, 0.0),
        steps_done=progress.get("step", before) if is_fresh else before,
    )
    if not is_fresh or run.state != "running":
        return run
    rate = progress.get("images_per_sec")
    if rate and progress["images_per_step"]:
        steps_per_sec = rate / progress["images_per_step"]
    else:  # what an older version left: with the time to start
        steps_per_sec = (run.steps_done - before) / max(told - started, 1e-9)
    left = (run.total_steps or run.steps_done) - run.steps_done
    eta = max(left / steps_per_sec - (now - told), 0.0) if steps_per_sec > 0 else None
    return replace(run, eta_sec=eta, images_per_sec=rate)


def counted(runs: Sequence[RunStatus]) -> str:
    """`3 runs`, `3 runs and 1 measurement`, `1 measurement`."""
    measured = sum(is_measurement(run.run_id) for run in runs)
    parts = [count(len(runs) - measured, "run")] if len(runs) > measured or not measured else []
    return " and ".join([*parts, *([count(measured, "measurement")] if measured else [])])


def record_of(study: str, run_id: str) -> str:
    """Path of the published record of a run, or of a measurement."""
    if is_measurement(run_id):
        return f"{study}/throughput/{run_id}/measurement.json"
    return f"{study}/runs/{run_id}/run.json"


def published_run(study: str, run_id: str) -> RunStatus:
    """The run as its published record has it, for results that came without the private state."""
    record = read_object(record_of(study, run_id))
    attempts = record.get("attempts") or [{}]
    state = record.get("state", "pending")
    return RunStatus(
        run_id,
        state if state in STATES else "pending",
        steps_done=record.get("steps_done", 0),
        epoch=record.get("epochs_done", 0),
        epochs=record.get("content", {}).get("epochs"),
        attempts=len(record.get("attempts", ())),
        node_hours=record.get("node_hours", 0.0),
        job_id=_text(attempts[-1].get("job_id")),
        failure_class=record.get("failure_class"),
        failure=record.get("failure"),
        rank=attempts[-1].get("rank"),
        advice=record.get("advice", ()),
        host=attempts[-1].get("host"),
    )


def with_metrics(study: str, run: RunStatus) -> RunStatus:
    """The run with accuracy so far and rate: read only for what is shown."""
    if run.state == "pending":
        return run
    row = last_epoch(f"{study}/state/{run.run_id}/epochs.csv") or last_epoch(f"{study}/runs/{run.run_id}/epochs.csv")
    rate = run.images_per_sec or _number(row.get("images_per_sec"))
    return replace(run, top1=_number(row.get("top1")), images_per_sec=rate)


def _is_newer(job: Mapping[str, Any], last: Mapping[str, Any]) -> bool:
    """Whether a job was submitted after the last attempt; by its id, as two machines' clocks differ."""
    if job.get("job_id") and last.get("job_id"):
        return str(job["job_id"]) != str(last["job_id"])
    return job.get("submitted", 0.0) >= last.get("ended", 0.0)


def _node_hours(attempt: Mapping[str, Any], until: float) -> float:
    nodes = attempt.get("nodes") or 1
    count = nodes if isinstance(nodes, int) else len(nodes)
    return count * max(until - attempt.get("started", until), 0.0) / 3600


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
