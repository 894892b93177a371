"""The points of an experiment in the order of their levels, each cell with a label."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..study import Study
from . import style
from .catalogue import factors_of
from .schemas import NO_FACTORS
from .statistics import KNOWN


def experiment_factors(study: Study, points: pd.DataFrame, experiment: str) -> tuple[str, ...]:
    """Factors of an experiment: those that the config sets, or that rows of replayed results have."""
    if not study.is_replayed:
        return factors_of(study, experiment)
    own = points[points["experiment"] == experiment]
    return tuple(column for column in own if column not in NO_FACTORS and own[column].notna().any())


def level_points(points: pd.DataFrame, experiment: str, factors: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The points of one experiment, ordered, and the factors that tell its cells apart.

    points (rows: points of a study) -> (rows: points of the experiment): level, the factors, seed, run_id, and KNOWN
    if one of them is known as a summary only.
    `level` is the label of a cell. Numbers are ordered by value, words as the config has them.
    """
    known = [*KNOWN, "known_metric"] if "known_n" in points and points["known_n"].notna().any() else []
    own = points.loc[points["experiment"] == experiment, [*factors, "seed", "run_id", *known]]
    own = own.assign(**{factor: _numbers_if_all_are(own[factor]) for factor in factors})
    names = label_factors(own, factors)
    order = pd.DataFrame({name: _ranks(own[name]) for name in names}, index=own.index)
    order["seed"] = own["seed"]
    own = own.loc[order.sort_values([*names, "seed"], kind="stable").index].reset_index(drop=True)
    own.insert(0, "level", [style.cell_label(row, names) for row in own.to_dict("records")])
    return own, names


def label_factors(points: pd.DataFrame, factors: Sequence[str]) -> tuple[str, ...]:
    """The first factor that varies and those that vary independently of the ones before them.

    A factor that goes with them, as the workers that go with a mini-batch size, says nothing more about a cell.
    """
    varying = [factor for factor in factors if points[factor].nunique(dropna=False) > 1]
    names: list[str] = []
    for factor in varying:
        if not names or (points.groupby(names, dropna=False)[factor].nunique(dropna=False) > 1).any():
            names.append(factor)
    return tuple(names or factors[:1])


def _numbers_if_all_are(column: pd.Series) -> pd.Series:
    """Numbers that stand in a column of text because another experiment has words there."""
    column = column.infer_objects()
    if column.dtype == bool:
        return column
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if column.notna().any() and numbers.notna().equals(column.notna()) else column


def _ranks(column: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column) and column.dtype != bool:
        return column.rank(method="dense", na_option="top")
    return pd.Series(pd.factorize(column, use_na_sentinel=False)[0], index=column.index)
