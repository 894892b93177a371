"""Which attempts are followed by another one, and when a run is given up. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PERMANENT = ("out_of_memory", "data", "config", "audit", "bug")
"""Failure classes that the next attempt would meet again: the same nodes are not burnt for them twice."""

MOST_STOPS = 10
"""Attempts without a step that were asked to stop."""


def why_given_up(attempts: Sequence[Mapping[str, Any]]) -> str | None:
    """Why there is no further attempt after the last of these; None where there is one.

    Resuming is unlimited while it progresses: two attempts in a row that add no step end it. Attempts before the last
    one that gave up belong to an earlier command. One that was asked to stop before it added a step tells nothing of
    the run, but for ten of them in a row: whoever asks so often is a scheduler.
    """
    last = attempts[-1]
    if last["failure_class"] in PERMANENT:
        return last["failure"]
    all_current = _since_given_up(attempts)
    if len(all_current) >= MOST_STOPS and not any(_progresses(attempt) for attempt in all_current[-MOST_STOPS:]):
        return f"{MOST_STOPS} attempts in a row were ended before they added a step"
    current = [attempt for attempt in all_current if _progresses(attempt) or not was_asked_to_stop(attempt)]
    if len(current) < 2 or any(_progresses(attempt) for attempt in current[-2:]):
        return None
    return f"two attempts in a row added no step: {last['failure'] or last['failure_class'] or 'killed'}"


def _since_given_up(attempts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    earlier = [number for number, attempt in enumerate(attempts) if attempt["state"] == "failed"]
    return [*attempts[earlier[-1] + 1 :]] if earlier else [*attempts]


def was_asked_to_stop(attempt: Mapping[str, Any]) -> bool:
    """Whether an attempt ended because somebody wished it."""
    return attempt["state"] == "paused" and attempt["failure_class"] is None


def _progresses(attempt: Mapping[str, Any]) -> bool:
    return attempt["steps_done"] > attempt["steps_before"]
