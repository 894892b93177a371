"""What of a budget is left for the runs of a plan: what was spent is taken off, and what measurements will take."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..analysis.unpublished import is_measured
from ..cluster.alone import lack
from ..cluster.site import Site
from ..monitoring.studies import read_study
from ..study import Study
from ..study.config import Placement
from ..study.planning import Budget
from ..study.throughput import Measurement, blocks
from .calibration import CostModel
from .choices import Limits
from .costs import step_shape
from .prices import Prices
from .step_time import step_time


@dataclass(frozen=True)
class Measuring:
    """What the throughput measurements will take that are not done yet."""

    number: int = 0
    node_hours: float = 0.0
    node_hours_low: float = 0.0
    """At the lower ends of the 95 % intervals of their step times; starts as in the middle."""
    node_hours_high: float = 0.0


@dataclass(frozen=True)
class TakenOff:
    """Node-hours of the budget that no run of the plan can have."""

    spent: float = 0.0
    """By all attempts so far."""
    measuring: Measuring = field(default_factory=Measuring)

    @property
    def node_hours(self) -> float:
        """All of them."""
        return self.spent + self.measuring.node_hours

    @property
    def why(self) -> str:
        """In words behind a number that is too small; nothing where nothing is taken off."""
        return ", as " + " and ".join(self._reasons()) if self.node_hours else ""

    def _reasons(self) -> Iterator[str]:
        if self.spent:
            yield f"{self.spent:.1f} are spent"
        if self.measuring.number:
            yield f"{self.measuring.node_hours:.2g} go to measurements"


def limits_of(study: Study, site: Site, taken_off: TakenOff) -> Limits:
    """What is left of the budget, and the jobs at a time of the site; here, as many as each have a core a rank."""
    given = (study.config.budget or Budget()).model_dump(exclude_none=True)
    if "node_hours" in given:
        given["node_hours"] = max(0.0, given["node_hours"] - taken_off.node_hours)
    jobs = site.eligible_jobs
    if site.scheduler == "local" and study.runs:
        jobs = max(1, (site.gpus or site.cores) // max(study.where(run).ranks for run in study.runs.values()))
    return Limits(**given, **({"jobs": jobs} if jobs else {}))


def spent_node_hours(study: Study, results: Path) -> float:
    """What all attempts at the runs and measurements of a study have taken so far, as `warmscale status` counts it."""
    ids: dict[str, dict] = {one: {} for one in [*study.runs, *study.measurements]}
    return read_study(str(results), ids, None, time.time()).node_hours


def measuring(prices: Prices, results: Path) -> Measuring:
    """Of what is published under results/<study> not yet; points that the site has no nodes for cost nothing.

    Raises PlanningError where the size of a model is not known.
    """
    placement, hardware = prices.study.config.placement, prices.study.config.planning.hardware
    costs = [
        node_hours_of(each, prices.model_of(each), placement)
        for each in prices.study.measurements.values()
        if not lack(prices.site, each.where, hardware) and not is_measured(results / "throughput" / each.measurement_id)
    ]
    return Measuring(len(costs), *map(math.fsum, zip(*costs, strict=True)))


def node_hours_of(measurement: Measurement, model: CostModel, placement: Placement) -> tuple[float, float, float]:
    """Of one measurement, at the middle of the predicted step time and at both ends: its start, and all its steps.

    As training/measuring.py takes them: whole ones; unless averaging is a part of the update (ZeRO stage 1) also steps
    without it, and as many averages alone, one of which is not timed.
    """
    asked, where = measurement.content["throughput"], measurement.where
    shape = step_shape(measurement, where, placement, on_cpu=model.hardware.device == "cpu")
    has_input = measurement.reads_data
    step, predicted = step_time(shape, model.work, model.hardware, has_input), model.predict(shape, has_input)
    steps = asked["steps"]
    alone, averages = (0, 0) if asked["zero_stage"] else (steps + len(blocks(steps)), steps + 1)
    steps_sec = (measurement.total_steps - alone) * step.step_sec
    steps_sec += alone * step.alone_sec + averages * step.communication_sec
    ends = (predicted.step_sec, predicted.low_sec, predicted.high_sec)
    start_sec = model.hardware.start_up_sec.of
    return tuple(where.nodes * (start_sec + steps_sec * end / predicted.step_sec) / 3600 for end in ends)
