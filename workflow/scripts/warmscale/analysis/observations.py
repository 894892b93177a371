"""The cells that a claim is about: rows chosen by levels of a factor or by filters, of runs and of summaries alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ..records import OUTCOMES
from ..study import Study
from ..study.claims import Claim
from ..study.errors import suggestion
from ..study.levels import is_in, is_level, level_value
from ..study.metric import ACCURACIES, Metric
from ..study.recipe import leaves
from . import style
from .inference.cell import Cell
from .levels import experiment_factors
from .tables import Tables

SEED_LEAVES = ("data_seed", "init_seed")
FOLLOWING = ("worker_batch_size",)
"""Of a trained run: what follows from its recipe and may be the reason for a difference, as images of a BatchNorm."""


class NotThereError(Exception):
    """Why a claim cannot be tested yet: rows are missing."""


@dataclass(frozen=True)
class Group:
    """The cells of one level, or of one side of a comparison."""

    level: Any
    """The level of the factor, or the name of the side."""
    keys: tuple[str, ...]
    """What tells the cells of the group apart, in words; empty where it has one."""
    cells: tuple[Cell, ...]
    """One a key."""
    rows: pd.DataFrame
    """(rows: runs with a result, summarised cells): columns of `runs`, and `key`."""
    value: str
    """Column of the metric."""
    failed: int = 0
    """Runs without a result."""


@dataclass(frozen=True)
class Observations:
    """All rows of a study that claims may be about."""

    rows: pd.DataFrame
    """(rows: runs, summarised cells): columns of `runs`, and the known_... columns of `points`. Index: run_id."""
    members: pd.DataFrame
    """(rows: points): experiment, run_id and the factors of the experiment."""
    factors: Mapping[str, Sequence[str]]
    """{experiment: its factors}."""
    apart: tuple[str, ...]
    """Columns of rows that tell cells apart."""

    @classmethod
    def of(cls, study: Study, tables: Tables) -> Observations:
        """The rows of these tables."""
        names = [experiment.name for experiment in study.config.experiments]
        factors = {name: experiment_factors(study, tables.points, name) for name in names}
        known = tables.points[tables.points["known_n"].notna()].drop_duplicates("run_id").drop(columns="experiment")
        runs = tables.runs.set_index("run_id", drop=False)
        rows = pd.concat([runs, known.set_index("run_id", drop=False)]) if len(known) else runs
        named = dict.fromkeys(factor for names in factors.values() for factor in names)
        trained = (*(leaf for leaf in leaves() if leaf not in SEED_LEAVES), *FOLLOWING)
        apart = tuple(named) if study.is_replayed else trained
        return cls(rows, tables.points, factors, apart)

    def groups(self, claim: Claim, metric: Metric, experiment: str) -> list[Group]:
        """The levels that a claim is about, numbers ascending, of each the cells that all of them have.

        Raises NotThereError where a level has no row or a run of it has not ended.
        """
        factor, levels = claim.varied, self._levels(experiment, claim.varied)
        wanted = [*(claim.levels or ()), *([claim.level] if "level" in claim.model_fields_set else [])]
        for level in wanted:
            if not any(is_level(there, level) for there in levels):
                raise NotThereError(f"no row of {experiment} has {factor} {style.level_label(level_value(level))}")
        if claim.levels or claim.kind in {"above", "below"}:
            levels = [level for level in levels if any(is_level(level, named) for named in wanted)]
        if claim.kind in {"better", "equivalent"}:
            levels = [next(there for there in levels if is_level(there, level)) for level in claim.levels]
        return _matched(self._at_levels(experiment, factor, levels, metric))

    def levels_of(self, experiment: str, factor: str, metric: Metric) -> list[Group]:
        """All levels of a factor, numbers ascending, of each all cells; raises NotThereError as `groups` does."""
        return self._at_levels(experiment, factor, self._levels(experiment, factor), metric)

    def side(self, claim: Claim, metric: Metric, name: str) -> Group:
        """The rows that a filter chooses, a or b; raises NotThereError as `groups` does."""
        wanted = getattr(claim, name)
        rows = self._of(claim.experiment).drop_duplicates("run_id") if claim.experiment else self.rows
        if unknown := [column for column in wanted if column not in rows]:
            raise NotThereError(f"no row has a column {unknown[0]}: {suggestion(unknown[0], list(map(str, rows)))}")
        chosen = rows[[is_in(row, wanted) for row in rows[list(wanted)].to_dict("records")]]
        if chosen.empty:
            shown = ", ".join(f"{name} {style.level_label(level_value(level))}" for name, level in wanted.items())
            raise NotThereError(f"no row has {shown}")
        return self._group(name, chosen, metric, self._varying(chosen))

    def cells_around(self, groups: Sequence[Group], metric: Metric) -> list[Cell]:
        """The cells of all experiments that rows of these groups belong to, whose runs have ended: for their spread."""
        ids = pd.concat([group.rows["run_id"] for group in groups])
        experiments = self.members.loc[self.members["run_id"].isin(ids), "experiment"].unique()
        around = self.members.loc[self.members["experiment"].isin(experiments), "run_id"].unique()
        rows = self.rows.loc[around]
        ended = rows["state"].isin(OUTCOMES) | _summarised(rows)
        return list(self._group("", rows[ended], metric, self._varying(rows)).cells)

    def _levels(self, experiment: str, factor: str) -> list[Any]:
        if factor not in self.factors[experiment]:
            known = suggestion(factor, list(self.factors[experiment]))
            raise NotThereError(f"{factor} is no factor of {experiment}: {known}")
        own = self.members[self.members["experiment"] == experiment]
        return _ordered(own[factor].drop_duplicates().tolist())

    def _at_levels(self, experiment: str, factor: str, levels: Sequence[Any], metric: Metric) -> list[Group]:
        rows = self._of(experiment)
        chosen = {level: rows[[is_level(there, level) for there in rows[factor]]] for level in levels}
        self._check_apart(chosen)
        # what goes along with a level, as workers do with a mini-batch size, does not tell its cells apart
        varying = {column for own in chosen.values() for column in self._varying(own)}
        others = [column for column in self.apart if column in varying and column != factor]
        return [self._group(level, own, metric, others) for level, own in chosen.items()]

    def _of(self, experiment: str) -> pd.DataFrame:
        """The rows of an experiment with its own levels: a run of several points may have those of another one."""
        own = self.members[self.members["experiment"] == experiment]
        return self.rows.loc[own["run_id"]].assign(**{name: own[name].to_numpy() for name in self.factors[experiment]})

    def _varying(self, rows: pd.DataFrame) -> list[str]:
        """Columns that tell the cells of these rows apart."""
        return [column for column in self.apart if rows[column].nunique(dropna=False) > 1]

    def _check_apart(self, chosen: Mapping[Any, pd.DataFrame]) -> None:
        """Raise NotThereError where a run stands in two cells: schedules that are equal at every step are one run."""
        ids = pd.concat([own["run_id"] for own in chosen.values()])
        if ids.duplicated().any():
            raise NotThereError(
                f"{ids[ids.duplicated()].nunique()} of its runs stand in several cells: they are the same"
            )

    def _group(self, level: Any, rows: pd.DataFrame, metric: Metric, apart: Sequence[str]) -> Group:
        value = f"{metric.name}_{metric.of_run}" if metric.of_run and metric.name in ACCURACIES else metric.name
        value = value if value in rows else metric.name
        summarised = _summarised(rows)
        if summarised.any():
            rows = rows[~summarised | (rows["known_metric"] == metric.name)]
            summarised = summarised[rows.index]
        if rows.empty or (value not in rows and not summarised.all()):
            raise NotThereError(f"no row has a column {metric.name}")
        ended = summarised | rows["state"].isin([*OUTCOMES, "failed"])
        if not ended.all():
            raise NotThereError(f"{(~ended).sum()} of {len(rows)} runs have not ended")
        keys = rows[list(apart)].apply(lambda row: style.cell_label(row, apart), axis=1) if apart else ""
        rows = rows.assign(key=keys)
        failed = int((rows["state"] == "failed").sum())
        rows = rows[rows["state"].isin(OUTCOMES) | summarised]
        if rows.empty:
            raise NotThereError("all of its runs failed")
        where = style.level_label(level)
        found = {key: _cell(", ".join(filter(None, (where, key))), own, value) for key, own in rows.groupby("key")}
        if all(cell.runs == 0 for cell in found.values()):
            raise NotThereError(f"no row has a value of {metric.name}")
        return Group(level, tuple(found), tuple(found.values()), rows, value, failed)


def _summarised(rows: pd.DataFrame) -> pd.Series:
    """Which rows stand for a whole cell."""
    return rows["known_n"].notna() if "known_n" in rows else pd.Series(False, index=rows.index)


def _cell(label: str, rows: pd.DataFrame, value: str) -> Cell:
    """The cell of these rows: of its runs, or else of its summary."""
    known = rows[_summarised(rows)]
    runs = rows.drop(known.index)
    if runs.empty and len(known):
        first = known.iloc[0]
        n, diverged = int(first["known_n"]), first["known_diverged"]
        sd = float(first["known_sd"]) if n > 1 else math.nan
        return Cell(label, n, float(first["known_mean"]), sd, None, 0 if pd.isna(diverged) else int(diverged))
    runs = runs.sort_values("seed", kind="stable")
    diverged = runs["state"] == "diverged"
    return Cell.of(label, runs.loc[~diverged, value].dropna(), int(diverged.sum()))


def _matched(groups: Sequence[Group]) -> list[Group]:
    """The groups with the cells that all of them have."""
    shared = set.intersection(*(set(group.keys) for group in groups))
    if not shared:
        raise NotThereError("its levels have no cell in common: they differ in other factors too")
    return [
        replace(
            group,
            keys=tuple(key for key in group.keys if key in shared),
            cells=tuple(cell for key, cell in zip(group.keys, group.cells, strict=True) if key in shared),
            rows=group.rows[group.rows["key"].isin(shared)],
        )
        for group in groups
    ]


def _ordered(levels: Sequence[Any]) -> list[Any]:
    """Numbers ascending, also those in a column of text; words as they come. Empty: not a level of this experiment."""
    given = [level for level in levels if not _is_empty(level)]
    numbers = pd.to_numeric(pd.Series(given, dtype=object), errors="coerce")
    order = numbers.argsort(kind="stable") if numbers.notna().all() else range(len(given))
    return [given[index] for index in order]


def _is_empty(level: Any) -> bool:
    return level is None or level != level
