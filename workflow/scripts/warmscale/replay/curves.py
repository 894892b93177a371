"""Curves that belong to runs of another source, and the number of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from ..study.metric import LAST_EPOCHS
from .records import Gathered, RawRun
from .values import as_levels


def attach_curves(gathered: Gathered) -> None:
    """Give runs of `runs` the epochs that `epochs` has of them; what is left are runs of their own.

    They belong together by run_id where both have one, else by seed and all settings that both have. The numbers of a
    run that `runs` has are kept: somebody published them.
    """
    runs = [run for run in gathered.runs if run.kind == "runs"]
    curves = [run for run in gathered.runs if run.kind == "epochs"]
    if not (runs and curves):
        return
    by_key: dict[str | int | None, list[RawRun]] = {}
    for run in runs:
        for key in {run.run_id, run.seed} - {None}:
            by_key.setdefault(key, []).append(run)
    attached: set[int] = set()
    for curve in curves:
        near = [run for key in {curve.run_id, curve.seed} - {None} for run in by_key.get(key, ())]
        matches = {id(run): run for run in near if not run.epochs and _is_same(run, curve)}
        if len(matches) == 1:
            (run,) = matches.values()
            run.epochs, run.settings = curve.epochs, curve.settings | run.settings
            attached.add(id(curve))
    gathered.runs = [run for run in gathered.runs if id(run) not in attached]
    gathered.notes.append(f"{len(attached)} of {len(runs)} rows of runs have epochs; their own numbers are kept")


def _is_same(run: RawRun, curve: RawRun) -> bool:
    if run.run_id and curve.run_id:
        return run.run_id == curve.run_id
    shared = [name for name in run.settings if name in curve.settings]
    pairs = ([run.settings[name], curve.settings[name]] for name in shared)
    same = all(first == second for first, second in map(as_levels, pairs))
    return run.seed is not None and run.seed == curve.seed and bool(shared) and same


def settle(run: RawRun, metrics: Sequence[str], rule: str, chance: float | None) -> dict[str, float]:
    """{metric: number of the run}; a failed run has none, a diverged one at most chance level in the first metric."""
    if run.state == "failed":
        return dict.fromkeys(metrics, math.nan)
    if run.state == "diverged":
        return dict.fromkeys(metrics, math.nan) | ({} if chance is None else {metrics[0]: chance})
    return {metric: run.metrics.get(metric, of_epochs(run, metric, rule)) for metric in metrics}


def of_epochs(run: RawRun, metric: str, rule: str) -> float:
    """The last number of a run that is there, or the median of the last five."""
    values = [value for row in run.epochs if math.isfinite(value := row.get(metric, math.nan))]
    if not values:
        return math.nan
    return values[-1] if rule == "last" else median(values[-LAST_EPOCHS:])
