"""Lack of memory in words: one line for run.json, and what to do about it. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def failure_line(rank: int, memory: dict[str, Any], advice: Sequence[dict[str, Any]] = ()) -> str:
    """One line for run.json."""
    peak, limit = memory["peak_mib"], memory["limit_mib"]
    said = "" if peak is None else f": peak {peak:,.0f}" + (f" of {limit:,.0f}" if limit else "") + " MiB"
    if images := memory.get("images"):
        of_worker = "worker" if images == memory["worker_batch_size"] else "BatchNorm batch"
        together = memory.get("workers_per_pass") or 1
        said += f" with {images} images a " + (of_worker if together == 1 else f"pass of {together} workers")
    notes = [memory["limit_what"]] * bool(memory["on_host"] and limit)
    for name, words in (("asked_mib", "MiB more were asked for"), ("others_mib", "MiB used by others")):
        notes += [f"{memory[name]:,.0f} {words}"] if memory[name] else []
    said += f" ({'; '.join(notes)})" * bool(notes)
    during = "" if memory["during"] == "training" else f" in {memory['during']}"
    return f"rank {rank} ran out of memory{during}{said}{_best(advice)}"


def _best(advice: Sequence[dict[str, Any]]) -> str:
    fitting = sorted((each for each in advice if each["fits"]), key=lambda each: each["changes_result"])
    if not fitting:
        return ""
    return f"; fits: {fitting[0]['what']}" + (", which is another run" if fitting[0]["changes_result"] else "")


def advice_lines(advice: Sequence[dict[str, Any]]) -> list[str]:
    """For a reader: what leaves the result as it is, and what is another run."""
    lines = []
    for heading, changes in (("without changing the result:", False), ("this is another run:", True)):
        items = [each for each in advice if each["changes_result"] is changes]
        lines += [heading] * bool(items) + [f"  {each['what']}: {_verdict(each)}" for each in items]
    return lines


def _verdict(each: dict[str, Any]) -> str:
    peak = "" if each["peak_mib"] is None else f", peak {each['peak_mib']:,.0f} MiB"
    if each["fits"] is None:
        return "not tried" + (peak.replace("peak", "by estimate") if peak else "")
    return ("fits, tried" if each["fits"] else "did not fit when tried") + peak
