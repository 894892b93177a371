"""Which figures a study has. Standard library only: the rules ask here for the names of their outputs."""

from __future__ import annotations

from dataclasses import dataclass

from ..study import Study

FORMATS = ("svg", "png", "pdf")
TABLES = ("runs", "epochs", "points", "steps")

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
    """curves, final, or a key of STUDY_WIDE."""
    title: str
    experiment: str | None = None
    """None: all experiments."""


def figures_of(study: Study) -> list[FigureEntry]:
    """All figures of a study, in the order of its experiments, study-wide ones last."""
    entries = [
        FigureEntry(f"{experiment.name}-{kind}", kind, experiment.title or experiment.name, experiment.name)
        for experiment in study.config.experiments
        for kind in dict.fromkeys(experiment.figures)
    ]
    return entries + [FigureEntry(kind, kind, title) for kind, title in STUDY_WIDE.items()]


def factors_of(study: Study, experiment: str) -> tuple[str, ...]:
    """Leaves that the points of an experiment set, in the order in which the config names them."""
    return next((tuple(point.factors) for point in study.points if point.experiment == experiment), ())
