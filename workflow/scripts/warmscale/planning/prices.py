"""What every run of a study would cost at each of its places, from where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..cluster.placement import PlacementError, Where
from ..cluster.site import Site, SiteError
from ..records import StateFolder
from ..study import Study
from ..study.run import Run
from ..study.throughput import Measurement
from ..training.attempts import steps_done
from .calibration import CostModel, Measured, calibrate
from .cells import cell_name
from .choices import Option
from .costs import RunCost, run_cost
from .hardware import PRESETS, Hardware, preset
from .workload import PlanningError, Workload, workload_of


@dataclass(frozen=True)
class Prices:
    """What runs cost on a site, as far as it is known or measured."""

    study: Study
    site: Site
    measured: Sequence[Measured]
    """Of this site."""
    models: dict[Workload, CostModel] = field(default_factory=dict, compare=False)
    known: dict[tuple, RunCost] = field(default_factory=dict, compare=False)

    @property
    def hardware(self) -> Hardware:
        """The nodes, before anything is measured."""
        return preset(self.site.hardware or self.study.config.planning.hardware)

    def model_of(self, run: Run | Measurement) -> CostModel:
        """What predicts the steps of a run or measurement; raises PlanningError where its model's size is not known."""
        config = self.study.config
        work = workload_of(run.recipe, config.dataset, config.planning)
        if work not in self.models:
            self.models[work] = calibrate(work, self.hardware, self.measured)
        return self.models[work]

    def cost(self, run: Run, where: Where, done: int = 0) -> RunCost:
        """Of a run with so many steps done; raises SiteError and PlanningError where it cannot be there."""
        key = (cell_name(run), where, done)
        if key not in self.known:
            config = self.study.config
            self.known[key] = run_cost(
                run, where, self.site, self.model_of(run), config.planning, done, config.placement
            )
        return self.known[key]

    def costs(self, run: Run, done: int = 0) -> list[RunCost]:
        """At each of its places, that of the study's placement first; raises PlanningError where it has none."""
        found, refused = [], []
        for where in places(self.study, run):
            try:
                found.append(self.cost(run, where, done))
            except (SiteError, PlanningError) as error:
                refused += error.lines
        if not found:
            raise PlanningError(refused)
        return found

    def doubts(self) -> list[str]:
        """What speaks against these costs, in lines: hardware that is not the site's, and measurements left aside."""
        return [*_other_hardware(self.study, self.site, self.hardware), *self._unused()]

    def _unused(self) -> Iterator[str]:
        used = {id(each) for model in self.models.values() for each in model.measured}
        count = sum(id(each) not in used for each in self.measured)
        if count and self.models:
            of = f"{count} of {len(self.measured)} measurements and trainings"
            yield f"{of} tell nothing of these costs: they are of another device, model, image size or precision"


def _other_hardware(study: Study, site: Site, hardware: Hardware) -> Iterator[str]:
    """Where runs are carried out on this machine: GPUs that it lacks, or that nothing is said of."""
    placement, has_gpus = study.config.placement, hardware.device != "cpu"
    gpus = 0 if placement.device == "cpu" or site.scheduler != "local" else site.gpus
    if site.scheduler == "local" and has_gpus and not gpus:
        yield f"Costs are those of {hardware.name}, but runs would be here, without GPUs: use the profile of its site"
    if gpus and not (site.hardware or study.config.planning.hardware):
        names = ", ".join(name for name, one in PRESETS.items() if one.device != "cpu")
        yield f"Costs are those of CPUs, but this machine has GPUs: set planning.hardware to the nearest of {names}"


def places(study: Study, run: Run) -> list[Where]:
    """Where a plan may carry out a run: on each of `placement.nodes` that divides its workers; else as it would be.

    The largest comes first, which is where it would be without a plan.
    """
    nodes = study.config.placement.nodes
    if not isinstance(nodes, list):
        return [study.where(run)]
    found = []
    for count in sorted(set(nodes), reverse=True):
        try:
            found.append(study.where(run, count))
        except PlacementError:
            continue
    return found


def option_of(cost: RunCost) -> Option:
    """A cost as the program sees it."""
    return Option(cost.nodes, cost.wall_sec / 3600, cost.node_hours)


def steps_of(results: Path, run_id: str) -> int:
    """Updates in the newest checkpoint of a run."""
    state = StateFolder(results / "state" / run_id)
    return steps_done(state) if state.path.exists() else 0
