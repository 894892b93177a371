"""What a study consists of, left by the workflow for those who only read files: results/<study>/study.json."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .files import read_object, read_text

NAME = "study.json"


@dataclass(frozen=True)
class Manifest:
    """The runs of a study as its workflow last saw them."""

    runs: Mapping[str, Mapping[str, Any]]
    """`epochs` and `total_steps` of each run, in the order of the config."""
    command: str | None = None
    """What was typed, such as `snakemake --profile lsf`."""
    config_files: Sequence[str] = field(default_factory=tuple)


def write_manifest(
    results_of_study: Path, runs: Mapping[str, Mapping[str, Any]], command: str, configs: Sequence[str]
) -> None:
    """Leave the runs, each with its `epochs` and `total_steps`; atomic, and only where something changed.

    Where the folder cannot be written, nothing is left: a dry run in somebody else's checkout goes on.
    """
    from ..records import write_atomic

    value = {
        "command": command,
        "config_files": [str(path) for path in configs],
        "results": str(results_of_study),
        "runs": {run_id: dict(planned) for run_id, planned in runs.items()},
    }
    text = json.dumps(value) + "\n"
    path = results_of_study / NAME
    if read_text(str(path)) != text:
        with contextlib.suppress(OSError):
            write_atomic(path, text)


def read_manifest(results_of_study: str) -> Manifest | None:
    """What the workflow left; None where it left nothing."""
    value = read_object(f"{results_of_study}/{NAME}")
    if not isinstance(value.get("runs"), dict):
        return None
    return Manifest(value["runs"], value.get("command"), tuple(value.get("config_files") or ()))
