"""Which figures a study has. Standard library only: the rules ask here for the names of their outputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..study import Study
from ..study.config import TRAININGS, ThroughputExperiment
from ..study.recipe import Recipe

FORMATS = ("svg", "png", "pdf")
TABLES = ("runs", "epochs", "points", "steps")
VERDICTS = ("claims", "optimum", "exponent", "cells", "gradients")
"""Tables of what the runs show, made from the others."""

STUDY_WIDE = {
    "learning-rates": "Learning-rate schedules",
    "realised-rates": "Realised learning rate over base_lr · scale_factor",
}
"""{kind: title} of the figures that show all experiments."""
GRADIENTS = "gradients"
"""Kind and name of the figure of what gradients do."""
SCALING = ("throughput", "efficiency", "communication-ratio", "model", "communication", "time-to-target")
"""Kinds of the figures of scaling, of measurements and of trainings."""
BY_PLACEMENT = {
    "throughput": "images a second",
    "efficiency": "parallel efficiency",
    "model": "the cost model against measurements",
}
"""{kind: what its title says} of the figures by placement that trainings have too, as trainings-<kind>."""
COMPARISON = "comparison"
"""Kind and name of the poster's comparison."""
SCALING_RULE = "lr_scaling.rule"
FEWEST_WARMUPS = 3
"""Levels of warmup that have an optimum between them."""


@dataclass(frozen=True)
class FigureEntry:
    """A figure of a study, before anything is drawn."""

    name: str
    """File name without extension."""
    kind: str
    """curves, final, exponent, COMPARISON, GRADIENTS, one of SCALING, or a key of STUDY_WIDE."""
    title: str
    experiment: str | None = None
    """None: all experiments."""


@dataclass(frozen=True)
class ExponentOf:
    """Optima that an exponent is fitted to."""

    name: str
    """Of its figure."""
    experiments: tuple[str, ...]
    factor: str
    of: str


def figures_of(study: Study) -> list[FigureEntry]:
    """All figures of a study, in the order of its experiments, study-wide ones last."""
    entries = [
        FigureEntry(f"{experiment.name}-{kind}", kind, experiment.title or experiment.name, experiment.name)
        for experiment in study.config.trainings
        for kind in dict.fromkeys(experiment.figures)
        if kind != "curves" or has_epochs(study)
    ]
    entries += [
        FigureEntry(wanted.name, "exponent", f"How the best {_words(wanted.factor)} grows with the {_words(wanted.of)}")
        for wanted in exponents_of(study)
    ]
    if study.is_replayed:
        return entries
    if scaling_experiment(study) and _has_warmups(study):
        entries.append(FigureEntry(COMPARISON, COMPARISON, "Scaling of the learning rate, and the best warmup"))
    entries += scaling_figures(study)
    if not study.config.trainings:
        return entries
    entries += [FigureEntry(GRADIENTS, GRADIENTS, "What gradients and updates do early in training")]
    return entries + [FigureEntry(kind, kind, title) for kind, title in STUDY_WIDE.items()]


def scaling_figures(study: Study) -> list[FigureEntry]:
    """Figures of what steps, epochs and the target cost, as far as the study has what they need."""
    entries = [
        FigureEntry(f"{one.name}-{kind}", kind, f"{one.title or one.name}: {title}", one.name)
        for one in study.config.throughputs
        for kind, title in _measured_kinds(one, study).items()
    ]
    entries += [
        FigureEntry(f"{TRAININGS}-{kind}", kind, f"Trainings: {BY_PLACEMENT[kind]}")
        for kind in _kinds_of_trainings(study)
    ]
    if len(_sizes(study)) > 1:
        entries.append(FigureEntry("communication", "communication", "What an epoch takes, by mini-batch size"))
    target = study.config.target
    for experiment in study.config.trainings if target is not None else ():
        if len(levels_of(study, experiment.name, "mini_batch_size")) > 1:
            title = f"{experiment.title or experiment.name}: until {target:g} % is reached"
            entries.append(FigureEntry(f"{experiment.name}-time-to-target", "time-to-target", title, experiment.name))
    return entries


def _measured_kinds(experiment: ThroughputExperiment, study: Study) -> dict[str, str]:
    """{kind: title} of the figures of a throughput experiment: by placements, where it has several; by batches."""
    a_node = experiment.ranks_per_node or [None]  # the placement's
    kinds = {}
    if len(experiment.nodes) * len(a_node) > 1:
        kinds |= {kind: BY_PLACEMENT[kind] for kind in ("throughput", "efficiency")}
    if len(experiment.worker_batch_size) > 1 and (max(experiment.nodes) > 1 or a_node != [1]):
        kinds["communication-ratio"] = "computation over communication"
    if _is_sized(study, (one.recipe for one in study.measurements.values() if experiment.name in one.experiments)):
        kinds["model"] = BY_PLACEMENT["model"]
    return kinds


def _kinds_of_trainings(study: Study) -> list[str]:
    """Kinds of figures by placement that trainings may have.

    Placements are no part of what a study is, and what a training ran on is known afterwards. Where all have as many
    workers, they rarely stand on several numbers of ranks; otherwise they may, and the report leaves out what they did
    not.
    """
    recipes = [run.recipe for run in study.runs.values()]
    if len({recipe.workers for recipe in recipes}) < 2:
        return []
    return [kind for kind in BY_PLACEMENT if kind != "model" or _is_sized(study, recipes)]


def _is_sized(study: Study, recipes: Iterable[Recipe]) -> bool:
    """Whether the size of any model is known, without which no step is predicted."""
    return bool(study.config.planning.model) or any(":" not in recipe.model for recipe in recipes)


def _sizes(study: Study) -> set[int]:
    """Mini-batch sizes of the trainings, or where there are none of the measurements."""
    return {one.recipe.mini_batch_size for one in (study.runs or study.measurements).values()}


def scaling_experiment(study: Study) -> str | None:
    """The first experiment that varies the rule of scaling."""
    names = (experiment.name for experiment in study.config.trainings)
    return next((name for name in names if len(levels_of(study, name, SCALING_RULE)) > 1), None)


def _has_warmups(study: Study) -> bool:
    names = (experiment.name for experiment in study.config.trainings)
    return any(len(levels_of(study, name, "warmup_epochs")) >= FEWEST_WARMUPS for name in names)


def levels_of(study: Study, experiment: str, factor: str) -> list[Any]:
    """Levels that the points of an experiment have of a factor; none where it is no factor of it."""
    own = (point.factors for point in study.points if point.experiment == experiment)
    return list(dict.fromkeys(factors[factor] for factors in own if factor in factors))


def _words(column: str) -> str:
    """A column in a title."""
    known = {"warmup_epochs": "warmup", "mini_batch_size": "mini-batch"}
    return known.get(column, column.replace(".", " ").replace("_", " "))


def tables_of(study: Study) -> tuple[str, ...]:
    """Tables of what is known of the runs; of replayed results also what was made of their sources, and of measurements
    theirs."""
    if study.is_replayed:
        return (*TABLES, "notes")
    return (*TABLES, "throughput") if study.measurements else TABLES


def verdicts_of(study: Study) -> tuple[str, ...]:
    """Tables of what the runs and the measurements show; how long replayed results took is not known."""
    return VERDICTS if study.is_replayed else (*VERDICTS, "scaling")


def has_epochs(study: Study) -> bool:
    """Whether there is anything to draw curves of: summaries and final numbers have no epochs."""
    if not study.is_replayed:
        return True
    replay = study.config.replay
    return any((replay.epochs, replay.mllog, replay.tensorboard))


def exponents_of(study: Study) -> list[ExponentOf]:
    """The exponents that claims of the study are about, each once."""
    asked = [
        (tuple(claim.experiments), claim.varied, claim.of) for claim in study.config.claims if claim.kind == "exponent"
    ]
    wanted = list(dict.fromkeys(asked))
    names = ["exponent"] if len(wanted) == 1 else [f"exponent-{index}" for index in range(1, len(wanted) + 1)]
    return [ExponentOf(name, *what) for name, what in zip(names, wanted, strict=True)]


def factors_of(study: Study, experiment: str) -> tuple[str, ...]:
    """Leaves that the points of an experiment set, in the order in which the config names them."""
    return next((tuple(point.factors) for point in study.points if point.experiment == experiment), ())
