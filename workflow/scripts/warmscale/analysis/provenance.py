"""Where the runs of a study come from: versions, commits, machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd


def provenance(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """{what: its values, the number of runs behind each where there are several}, from the run.json of all runs."""
    attempts = [attempt for outcome in outcomes for attempt in outcome.get("attempts") or ()]
    return {
        "commit": _counted(_commit(outcome["commit"]) for outcome in outcomes if outcome.get("commit")),
        "versions": _versions(outcomes),
        "device": _counted(
            f"{name} ({outcome['device']})" for outcome in outcomes if (name := outcome.get("device_name"))
        ),
        "hosts": sorted({str(attempt["host"]) for attempt in attempts if attempt.get("host")}),
        "ranks": _values("world_size", outcomes),
        "ZeRO stage": _values("zero_stage", outcomes),
        "deterministic algorithms": _values("deterministic", outcomes),
        "newest run ended": [moment(max((attempt["ended"] for attempt in attempts), default=None))],
        "node-hours, all attempts": [f"{sum(outcome.get('node_hours') or 0.0 for outcome in outcomes):.3g}"],
    }


def measured_provenance(throughput: pd.DataFrame) -> dict[str, list[str]]:
    """The same of a study of measurements alone, from their table."""
    done = throughput[throughput["state"] == "finished"]
    return {
        "device": sorted(done["device_name"].dropna().unique()),
        "ranks": [str(count) for count in sorted(done["ranks"].unique())],
        "node-hours, all attempts": [f"{throughput['node_hours'].sum():.3g}"],
    }


def failures(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records of the runs that diverged or failed, diverged ones first."""
    return sorted(
        (record for record in records if record["state"] in {"diverged", "failed"}),
        key=lambda record: (record["state"], record["run_id"]),
    )


def log_of(record: Mapping[str, Any]) -> str | None:
    """The log that says most of why a run did not end: of the rank that is to blame, else of who started the ranks.

    Relative to results/<study>, but for the one of a batch job that started nothing.
    """
    attempts, job = record.get("attempts") or (), record.get("job") or {}
    if not attempts:
        return job.get("log")
    rank = attempts[-1].get("rank", 0)
    return f"state/{record['run_id']}/logs/{'launcher' if rank is None else f'rank{rank}'}.log"


def attempt_lines(record: Mapping[str, Any]) -> list[str]:
    """A line an attempt: how it ended and why, how far it came, where and when."""
    lines = []
    for attempt in record.get("attempts") or ():
        classed = f" ({attempt['failure_class']})" if attempt.get("failure_class") else ""
        reason = attempt.get("failure")
        why = f": {reason}" if reason and reason != record.get("failure") else ""
        job = f"job {attempt['job_id']}" if attempt.get("job_id") else None
        place = [_steps(attempt), attempt.get("host"), job, moment(attempt["ended"]) if "ended" in attempt else None]
        lines.append(f"{attempt['number']}: {attempt['state']}{classed}{why}, {', '.join(filter(None, place))}")
    return lines


def _steps(attempt: Mapping[str, Any]) -> str | None:
    before, done = attempt.get("steps_before") or 0, attempt.get("steps_done")
    if done is None:
        return f"from step {before:,}"
    return f"steps {before:,} to {done:,}" if before else f"{done:,} steps"


def moment(seconds: float | None) -> str:
    """A time of a record, seconds since 1970, in words."""
    return "–" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _values(field: str, outcomes: Iterable[Mapping[str, Any]]) -> list[str]:
    words = {True: "yes", False: "no"}
    found = (outcome[field] for outcome in outcomes if outcome.get(field) is not None)
    return _counted(words[value] if isinstance(value, bool) else str(value) for value in found)


def _commit(commit: Mapping[str, Any]) -> str:
    if not commit.get("hash"):
        return "not in a git repository"
    return f"{commit['hash']}{' with uncommitted changes' if commit.get('dirty') else ''}"


def _versions(outcomes: Iterable[Mapping[str, Any]]) -> list[str]:
    told = [pair for outcome in outcomes for pair in (outcome.get("versions") or {}).items()]
    pairs = {(name, str(version)) for name, version in told if version}
    return [f"{name} {version}" for name, version in sorted(pairs)]


def _counted(values: Iterable[str]) -> list[str]:
    counts = Counter(values)
    return list(counts) if len(counts) < 2 else [f"{value}: {count} runs" for value, count in sorted(counts.items())]
