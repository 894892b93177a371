"""What a plan is made from: what is assumed before there are data, what claims are worth, and the budget."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .claims import Filter
from .recipe import Count, NonNegative, Positive, Strict

HardwareName = Literal["summit-v100", "h100-node", "h200-node", "cpu"]
"""The nodes that `planning/hardware.py` knows."""


class CellSpread(Strict):
    """The spread of some cells."""

    where: Filter
    """{column of `runs`: value, or a list of values}; the cells of runs that have all of them."""
    sd: Positive
    """Standard deviation over seeds, in units of the metric."""


class CellEffect(Strict):
    """The effect that matters in some cells."""

    where: Filter
    """{column of `runs`: value, or a list of values}; the cells of runs that have all of them."""
    smallest_effect: Positive
    """Smallest difference that matters, in units of the metric."""


class OwnWork(Strict):
    """How large a model of one's own is; of built-in models it is known."""

    parameters: Count
    """Trained parameters; each is a gradient that is averaged over ranks."""
    gflops_per_image: Positive
    """Of one image in a forward pass at the data set's image size, 10^9 operations; a multiply-add counts as two."""


class Planning(Strict):
    """What `snakemake plan` assumes and aims at. Never part of a run id."""

    hardware: HardwareName | None = None
    """Nodes that costs are predicted for, as long as nothing is measured; the site's `hardware` goes before it. null:
    cpu, unless the site says more."""
    sd: Positive | Annotated[list[CellSpread], Field(min_length=1)] | None = None
    """Standard deviation of the metric over seeds, in units of the metric, assumed until the runs show it: one number,
    or one for each group of cells, of which the first that fits counts. null: not known, so all seeds are planned."""
    smallest_effect: Positive | Annotated[list[CellEffect], Field(min_length=1)] | None = None
    """Difference that the power is computed for, in units of the metric: one number, or one for each group of cells, of
    which the first that fits counts; of a claim the smallest of its cells. null, and for cells in no group: the study's
    `smallest_effect`."""
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    """Chance to support a claim that a plan must give it, where the truth is that far beyond its bound."""
    weights: dict[str, NonNegative] = {}
    """{claim id: what settling it is worth}; 1 for the others."""
    required: list[str | Filter] = []
    """Runs that are kept whatever they cost: names of experiments, or {column of `runs`: value, or list of values}."""
    margin: Annotated[float, Field(ge=0, le=10)] = 0.25
    """Jobs ask for the upper end of the predicted time and this share of it on top, as far as the site allows it."""
    model: OwnWork | None = None
    """Size of a model of one's own (`package.module:function`), which costs cannot be predicted without."""

    def weight_of(self, claim: str) -> float:
        """What settling the claim with this id is worth."""
        return self.weights.get(claim, 1.0)


class Budget(Strict):
    """What a study may use. Without it every run is planned. Never part of a run id."""

    node_hours: Positive | None = None
    """Hours times nodes of the whole study: what all attempts have taken so far is taken off. null: no limit."""
    deadline_hours: Positive | None = None
    """Hours from the moment of planning until the last run is to have ended, waiting in queues left out; null: no
    limit."""
    concurrent_nodes: Count | None = None
    """Nodes in use at any time; null: no limit."""
