"""The one number of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .recipe import Strict

LAST_EPOCHS = 5
"""Goyal et al. 2017 report the median of the last five epochs."""
ACCURACIES = ("top1", "top5")
"""What our own runs are measured by at every epoch."""


COLUMN_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.]*$"
SMALL_IS_BETTER = ("err", "loss", "time", "hour", "sec", "min", "perplexity", "memory")
"""Beginnings of words in names of metrics of which less is better, as far as one can tell: their goal must be said."""


class Metric(Strict):
    """The one number of a run."""

    name: Annotated[str, Field(pattern=COLUMN_PATTERN, max_length=60)] = "top1"
    """A column of numbers of tables/runs.csv."""
    goal: Literal["maximize", "minimize"] = "maximize"
    """Which values are better."""
    of_run: Literal["median_last_5", "last"] | None = None
    """Median of the last five epochs (Goyal et al. 2017) or the last one; null: the median with step decay and for
    replayed results, else the last."""

    @model_validator(mode="after")
    def _goal_is_said_where_it_matters(self) -> Metric:
        words = self.name.lower().replace(".", "_").split("_")
        if "goal" not in self.model_fields_set and any(word.startswith(SMALL_IS_BETTER) for word in words):
            raise ValueError(f"goal is missing: is less {self.name} better? Write goal: minimize, or goal: maximize")
        return self

    @property
    def sign(self) -> int:
        """1 where larger is better, -1 where smaller is."""
        return 1 if self.goal == "maximize" else -1


class TrainedMetric(Metric):
    """The number of a run that figures show."""

    name: Literal["top1", "top5"] = "top1"
    """Validation accuracy in percent: the right class is the first guess, or among the first five."""
    goal: Literal["maximize"] = "maximize"
    """Which values are better."""
