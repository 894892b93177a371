"""Submitting to a scheduler that fails now and then: once, and for as long as it takes. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TypeVar

from .ask import CANNOT_START, HANGS, MISSING, RefusedError, SchedulerSilentError, answer

ASK_AGAIN_SEC = 10.0
FIRST_PAUSE_SEC = 5.0
LONGEST_PAUSE_SEC = 60.0
FEWEST_TRIES = 3
"""Of a submission whose answer looks neither like a reason that passes nor like one that stays."""

Told = TypeVar("Told")
Say = Callable[[str], None]


def insist(words: Sequence[str], speech: ModuleType, look_up: Callable[[], str | None], warn: Say) -> str:
    """Submit, again and again where that fails for a reason that may pass; the job's id, or raises RefusedError.

    `look_up` finds the job that was submitted although the answer was lost. Where it may have been, nothing is
    submitted until that is known.
    """
    pause, tries = FIRST_PAUSE_SEC, 1
    while True:
        code, said = answer(words)
        if code == 0:
            return _job_id(said, speech, look_up, warn)
        reason = speech.refusal_in(said) or f"{words[0]}: exit code {code}"
        passes = code in (MISSING, CANNOT_START, HANGS) or speech.is_transient(said) or speech.is_limit(said)
        if speech.is_refused(said) or not (passes or tries < FEWEST_TRIES):
            raise RefusedError(reason)
        may_be_there = code == HANGS or code < 0 or speech.is_lost(said)
        wait = max(pause, speech.LATE_SEC) if may_be_there else pause
        warn(f"{reason}; trying again in {wait:.0f} s")
        time.sleep(wait)
        pause, tries = min(2 * pause, LONGEST_PAUSE_SEC), tries + 1
        try:
            job_id = surely(look_up, warn) if may_be_there else look_up()
        except SchedulerSilentError:  # and there is no reason to believe that the job was taken
            continue
        if job_id:
            return job_id


def _job_id(said: str, speech: ModuleType, look_up: Callable[[], str | None], warn: Say) -> str:
    """Of a submission that succeeded; where its words were lost in those of a site's wrapper, by looking it up."""
    try:
        return speech.job_id_in(said)
    except RefusedError:
        time.sleep(speech.LATE_SEC)
        if job_id := surely(look_up, warn):
            return job_id
        raise


def surely(ask: Callable[[], Told], warn: Say) -> Told:
    """An answer, once the scheduler gives one: a guess would start copies."""
    while True:
        try:
            return ask()
        except SchedulerSilentError as error:
            warn(f"{error}; asking again in {ASK_AGAIN_SEC:.0f} s before anything is submitted")
            time.sleep(ASK_AGAIN_SEC)
