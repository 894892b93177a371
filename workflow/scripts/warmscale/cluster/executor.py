"""Our executors in the place of the plugins'."""

from __future__ import annotations

from collections.abc import Callable

from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from .lsf_executor import LsfExecutor
from .settle import RunJob
from .site import Site
from .slurm_executor import SlurmExecutor

EXECUTORS = {"lsf": LsfExecutor, "slurm": SlurmExecutor}


def install(site: Site, runs: Callable[[JobExecutorInterface], RunJob], is_master: Callable[[], bool]) -> None:
    """Put ours in the place of the plugin's executor, for this study: Snakemake makes it when it begins to execute."""
    plugin = ExecutorPluginRegistry().get_plugin(site.scheduler)
    ours = EXECUTORS[site.scheduler]
    members = {"site": site, "runs": staticmethod(runs), "is_master": staticmethod(is_master)}
    plugin.executor = type("Executor", (ours, plugin.executor), members)
