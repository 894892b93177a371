"""The search of gpu.py: settings of ours and of rivals, then the fastest against each other."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import common
from gpu_cases import Case, case_of, neighbours, plan, quick_plan, settings_of
from gpu_turns import READY_SEC, Competitor, measured, rate, row_of

TARGET_OF_RIVAL, TARGET_RATE = 0.97, 3300


@dataclass(frozen=True)
class Effort:
    """How long things are measured."""

    blocks: int = 7
    block_sec: float = 1.0
    duel_blocks: int = 15


def read_rows(name: str) -> list[dict[str, str]]:
    """What was measured before."""
    path = common.RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def still_valid(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Those that were measured on this machine at this commit: they are written again as such."""
    here = (common.machine(), common.commit())
    return [row for row in rows if (row["machine"], row["commit"]) == here]


def groups(cases: Sequence[Case], together: int) -> Iterator[list[Case]]:
    """Cases that are measured together; those that compile longest by themselves, since they measure to compile."""
    slow = [case for case in cases if case.compile == "max-autotune"]
    others = [case for case in cases if case.compile != "max-autotune"]
    yield from (list(others[first : first + together]) for first in range(0, len(others), together))
    yield from ([case] for case in slow)


def search(given: argparse.Namespace) -> None:
    """Measure what is not measured yet, then let the fastest take turns."""
    ends = time.monotonic() + 60 * given.minutes
    effort = Effort(blocks=2, block_sec=0.05, duel_blocks=2) if given.quick else Effort()
    rows = [] if given.quick or given.fresh else still_valid(read_rows("gpu_search"))
    done = {case_of(row) for row in rows}
    for images in (8,) if given.quick else given.images:
        planned = quick_plan(given.device) if given.quick else [replace(c, device=given.device) for c in plan(images)]
        rows += scanned([case for case in planned if case not in done], effort, given, ends, rows)
        here = [row for row in rows if int(row["images"]) == images]
        if any(case not in {case_of(row) for row in here} for case in planned):
            print(f"search: not all settings at {images} images were measured; call it again")
            continue
        best = max((row for row in here if row["loop"] in ("plain", "timm")), key=rate)
        if not given.quick:
            around = [case for case in neighbours(case_of(best)) if case not in done]
            known = {case_of(row) for row in here}
            rows += scanned([case for case in around if case not in known], effort, given, ends, rows)
            here = [row for row in rows if int(row["images"]) == images]
        duel(here, images, effort, given, ends)


def scanned(
    cases: Sequence[Case], effort: Effort, given: argparse.Namespace, ends: float, before: list[dict]
) -> list[dict[str, Any]]:
    """Rows of cases, as many as there is time for; written after each group."""
    rows: list[dict[str, Any]] = []
    for group in groups(cases, given.together):
        left = ends - time.monotonic()
        if left < (30 if given.device == "cuda" else 0):
            break
        for competitor in measured(group, blocks=effort.blocks, block_sec=effort.block_sec, ready_by=ends):
            row = row_of(competitor)
            if row["error"] == "not ready in time" and left < READY_SEC:
                continue  # the slot ended, it did not fail
            rows.append(row)
            print(rate(row), row["error"], json.dumps(settings_of(competitor.case)), flush=True)
        if not given.quick and rows:
            _write("gpu_search", [*before, *rows])
    return rows


def _write(name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Rows with machine, commit and date; those of earlier calls are of the same machine and commit."""
    kept = ("machine", "commit", "date")
    with contextlib.redirect_stdout(io.StringIO()):  # rows are printed as they come
        common.write_results(name, [{key: row[key] for key in row if key not in kept} for row in rows])


def duel(rows: Sequence[dict], images: int, effort: Effort, given: argparse.Namespace, ends: float) -> None:
    """The fastest rival and the fastest of ours of several kinds take turns; writes gpu.csv."""

    def best(*, loops: Sequence[str] = ("ours",), **asked: Any) -> Case | None:
        fitting = [row for row in rows if row["loop"] in loops]
        fitting = [row for row in fitting if all(str(row[name]) == str(value) for name, value in asked.items())]
        fastest = max(fitting, key=rate, default=None)
        return case_of(fastest) if fastest and rate(fastest) else None

    rival = best(loops=("plain", "timm"))
    found = [
        best(engine="deepspeed", workers=1, benchmark=True),
        best(engine="ddp", workers=1, benchmark=True),
        best(workers=1, benchmark=False),
        *(best(workers=workers) for workers in (2, 8)),
    ]
    if rival is None or time.monotonic() > ends - (60 if given.device == "cuda" else 0):
        print("search: no time to let the fastest take turns; call it again")
        return
    mine = [case for case in dict.fromkeys(found) if case]
    results = []
    others = max(1, given.together - 1)  # beside the rival
    for first in range(0, len(mine), others):
        cases = [rival, *mine[first : first + others]]
        group = measured(cases, blocks=effort.duel_blocks, block_sec=effort.block_sec, ready_by=ends)
        theirs = group[0].blocks
        for each in group[1:]:
            pairs = zip(theirs, each.blocks, strict=False)
            ratios = sorted(rival_sec / own_sec for rival_sec, own_sec in pairs)
            if ratios:
                results.append(duel_row(each, rival, ratios))
    old = [] if given.quick or given.fresh else still_valid(read_rows("gpu"))
    old = [row for row in old if int(row["images"]) != images]
    for row in results:
        print(json.dumps(row))
    if results and not given.quick:
        _write("gpu", [*old, *results])


def duel_row(competitor: Competitor, rival: Case, ratios: list[float]) -> dict[str, Any]:
    """A row of gpu.csv."""
    row = row_of(competitor)
    row.pop("error")
    ratio = statistics.median(ratios)
    return {
        **row,
        "rival": json.dumps(settings_of(rival)),
        "ratio_to_rival": round(ratio, 3),
        "ratio_min": round(ratios[0], 3),
        "ratio_max": round(ratios[-1], 3),
        "target_ratio": TARGET_OF_RIVAL,
        "target_images_per_sec": TARGET_RATE,
        "meets_targets": ratio >= TARGET_OF_RIVAL and rate(row) >= TARGET_RATE,
    }
