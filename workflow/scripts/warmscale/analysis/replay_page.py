"""What the page shows of the sources of replayed results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..study import Study
from ..study.replay import SOURCES
from .catalogue import has_epochs
from .verdict_page import read_rows

SOURCE_WORDS = {
    "cells": "summaries of cells",
    "runs": "final numbers of runs",
    "epochs": "numbers of epochs",
    "mllog": "logs of MLPerf training",
    "tensorboard": "event files of TensorBoard",
}


def sources_section(study: Study, tables: Path) -> dict[str, Any]:
    """Files of a study of replayed results, what was taken as what, and what cannot be had from them."""
    replay = study.config.replay
    paths = {SOURCE_WORDS[source]: replay.paths(source) for source in SOURCES if replay.paths(source)}
    without = [one.name for one in study.config.trainings if "curves" in one.figures and not has_epochs(study)]
    return {
        "paths": paths,
        "notes": [row["note"] for row in read_rows(tables / "notes.csv")],
        "without_curves": ", ".join(without),
        "has_epochs": has_epochs(study),
    }
