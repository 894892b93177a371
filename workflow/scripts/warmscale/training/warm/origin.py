"""Whether a rank that is forked would be what a rank is that starts cold. Standard library only."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...cluster.launchers import LaunchPlan, rank_script

OF_A_JOB = {"TMPDIR", "TMP", "TEMPDIR", "TEMP", "GOTO_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"}
"""Variables that Snakemake sets for each job, and that no import heeds beside those that a rank's script sets."""
OF_A_SHELL = {"SHLVL", "PWD", "OLDPWD", "_", "COLUMNS", "LINES"}


def obstacles(plan: LaunchPlan) -> list[str]:
    """What of a plan only ranks that start cold can have, by name."""
    found = {
        "launcher": plan.launcher != "local",
        "GPUs": plan.gpus_per_node,
        "container": plan.container,
        "setup": plan.setup,
        "node_local": plan.node_local,
        "python": plan.python != sys.executable,
    }
    return [name for name, is_there in found.items() if is_there]


@dataclass(frozen=True)
class Origin:
    """What the warm process was started with, as a rank would have been."""

    script: str
    """The rank's script without a command: what it does before the interpreter starts."""
    started_with: Mapping[str, str]
    """Variables of the Snakemake that started it."""
    began_with: Mapping[str, str]
    """Its own variables, as the script made them."""
    environment: Mapping[str, str]
    """Likewise, as the imports left them."""
    surroundings: Mapping[str, Any]
    files: frozenset[int]
    """Open files of imported libraries: a rank has them too."""

    def differences(self, surroundings: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
        """What a process with these surroundings and variables has that no fork would have, by name."""
        variables = _changed(self.started_with, environment) - OF_A_JOB - OF_A_SHELL - self.set_by_it
        return sorted(variables | _changed(self.surroundings, surroundings))

    def misfits(self, plan: LaunchPlan) -> list[str]:
        """What the ranks of a plan are started with that the warm process was not, by name."""
        return obstacles(plan) or ["script of ranks"] * (script_of(plan) != self.script)

    def of_rank(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Variables of a rank that is started with these: what its script would have made of them."""
        changed = _changed(self.started_with, environment) - self.set_by_it
        return {
            **{name: value for name, value in self.environment.items() if name not in changed},
            **{name: environment[name] for name in changed if name in environment},
        }

    @property
    def set_by_it(self) -> set[str]:
        """Variables that the script, or its shell, sets or takes away, whatever they were."""
        exported = re.findall(r"^export (\w+)=", self.script, flags=re.MULTILINE)
        return _changed(self.started_with, self.began_with) | {*exported}


def script_of(plan: LaunchPlan) -> str:
    """What is done before the interpreter of a rank starts; the same text means the same."""
    return rank_script(plan, [], Path("/"))


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
