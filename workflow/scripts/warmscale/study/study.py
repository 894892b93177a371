"""A validated study: its runs, the points of its experiments, its measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..cluster import placement as placements
from ..cluster.placement import Where
from .config import Placement, ReplayedConfig, StudyConfig
from .run import Run
from .throughput import Measurement

if TYPE_CHECKING:
    from ..replay.imports import ImportedRun


@dataclass(frozen=True)
class Point:
    """One run, or a summarised cell, as an experiment sees it: the levels of its factors, and a seed."""

    experiment: str
    factors: Mapping[str, Any]
    """{leaf: level} of every leaf that the experiment's grid or one of its extra points sets; a rule is a level."""
    seed: int | None
    """None: a whole cell."""
    run_id: str


@dataclass(frozen=True)
class Study:
    """A validated study."""

    config: StudyConfig | ReplayedConfig
    raw: Mapping[str, Any]
    """The config as the user wrote it, for the report."""
    runs: Mapping[str, Run]
    """{run_id: Run}; a run of several experiments stands here once. None in a study of replayed results."""
    points: tuple[Point, ...]
    """None in a study of replayed results."""
    imported: Mapping[str, ImportedRun] = field(default_factory=dict)
    """{run_id: run} of the runs and summarised cells of others that points refer to beside `runs`."""
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    """{measurement_id: Measurement}; one of several throughput experiments stands here once."""
    left_out: frozenset[str] = frozenset()
    """Ids of the runs that a plan leaves out and that were not done before: see planned.py."""
    not_here: frozenset[str] = frozenset()
    """Ids of the measurements that the site has no place for and that were not done elsewhere: likewise."""

    @property
    def name(self) -> str:
        """Name of the study, the folder under results/."""
        return self.config.study

    @property
    def is_replayed(self) -> bool:
        """Whether its results are there already, so that nothing is trained."""
        return isinstance(self.config, ReplayedConfig)

    def run_like(self, run_id: str) -> Run:
        """A run, or for an imported one a planned run that is like it but for the seed."""
        return self.imported[run_id].like if run_id in self.imported else self.runs[run_id]

    def experiments_of(self, run_id: str) -> list[str]:
        """Names of the experiments that use a run."""
        return self._experiments.get(run_id, [])

    def metric_rule(self, run: Run) -> str:
        """How the epochs of a run become one number: the study's rule, or the default for its decay."""
        return self.config.metric.of_run or ("median_last_5" if run.recipe.decay.kind == "step" else "last")

    def where(self, run: Run, nodes: int | None = None) -> Where:
        """Nodes and ranks that carry out a run, as its placement says or on so many nodes; raises PlacementError."""
        return where(self.config.placement, run.recipe.workers, nodes)

    @cached_property
    def _experiments(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for point in self.points:
            used_by = names.setdefault(point.run_id, [])
            if point.experiment not in used_by:
                used_by.append(point.experiment)
        return names


def where(placement: Placement, workers: int, nodes: int | None = None) -> Where:
    """Nodes and ranks that carry out so many workers; raises PlacementError."""
    a_node = placement.ranks_per_node or 1
    return placements.place(
        workers, ranks_per_node=a_node, max_nodes=placement.max_nodes, nodes=nodes or placement.nodes
    )
