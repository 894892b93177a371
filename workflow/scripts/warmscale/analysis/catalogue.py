"""Which figures a study has. Standard library only: the rules ask here for the names of their outputs."""

from __future__ import annotations

from dataclasses import dataclass

from ..study import Study

FORMATS = ("svg", "png", "pdf")
TABLES = ("runs", "epochs", "points", "steps")
VERDICTS = ("claims", "optimum", "exponent", "cells")
"""Tables of what the runs show, made from the others."""

STUDY_WIDE = {
    "learning-rates": "Learning-rate schedules",
    "realised-rates": "Realised learning rate over base_lr · scale_factor",
}
"""{kind: title} of the figures that show all experiments."""


@dataclass(frozen=True)
class FigureEntry:
    """A figure of a study, before anything is drawn."""

    name: str
    """File name without extension."""
    kind: str
    """curves, final, exponent, or a key of STUDY_WIDE."""
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
        for experiment in study.config.experiments
        for kind in dict.fromkeys(experiment.figures)
        if kind != "curves" or has_epochs(study)
    ]
    entries += [
        FigureEntry(wanted.name, "exponent", f"How the best {_words(wanted.factor)} grows with the {_words(wanted.of)}")
        for wanted in exponents_of(study)
    ]
    if study.is_replayed:
        return entries
    return entries + [FigureEntry(kind, kind, title) for kind, title in STUDY_WIDE.items()]


def _words(column: str) -> str:
    """A column in a title."""
    known = {"warmup_epochs": "warmup", "mini_batch_size": "mini-batch"}
    return known.get(column, column.replace(".", " ").replace("_", " "))


def tables_of(study: Study) -> tuple[str, ...]:
    """Tables of what is known of the runs; of replayed results also what was made of their sources."""
    return (*TABLES, "notes") if study.is_replayed else TABLES


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
