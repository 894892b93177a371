"""bmod: another resource requirement for a job that waits."""

from __future__ import annotations

from dataclasses import replace

from . import requirements
from .scheduler import dispatch
from .store import LsfError, Store


def main(store: Store, words: list[str]) -> int:
    """Only -R, several times, or -Rn, and one job."""
    *options, number = words or [""]
    if not number.isdigit():
        raise LsfError("Job ID must be specified")
    if options == ["-Rn"]:
        options = []
    elif not options or options[::2] != ["-R"] * (len(options) // 2) or len(options) % 2:
        raise LsfError("the double of LSF models no other option of bmod than -R")
    texts = tuple(options[1::2])
    span = requirements.span(texts)
    with store.lock():
        job = store.job(int(number))
        if job is None or job.finished:
            raise LsfError(f"Job <{number}>: {'Job has already finished' if job else 'No matching job found'}")
        if job.true_state not in ("PEND", "PSUSP"):
            raise LsfError(f"Job <{number}>: Cannot modify a started job except for rusage resource reservation")
        asked = replace(
            job.request,
            requirements=texts,
            but=requirements.hosts_left_out(texts),
            ptile=span.get("ptile", 0),
            one_host="hosts" in span,
        )
        store.update(job.id, request=asked)
        print(f"Parameters of job <{number}> are being changed", flush=True)
        dispatch(store)
    return 0
