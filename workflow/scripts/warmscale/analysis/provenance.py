"""Where the runs of a study come from: versions, commits, machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


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


def failures(outcomes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The outcomes of the runs that diverged or failed, diverged ones first."""
    return sorted(
        (outcome for outcome in outcomes if outcome["state"] in {"diverged", "failed"}),
        key=lambda outcome: (outcome["state"], outcome["run_id"]),
    )


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
    pairs = {(name, str(version)) for outcome in outcomes for name, version in (outcome.get("versions") or {}).items()}
    return [f"{name} {version}" for name, version in sorted(pairs)]


def _counted(values: Iterable[str]) -> list[str]:
    counts = Counter(values)
    return list(counts) if len(counts) < 2 else [f"{value}: {count} runs" for value, count in sorted(counts.items())]
