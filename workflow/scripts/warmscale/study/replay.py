"""Sources of results that somebody else produced: `replay:` of a study, read instead of training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .recipe import Count, Percent, Strict

Text = Annotated[str, Field(min_length=1)]
Paths = Text | Annotated[list[Text], Field(min_length=1)]
"""Paths or globs, relative to the working directory; {name} stands for a part of a path and becomes a column."""

SOURCES = ("cells", "runs", "epochs", "mllog", "tensorboard")


class TensorBoard(Strict):
    """Event files of TensorBoard."""

    files: Paths
    """Event files or their folders; those in one folder are one run."""
    tags: Annotated[dict[Text, Text], Field(min_length=1)]
    """{metric: name of its scalar in the files}."""


class Replay(Strict):
    """Results that were produced elsewhere, and how they stand in their files.

    In every path {name} stands for a part between two slashes and becomes a column of that name, a number where it
    reads as one: `logs/mb{mini_batch_size}/seed{seed}/events*`.
    """

    cells: Paths | None = None
    """CSV, a row a cell: factors, n, mean, sd; optional: diverged (runs beside n), metric (name; else the study's)."""
    runs: Paths | None = None
    """CSV, a row a run: factors, metrics; optional: seed, run_id, state (finished, diverged, failed), device_name."""
    epochs: Paths | None = None
    """CSV, a row a run and epoch: factors, epoch, metrics, and seed or run_id."""
    mllog: Paths | None = None
    """Logs of MLPerf training, a run a file: lines with :::MLLOG and JSON."""
    tensorboard: TensorBoard | None = None
    """Event files of TensorBoard, and the names of their scalars."""
    factors: Annotated[list[Text], Field(min_length=1)] | None = None
    """Columns that tell cells apart; null: found, and said in the notes."""
    unit: Literal["percent", "fraction"] = "percent"
    """How accuracies and errors stand in the files; those of MLPerf's logs are fractions in any case."""
    chance: Percent | None = None
    """The metric of a diverged run in means, in percent; null: diverged runs are counted and left out of means."""
    num_train_images: Count | None = None
    """Training images, for epochs as steps and for the rate's increment a step; null: those are left out."""

    @model_validator(mode="after")
    def _has_a_source(self) -> Replay:
        if all(getattr(self, source) is None for source in SOURCES):
            raise ValueError(f"has no source: give one or more of {', '.join(SOURCES)}")
        return self

    def paths(self, source: str) -> list[str]:
        """Paths of a source as a list; empty where it is not given."""
        value = getattr(self, source)
        value = value.files if isinstance(value, TensorBoard) else value
        return [value] if isinstance(value, str) else list(value or ())
