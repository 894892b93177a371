"""What a run costs: its steps, validations, checkpoints and starts, cut into jobs that the queue allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..cluster.placement import Where
from ..cluster.site import Site
from ..study.config import Placement
from ..study.planning import Planning
from ..study.rates import epoch_clock
from ..study.run import Run
from ..study.throughput import Measurement
from ..training.deadline import ROOM, WRITES
from ..training.passes import micro_batch_size, workers_together
from .calibration import CostModel
from .measured import has_overlap
from .step_time import StepShape, validation_image_sec
from .workload import PUBLISHED_SIZE, PlanningError

ROUND_MIN = 5
"""Walltimes are whole multiples of so many minutes."""


@dataclass(frozen=True)
class RunCost:
    """What a run will take from where it stands to its end."""

    nodes: int
    ranks_per_node: int
    step_sec: float
    train_sec: float
    """All steps that are left."""
    train_sec_low: float
    """At the lower end of the 95 % interval of the step time."""
    train_sec_high: float
    eval_sec: float
    """All validations that are left."""
    checkpoint_sec: float
    """All checkpoints, those of pauses as well."""
    startup_sec: float
    """The starts of all jobs."""
    jobs: int
    """Batch jobs, one after the other: each but the last pauses before its walltime."""
    walltime_min: int | None
    """What each of them asks for; None where the site has no limit."""
    wall_sec: float
    """All of it, waiting in queues left out."""
    node_hours: float
    node_hours_low: float
    """At the lower end of the 95 % interval of the step time, validation as much faster; all else as in the middle."""
    node_hours_high: float


@dataclass(frozen=True)
class _Left:
    """What is left of a run, at the middle of the predicted step time or at one end."""

    step_sec: float
    train_sec: float
    validation_sec: float
    """Of one."""
    validations: int
    checkpoint_sec: float
    """Of one, beside training."""
    write_sec: float
    """Of one, in the background."""
    checkpoints: int
    """Without those of pauses."""
    start_sec: float
    """Of one job."""

    @property
    def eval_sec(self) -> float:
        """All validations."""
        return self.validations * self.validation_sec

    @property
    def busy_sec(self) -> float:
        """Without starts and pauses."""
        return self.train_sec + self.eval_sec + self.checkpoints * self.checkpoint_sec

    @property
    def room_sec(self) -> float:
        """A job that has not ended pauses so long before its deadline: training/deadline.py."""
        longest_sec = self.step_sec + self.validation_sec + self.checkpoint_sec
        return ROOM * longest_sec + WRITES * self.write_sec

    @property
    def pause_sec(self) -> float:
        """A last checkpoint, with its write: nothing goes on meanwhile."""
        return self.checkpoint_sec + self.write_sec

    def wall_sec(self, jobs: int) -> float:
        """In so many jobs, each but the last with a pause at its end."""
        return self.busy_sec + jobs * self.start_sec + (jobs - 1) * self.pause_sec


def run_cost(
    run: Run,
    where: Where,
    site: Site,
    model: CostModel,
    planning: Planning,
    steps_done: int = 0,
    placement: Placement | None = None,
) -> RunCost:
    """Cost of a run at a place, from where it stands; of the study's placement what steps and checkpoints rest on.

    Raises SiteError where the site has no job of so many nodes, PlanningError where the longest is too short to train.
    """
    placement = placement or Placement()
    shape = step_shape(run, where, placement, on_cpu=model.hardware.device == "cpu")
    step = model.predict(shape)
    middle, low, high = (
        _left(run, shape, model, steps_done, placement, step_sec, slower=step_sec / step.step_sec)
        for step_sec in (step.step_sec, step.low_sec, step.high_sec)
    )
    limit_min = site.walltime_min(where.nodes)
    a_job_sec = math.inf if limit_min is None else _a_job_sec(run, where.nodes, limit_min, site.margin_sec, middle)
    jobs, jobs_low, jobs_high = (jobs_needed(each.busy_sec, a_job_sec, each.pause_sec) for each in (middle, low, high))
    needed_sec = high.wall_sec(1) * (1 + planning.margin) + high.room_sec + site.margin_sec
    return RunCost(
        nodes=where.nodes,
        ranks_per_node=where.ranks_per_node,
        step_sec=step.step_sec,
        train_sec=middle.train_sec,
        train_sec_low=low.train_sec,
        train_sec_high=high.train_sec,
        eval_sec=middle.eval_sec,
        checkpoint_sec=middle.checkpoints * middle.checkpoint_sec + (jobs - 1) * middle.pause_sec,
        startup_sec=jobs * middle.start_sec,
        jobs=jobs,
        walltime_min=None if limit_min is None else asked_min(needed_sec, jobs, limit_min),
        wall_sec=middle.wall_sec(jobs),
        node_hours=where.nodes * middle.wall_sec(jobs) / 3600,
        node_hours_low=where.nodes * low.wall_sec(jobs_low) / 3600,
        node_hours_high=where.nodes * high.wall_sec(jobs_high) / 3600,
    )


def step_shape(run: Run | Measurement, where: Where, placement: Placement, *, on_cpu: bool) -> StepShape:
    """Who takes part in a step of a run, or of a measurement, at a place."""
    images = micro_batch_size(run.content)
    workers = run.recipe.mini_batch_size // images
    size = run.content["dataset"].get("image_size", PUBLISHED_SIZE)
    together = workers_together(
        placement.workers_per_pass,
        workers // where.ranks,
        images_a_worker=images,
        image_size=size,
        device="cpu" if on_cpu else "cuda",
    )
    is_captured = placement.cuda_graphs and not on_cpu
    overlaps = has_overlap(compiled=placement.compile, captured=is_captured, zero_stage=placement.zero_stage)
    return StepShape(where.nodes, where.ranks_per_node, workers, images, together, overlaps)


def jobs_needed(busy_sec: float, a_job_sec: float, pause_sec: float) -> int:
    """Jobs, at least one, for work of so long, where each has so long for it and all but the last end with a pause."""
    return max(1, math.ceil((busy_sec - pause_sec) / (a_job_sec - pause_sec)))


def asked_min(needed_sec: float, jobs: int, limit_min: int) -> int:
    """What a job asks for: what the whole run needs, in multiples of five minutes, up to the limit.

    Jobs of a chain ask for the limit, the last one as well: what the ones before it will leave is not known.
    """
    return limit_min if jobs > 1 else min(limit_min, ROUND_MIN * math.ceil(needed_sec / 60 / ROUND_MIN))


def _left(
    run: Run, shape: StepShape, model: CostModel, steps_done: int, placement: Placement, step_sec: float, slower: float
) -> _Left:
    """What comes after so many steps; validation and checkpoints at the end of epochs, unless a clock decides those.

    slower: than the middle of the predictions, steps and validation alike.
    """
    machine, dataset = model.hardware, run.content["dataset"]
    clock = epoch_clock(run.recipe, dataset["num_train_images"])
    steps = run.total_steps - steps_done
    epochs = sum(clock.steps_until(epoch) > steps_done for epoch in range(1, run.content["epochs"] + 1))
    validation_sec = dataset["num_val_images"] / shape.ranks * validation_image_sec(model.work, machine) * slower
    checkpoints = epochs - 1
    if placement.checkpoint_minutes is not None:  # at most one a step, and none after the last
        working_sec, every_sec = steps * step_sec + epochs * validation_sec, 60 * placement.checkpoint_minutes
        checkpoints = min(steps - 1, math.floor(working_sec / max(every_sec, step_sec)))
    return _Left(
        step_sec=step_sec,
        train_sec=steps * step_sec,
        validation_sec=validation_sec,
        validations=epochs,
        checkpoint_sec=machine.checkpoint_sec.of,
        write_sec=machine.checkpoint_write_sec.of,
        checkpoints=max(0, checkpoints),
        start_sec=machine.start_up_sec.of,
    )


def _a_job_sec(run: Run, nodes: int, limit_min: int, margin_sec: float, left: _Left) -> float:
    """How long a job can work; raises PlanningError where it could not even save what it has done."""
    a_job_sec = 60 * limit_min - margin_sec - left.start_sec - left.room_sec
    if a_job_sec <= left.pause_sec:
        raise PlanningError(
            [
                f"{run.run_id}: a job on {nodes} node{'s' if nodes > 1 else ''} may run {limit_min} minutes, but "
                f"margin_sec {margin_sec:g}, {left.start_sec:.0f} s to start and "
                f"{left.room_sec + left.pause_sec:.0f} s to pause leave none of them; allow other "
                "placement.nodes, or a queue with a longer walltime"
            ]
        )
    return a_job_sec
