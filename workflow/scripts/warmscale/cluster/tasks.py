"""What rules `train` and `measure` ask of the study for one run or measurement, and the file in which its batch job
finds it.

Every batch job starts Snakemake again. With this file, which the master writes before it submits the job, that one
expands no grid and imports no model of a config. Standard library only.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..records import write_json

VARIABLE = "WARMSCALE_TASK"
"""Of the environment of a batch job: path of the file."""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Task:
    """One run, as rule `train` has to know it, or one measurement, as rule `measure` has to."""

    run_id: str
    """Of the run or the measurement."""
    content: str
    """Canonical JSON: what Snakemake compares."""
    results: str
    """Folder of the study."""
    index: str
    """Index of the data set."""
    trainer: str
    """Options that all runs of the study share, quoted for a shell."""
    options: str
    """How the ranks of this one are started, likewise."""
    threads: int
    """Cores of this machine that it takes up."""
    job: Mapping[str, Any]
    """What its job asks Snakemake's executor for."""
    is_measured: bool = False
    """Whether it is a measurement."""
    reads_data: bool = True
    """Whether it needs the index."""

    @property
    def target(self) -> str:
        """What Snakemake calls its job on a command line."""
        return f"measure:measurement={self.run_id}" if self.is_measured else f"train:run={self.run_id}"


def leave_task(path: Path, task: Task) -> None:
    """Write the file of a run, for the batch job that is submitted next."""
    write_json(path, asdict(task))


def task_left(path: Path) -> Task | None:
    """What stands in the file of a run; None where it is not there, or not a whole one of ours."""
    try:
        return Task(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def task_of_job(environment: Mapping[str, str], words: Sequence[str]) -> Task | None:
    """What the master left for the Snakemake with this environment and command line, if it is in the job of that run.

    None where there is no such file, or not a whole one of ours: the study is expanded then, as by the master.
    """
    task = task_left(Path(environment.get(VARIABLE, "")))
    return task if task and task.target in words else None


def with_known_signature(function: Function) -> Function:
    """The function, its signature at hand: Snakemake asks for it several times a job; finding it outlasts the call."""
    function.__signature__ = inspect.signature(function)
    return function
