"""Claims of a study: what each kind says, and what it needs to be tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from .metric import Metric
from .recipe import NonNegative, Number, Positive, Strict

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
ClaimId = Annotated[str, Field(pattern=ID_PATTERN, max_length=60)]
Filter = Annotated[dict[str, Any], Field(min_length=1)]
"""{column of `runs`: value, or a list of values}; rows must have all of them."""

Kind = Literal["better", "equivalent", "best", "worst", "increasing", "decreasing", "above", "below", "exponent"]

CELLS = ("experiment", "factor", "level", "levels", "a", "b")
NEEDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "better": (("experiment", "factor", "levels"), ("a", "b")),
    "equivalent": (("experiment", "factor", "levels", "margin"), ("a", "b", "margin")),
    "best": (("experiment", "factor", "level"),),
    "worst": (("experiment", "factor", "level"),),
    "increasing": (("experiment", "factor"),),
    "decreasing": (("experiment", "factor"),),
    "above": (("experiment", "factor", "level", "value"), ("a", "value")),
    "below": (("experiment", "factor", "level", "value"), ("a", "value")),
    "exponent": (("experiments", "value"), ("experiments", "range")),
}
"""The sets of fields of which a claim of a kind must have one."""
MAY_HAVE: Mapping[str, tuple[str, ...]] = {
    "better": ("experiment", "margin", "paired"),
    "equivalent": ("experiment", "paired"),
    "best": ("levels",),
    "worst": ("levels",),
    "increasing": ("levels", "strict"),
    "decreasing": ("levels", "strict"),
    "above": ("experiment",),
    "below": ("experiment",),
    "exponent": ("factor", "of", "tolerance"),
}
"""Further fields of a kind."""
ALWAYS = ("id", "statement", "source", "kind", "metric")


class Claim(Strict):
    """A statement about the study that its runs can support or refute. Rows are chosen by `experiment`, `factor` and
    levels, or by the filters `a` and `b` over the columns of `tables/runs.csv`."""

    id: ClaimId
    """Short name: letters, digits, dots, dashes and underscores."""
    statement: str
    """The claim in words, for the report."""
    source: str = ""
    """Who says so."""
    kind: Kind
    """better: a better than b, in the direction of the metric. equivalent: a and b within `margin`. best, worst:
    `level` of `factor` against every other level. increasing, decreasing: the metric along `factor`. above, below: the
    mean against `value`. exponent: of the best `factor` as a power of `of`."""
    metric: Metric | None = None
    """Instead of the study's; any column of numbers in tables/runs.csv, of measurements in tables/throughput.csv."""
    experiment: str | None = None
    """Name of the experiment that the rows are of; with `a` and `b`: only rows of it. Of one of kind throughput its
    measurements are compared: by worker_batch_size, nodes, ranks_per_node or workers, with a `metric`."""
    factor: str | None = None
    """Factor of that experiment. Default for an exponent: warmup_epochs."""
    level: Any = None
    """Level that the claim is about: of best, worst, above, below."""
    levels: Annotated[list[Any], Field(min_length=2)] | None = None
    """better, equivalent: two levels, a first. Others: only these levels; null: all."""
    a: Filter | None = None
    """Rows of a: {column: value or list}. Where they are of several cells, a is the mean of the cells' means."""
    b: Filter | None = None
    """Rows of b, likewise."""
    margin: NonNegative | None = None
    """better: a is better than b by more than this; null: 0. equivalent: largest difference that does not matter. In
    units of the metric, for accuracies percentage points."""
    value: Number | None = None
    """above, below: the bound. exponent: the claimed exponent, with `tolerance`."""
    tolerance: Positive = 0.2
    """exponent: `value` is supported if the whole interval lies within this of it."""
    range: tuple[Number, Number] | None = Field(default=None, strict=False)
    """exponent: supported if the interval lies inside, refuted if it lies outside."""
    experiments: Annotated[list[str], Field(min_length=1)] | None = None
    """exponent: the experiments that vary `factor`, each at one or more values of `of`."""
    of: str = "mini_batch_size"
    """exponent: what the best level of `factor` is a power of."""
    strict: bool = False
    """increasing, decreasing: every adjacent pair of levels has to be established, not only the trend."""
    paired: bool = False
    """better, equivalent: compare runs with the same seed. Only where such runs share the order of the data and the
    initial weights, as the trained runs of a study do unless they have a `data_seed` or an `init_seed` of their own."""

    @field_validator("range")
    @classmethod
    def _from_low_to_high(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window and window[0] >= window[1]:
            raise ValueError(f"[{window[0]:g}, {window[1]:g}] must be from low to high")
        return window

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Claim:
        given = self.model_fields_set
        alternatives = NEEDS[self.kind]
        # the alternative that was probably meant: the one that most is there of
        meant = max(alternatives, key=lambda fields: len(given.intersection(fields)) / len(fields))
        if missing := [field for field in meant if field not in given]:
            needs = " or ".join(", ".join(fields) for fields in alternatives)
            raise ValueError(f"{', '.join(missing)} is missing: {self.kind} needs {needs}")
        known = {*ALWAYS, *meant, *MAY_HAVE[self.kind]}
        if foreign := [field for field in type(self).model_fields if field in given and field not in known]:
            raise ValueError(
                f"{', '.join(foreign)} has no meaning for {self.kind} with {', '.join(meant)}: leave it out"
            )
        if self.kind in {"better", "equivalent"} and self.levels and len(self.levels) != 2:
            raise ValueError(f"levels are {len(self.levels)}, {self.kind} compares two: a first, then b")
        if repeated := [level for index, level in enumerate(self.levels or []) if level in self.levels[:index]]:
            raise ValueError(f"levels: {repeated[0]} stands twice")
        if self.kind == "equivalent" and not self.margin:
            raise ValueError(
                "margin is 0: no two cells can be shown to be the same, give a difference that does not matter"
            )
        return self

    @property
    def varied(self) -> str:
        """The factor whose levels are compared."""
        return self.factor or "warmup_epochs"

    @property
    def sides(self) -> tuple[Mapping[str, Any], ...]:
        """The filters that choose its rows, of kinds that compare two sides or one with a value."""
        if self.a is not None:
            return (self.a,) if self.b is None else (self.a, self.b)
        levels = self.levels if self.kind in {"better", "equivalent"} else [self.level]
        return tuple({self.factor: level} for level in levels)

    @property
    def window(self) -> tuple[float, float]:
        """exponent: the range in which it is claimed to lie."""
        return self.range or (self.value - self.tolerance, self.value + self.tolerance)
