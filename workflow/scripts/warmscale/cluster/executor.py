"""Our executors in the place of the plugins'."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable

from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from .lsf_executor import LsfExecutor
from .settle import RunJob
from .site import Site
from .slurm_executor import SlurmExecutor

COMMANDS = {"lsf": ("bsub", "bjobs", "bkill"), "slurm": ("sbatch", "squeue", "scancel")}
EXECUTORS = {"lsf": LsfExecutor, "slurm": SlurmExecutor}


def check_commands(site: Site) -> None:
    """Exit with one line where a scheduler's commands are not on the PATH: no run is to blame for that."""
    missing = [name for name in COMMANDS[site.scheduler] if not shutil.which(name)]
    if missing:
        where = f"not on the PATH of {socket.gethostname()}"
        sys.exit(f"{', '.join(missing)}: {where}; load the scheduler's environment, or type this on a login node")


def install(site: Site, runs: Callable[[JobExecutorInterface], RunJob], is_master: Callable[[], bool]) -> None:
    """Put ours in the place of the plugin's executor, for this study: Snakemake makes it when it begins to execute."""
    plugin = ExecutorPluginRegistry().get_plugin(site.scheduler)
    ours = EXECUTORS[site.scheduler]
    members = {"site": site, "runs": staticmethod(runs), "is_master": staticmethod(is_master)}
    plugin.executor = type("Executor", (ours, plugin.executor), members)
