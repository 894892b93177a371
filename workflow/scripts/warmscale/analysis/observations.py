"""The cells that a claim is about: rows chosen by levels of a factor or by filters, of runs and of summaries alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from ..records import OUTCOMES
from ..replay.imports import cell_key
from ..study import Study
from ..study.claim_errors import MEASURED_FACTORS
from ..study.claims import Claim
from ..study.errors import suggestion
from ..study.levels import is_in, is_level, level_value
from ..study.metric import Metric
from ..study.recipe import leaves
from . import style
from .inference.cell import Cell
from .levels import experiment_factors, label_factors
from .observed_cells import CannotTestError, Group, NotThereError, is_summarised, make_group, matched
from .tables import Tables

SEED_LEAVES = ("data_seed", "init_seed")
FOLLOWING = ("worker_batch_size",)
"""Of a trained run: what follows from its recipe and may be the reason for a difference, as images of a BatchNorm."""

ENDED = (*OUTCOMES, "failed")
OF_AVERAGING = ("computation_sec", "communication_sec", "exposed_sec", "computation_to_communication", "overlap")
"""Of a measurement: what is empty where nothing is averaged over ranks, or not by itself."""


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
    spreads: dict[tuple, list[Cell]] = field(default_factory=dict, compare=False)
    """{(experiments, metric): their cells}, as far as they were asked for."""
    found: dict[tuple, list[Group]] = field(default_factory=dict, compare=False)
    """{(experiment, factor, levels, metric): groups}, as far as they were asked for: many claims are about the same."""
    measured: Observations | None = None
    """The same of measurements, which no claim compares with runs; None of a study without any."""

    @classmethod
    def of(cls, study: Study, tables: Tables) -> Observations:
        """The rows of these tables."""
        names = [experiment.name for experiment in study.config.trainings]
        factors = {name: experiment_factors(study, tables.points, name) for name in names}
        named = dict.fromkeys(factor for names in factors.values() for factor in names)
        trained = (*(leaf for leaf in leaves() if leaf not in SEED_LEAVES), *FOLLOWING)
        apart = tuple(named) if study.is_replayed else trained
        rows, points, unawaited = _rows(study, tables), tables.points, _unawaited(study)
        if unawaited:
            rows, points = rows[~rows["run_id"].isin(unawaited)], points[~points["run_id"].isin(unawaited)]
        return cls(rows, points, factors, apart, measured=cls._of_measurements(study, tables))

    @classmethod
    def _of_measurements(cls, study: Study, tables: Tables) -> Observations | None:
        """The measurements of throughput experiments; their repeats stand for seeds."""
        names = [experiment.name for experiment in study.config.throughputs]
        if not names:
            return None
        rows = tables.throughput.assign(run_id=tables.throughput["measurement_id"], seed=tables.throughput["repeat"])
        members = rows.assign(experiment=rows["experiments"].str.split(";")).explode("experiment")
        members = members[["experiment", "run_id", *MEASURED_FACTORS]].reset_index(drop=True)
        return cls(
            rows.set_index("run_id", drop=False), members, dict.fromkeys(names, MEASURED_FACTORS), MEASURED_FACTORS
        )

    def about(self, claim: Claim, metric: Metric) -> Observations:
        """The rows that a claim is about: runs, or the measurements that have a value of its metric.

        One rank communicates nothing: what is not defined there is no missing value. Raises NotThereError where it is
        defined nowhere.
        """
        if self.measured is None or claim.experiment not in self.measured.factors:
            return self
        found = self.measured
        if metric.name not in found.rows:
            return found
        has_value, is_done = found.rows[metric.name].notna(), found.rows["state"] == "finished"
        own = found.members.loc[found.members["experiment"] == claim.experiment, "run_id"]
        if is_done[own].any() and not has_value[own].any() and found.rows.loc[own, "state"].isin(ENDED).all():
            why = ": one rank, or ZeRO stage 1" if metric.name in OF_AVERAGING else ""
            raise NotThereError(f"{metric.name} is empty in all measurements of {claim.experiment}{why}")
        kept = found.rows[has_value | ~is_done]
        members = found.members[found.members["run_id"].isin(kept.index)]
        return replace(found, rows=kept, members=members, spreads={}, found={})

    @cached_property
    def _members(self) -> dict[str, pd.DataFrame]:
        """{experiment: its members}; looked up for every claim, which may be hundreds."""
        return dict(iter(self.members.groupby("experiment", sort=False)))

    @cached_property
    def _experiments(self) -> dict[str, list[str]]:
        """{run_id: experiments that it belongs to}"""
        found: dict[str, list[str]] = {}
        for name, own in self._members.items():
            for run_id in own["run_id"]:
                found.setdefault(run_id, []).append(name)
        return found

    def groups(self, claim: Claim, metric: Metric, experiment: str) -> list[Group]:
        """The levels that a claim is about, in order, of each the cells that all of them have.

        Raises NotThereError where a level has no row or a run of it has not ended, and CannotTestError.
        """
        factor, wanted = claim.varied, [*(claim.levels or ())]
        wanted += [claim.level] if "level" in claim.model_fields_set else []
        levels = self._levels(experiment, factor, keep_empty=None in wanted)
        for level in wanted:
            if not any(is_level(there, level) for there in levels):
                raise NotThereError(f"no row of {experiment} has {factor} {style.level_label(level_value(level))}")
        if claim.levels or claim.kind in {"above", "below"}:
            levels = [level for level in levels if any(is_level(level, named) for named in wanted)]
        ordered = claim.kind in {"increasing", "decreasing"} and not _all_numbers(levels)
        if ordered and not claim.levels:
            raise CannotTestError(f"{factor} has levels that are no numbers: write `levels` in their order")
        if claim.levels and (ordered or claim.kind in {"better", "equivalent"}):
            levels = [next(there for there in levels if is_level(there, level)) for level in claim.levels]
        key = (experiment, factor, tuple(levels), metric)
        if key not in self.found:
            self.found[key] = matched(self._at_levels(experiment, factor, levels, metric))
        return self.found[key]

    def sides(self, claim: Claim, metric: Metric) -> list[Group]:
        """The rows that the filters choose, a and maybe b, of each the cells that both have; raises as `groups`."""
        chosen = {name: self._chosen(claim, name) for name in ("a", "b") if getattr(claim, name) is not None}
        filtered = {column for name in chosen for column in getattr(claim, name)}
        varying = {name: self._varying(rows) for name, rows in chosen.items()}
        within = {column for columns in varying.values() for column in columns} - filtered
        beside = [column for column in self.apart if column in within]
        if len(chosen) == 1:
            beside = []
        elif len(set(chosen["a"].index) & set(chosen["b"].index)):
            raise CannotTestError("a and b have rows in common: nothing can be compared with itself")
        return matched([make_group(name, rows, metric, varying[name], beside) for name, rows in chosen.items()])

    def levels_of(self, experiment: str, factor: str, metric: Metric) -> list[Group]:
        """All levels of a factor, numbers ascending, of each all cells; raises as `groups` does."""
        return self._at_levels(experiment, factor, self._levels(experiment, factor), metric)

    def cells_around(self, groups: Sequence[Group], metric: Metric) -> list[Cell]:
        """The cells of all experiments that rows of these groups belong to, whose runs have ended: for their spread."""
        ids = [run_id for group in groups for run_id in group.rows["run_id"]]
        named = {name for run_id in ids for name in self._experiments.get(run_id, ())}
        experiments = tuple(name for name in self._members if name in named)
        if not experiments:
            return [cell for group in groups for cell in group.cells]
        if (experiments, metric) not in self.spreads:
            around = list(dict.fromkeys(run_id for name in experiments for run_id in self._members[name]["run_id"]))
            rows = self.rows.loc[around]
            rows = rows[rows["state"].isin(OUTCOMES) | is_summarised(rows)]
            self.spreads[experiments, metric] = list(make_group("", rows, metric, self._varying(rows)).cells)
        return self.spreads[experiments, metric]

    def _chosen(self, claim: Claim, name: str) -> pd.DataFrame:
        """The rows of one filter."""
        wanted = getattr(claim, name)
        rows = self._of(claim.experiment).drop_duplicates("run_id") if claim.experiment else self.rows
        if unknown := [column for column in wanted if column not in rows]:
            raise NotThereError(f"no row has a column {unknown[0]}: {suggestion(unknown[0], list(map(str, rows)))}")
        chosen = rows[[is_in(row, wanted) for row in rows[list(wanted)].to_dict("records")]]
        if chosen.empty:
            shown = ", ".join(f"{column} {style.level_label(level_value(level))}" for column, level in wanted.items())
            raise NotThereError(f"no row has {shown}")
        return chosen

    def _levels(self, experiment: str, factor: str, keep_empty: bool = False) -> list[Any]:
        if factor not in self.factors[experiment]:
            known = suggestion(factor, list(self.factors[experiment])) if self.factors[experiment] else "it has none"
            raise NotThereError(f"{factor} is no factor of {experiment}: {known}")
        own = self._own(experiment)
        levels = own[factor].drop_duplicates().tolist()
        given = [level for level in levels if not _is_empty(level)]
        empty = [None] if keep_empty and len(given) < len(levels) else []
        return [*empty, *(sorted(given, key=float) if _all_numbers(given) else given)]

    def _at_levels(self, experiment: str, factor: str, levels: Sequence[Any], metric: Metric) -> list[Group]:
        rows = self._of(experiment)
        chosen = {level: rows[[is_level(there, level) for there in rows[factor]]] for level in levels}
        self._check_apart(chosen)
        # what goes along with a level, as workers do with a mini-batch size, does not tell its cells apart
        varying = {column for own in chosen.values() for column in self._varying(own)}
        others = [column for column in self.apart if column in varying and column != factor]
        told = label_factors(rows, others) if others else ()
        return [make_group(level, own, metric, told, told) for level, own in chosen.items()]

    def _own(self, experiment: str) -> pd.DataFrame:
        """The members of an experiment, which may have none."""
        return self._members.get(experiment, self.members.iloc[:0])

    def _of(self, experiment: str) -> pd.DataFrame:
        """The rows of an experiment with its own levels: a run of several points may have those of another one."""
        own = self._own(experiment)
        return self.rows.loc[own["run_id"]].assign(**{name: own[name].to_numpy() for name in self.factors[experiment]})

    def _varying(self, rows: pd.DataFrame) -> list[str]:
        """Columns that tell the cells of these rows apart, but for those that go along with the ones before them."""
        varying = [column for column in self.apart if column in rows and rows[column].nunique(dropna=False) > 1]
        return list(label_factors(rows, varying)) if varying else []

    def _check_apart(self, chosen: Mapping[Any, pd.DataFrame]) -> None:
        """Raise CannotTestError where a run stands in two cells: schedules that are equal at every step are one run."""
        ids = pd.concat([own["run_id"] for own in chosen.values()])
        if ids.duplicated().any():
            count = ids[ids.duplicated()].nunique()
            raise CannotTestError(f"{count} of its runs stand in several cells: they are the same")


def _unawaited(study: Study) -> set[str]:
    """Runs that a plan leaves out, of cells with others that are carried out: their cells are complete without them.

    A cell of which nothing is carried out stays, so that what is claimed of it is not run.
    """
    if not study.left_out:
        return set()
    there = [run for run_id, run in study.runs.items() if run_id not in study.left_out]
    carried_out = {cell_key(run) for run in (*there, *(one.like for one in study.imported.values()))}
    return {run_id for run_id in study.left_out if cell_key(study.runs[run_id]) in carried_out}


def _rows(study: Study, tables: Tables) -> pd.DataFrame:
    """Runs and summarised cells, these with the recipe of the cell that they were imported for, if they were."""
    known = tables.points[tables.points["known_n"].notna()].drop_duplicates("run_id").drop(columns="experiment")
    runs = tables.runs.set_index("run_id", drop=False)
    if known.empty:
        return runs
    if study.imported:
        like = {
            run_id: study.imported[run_id].like.columns() | {"imported": study.imported[run_id].row["source"]}
            for run_id in known["run_id"]
        }
        recipes = pd.DataFrame(like.values(), index=list(like)).drop(columns=["seed", *SEED_LEAVES])
        shown = known.set_index("run_id", drop=False)
        known = pd.concat([shown[[name for name in shown if name not in recipes]], recipes], axis=1)
    return pd.concat([runs, known.set_index("run_id", drop=False)])


def _all_numbers(levels: Sequence[Any]) -> bool:
    return bool(pd.to_numeric(pd.Series(list(levels), dtype=object), errors="coerce").notna().all())


def _is_empty(level: Any) -> bool:
    return level is None or level != level
