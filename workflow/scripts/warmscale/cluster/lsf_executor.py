"""Snakemake's executor for LSF, made to last: see `lasting`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from . import lsf
from .ask import answer, last_line, tail
from .lasting import Lasting
from .settle import RunJob

EXIT_CODE = Path(__file__).parents[2] / "exit_code.py"


class LsfExecutor(Lasting):
    """For LSF."""

    scheduler, speech = "lsf", lsf

    @staticmethod
    def get_lsf_config() -> dict[str, str]:
        """Nothing: bsub knows its own defaults, and not every site lets users run badmin."""
        return {}

    def submission(self, job: JobExecutorInterface, run: RunJob, log: Path) -> list[str]:
        """The words of bsub."""
        return lsf.bsub_words(
            self.site,
            command=self._command(job, run),
            avoid=self._to_avoid(run),
            **self.common_facts(run, log),
        )

    def _command(self, job: JobExecutorInterface, run: RunJob) -> str:
        """For the shell of the first host; where LSF itself is to requeue jobs, a paused run ends with that code."""
        command = self.command(job, run)
        if "-Q" not in self.site.extra:
            return command
        program = [sys.executable, str(EXIT_CODE), "--state", str(run.state.path)]
        return f"{command} || {shlex.join(program)}"

    def _to_avoid(self, run: RunJob) -> list[str]:
        """Nodes on which the run was lost, where LSF has enough others; whole nodes of style easy cannot be chosen."""
        failed = run.failed_nodes() if self.site.style == "plain" else []
        if not failed:
            return []
        others = set(lsf.hosts_in(answer(["bhosts", "-w"])[1])) - set(failed)
        return failed if len(others) >= run.where.nodes else []

    def last_words(self, job: SubmittedJobInfo) -> str:
        """Of the job itself: LSF's report follows it."""
        return last_line(lsf.output_in(tail(job.aux["log"])))

    def node_of(self, job: SubmittedJobInfo) -> str | None:
        """From LSF's report."""
        return lsf.host_in(tail(job.aux["log"]))

    def reason_of_end(self, job: SubmittedJobInfo, state: str) -> str | None:
        """LSF writes TERM_... to the job's log."""
        return lsf.end_in(tail(job.aux["log"]))
