"""The timetable of a plan as a figure: a bar a run, and the nodes in use beneath."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..analysis import style
from ..analysis.canvas import legend, new_figure
from .packing import Span
from .plan import Plan, PlannedRun

BAR_IN = 0.075
"""Height of the bar of a run, inches, as long as the figure is not too high."""
HIGHEST_IN = 6.0
LIMIT_LINE = {"color": style.DARK, "linewidth": 0.8, "linestyle": (0, (9, 2, 1, 2, 1, 2))}


def timetable(plan: Plan) -> Figure:
    """When each run would be carried out, by experiment, and how many nodes are in use."""
    runs = sorted(plan.having("planned", "required"), key=lambda run: (run.span.start_hour, -run.priority))
    height = min(HIGHEST_IN, max(1.2, BAR_IN * len(runs))) + 1.6
    figure = new_figure(style.FULL_WIDTH_IN, height, "Predicted timetable, if no job waits for others", "")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[max(1.2, height - 2.2), 1.0])
    _bars(above, plan, runs)
    _nodes(below, plan, [(run.span, run.cost.nodes) for run in runs])
    return figure


def _bars(axis: Axes, plan: Plan, runs: list[PlannedRun]) -> None:
    names = [(plan.study.experiments_of(run.run_id) or ["none"])[0] for run in runs]
    colors = dict(zip(dict.fromkeys(names), _colors(), strict=False))
    for place, (run, name) in enumerate(zip(runs, names, strict=True)):
        look = {"color": colors.get(name, style.MID), "edgecolor": "white", "linewidth": 0.3}
        axis.barh(place, run.span.end_hour - run.span.start_hour, left=run.span.start_hour, height=1.0, **look)
    axis.set(ylim=(len(runs) - 0.5, -0.5), yticks=[], ylabel=f"{len(runs)} runs, the most urgent above")
    axis.grid(visible=False)
    legend(axis, [Patch(color=color, label=name) for name, color in colors.items()], "experiment")


def _nodes(axis: Axes, plan: Plan, spans: list[tuple[Span, int]]) -> None:
    moments = sorted({moment for span, _ in spans for moment in (span.start_hour, span.end_hour)})
    used = [sum(nodes for span, nodes in spans if span.start_hour <= moment < span.end_hour) for moment in moments]
    axis.fill_between(np.array(moments), np.array(used), step="post", color=style.LIGHT, linewidth=0)
    axis.step(moments, used, where="post", color=style.MID, linewidth=0.9)
    if math.isfinite(plan.limits.concurrent_nodes):
        axis.axhline(plan.limits.concurrent_nodes, **LIMIT_LINE)
    if math.isfinite(plan.limits.deadline_hours):
        axis.axvline(plan.limits.deadline_hours, **LIMIT_LINE)
    axis.set(xlabel="hours from the start", ylabel="nodes in use", xlim=(0, None), ylim=(0, None))


def _colors() -> list[str]:
    return [*style.WORD_COLORS, *("#8da0cb", "#a6761d", "#666666", "#b2df8a")]
