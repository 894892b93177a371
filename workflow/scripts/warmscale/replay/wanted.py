"""What a study asks of the results that it replays."""

from __future__ import annotations

from ..study import Study
from .imported import Imported
from .sources import read_sources

DEFAULT_RULE = "median_last_5"
"""How epochs become the number of a run where the config does not say: Goyal et al. 2017."""


def read_replayed(study: Study) -> Imported:
    """Read what a study replays; raises ReplayError with all that is wrong with it."""
    return read_sources(
        study.config.replay,
        metrics=referenced_metrics(study),
        referenced=referenced_columns(study),
        rule=study.config.metric.of_run or DEFAULT_RULE,
    )


def referenced_columns(study: Study) -> list[str]:
    """Columns that experiments and claims of replayed results name: they tell cells apart."""
    named = [column for experiment in study.config.trainings for column in experiment.where]
    for claim in study.config.claims:
        exponent = [claim.varied, claim.of] if claim.kind == "exponent" else []
        named += [*([claim.factor] if claim.factor else []), *exponent, *(claim.a or ()), *(claim.b or ())]
    return list(dict.fromkeys(named))


def referenced_metrics(study: Study) -> list[str]:
    """Metrics of the study and of its claims."""
    named = [study.config.metric.name, *(claim.metric.name for claim in study.config.claims if claim.metric)]
    return list(dict.fromkeys(named))
