"""Snakemake's executor for LSF, made to last: see `lasting`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from . import lsf
from .ask import answer, chunks, last_line, tail
from .lasting import SUBMIT_FOR_SEC, Lasting
from .settle import RunJob

EXIT_CODE = Path(__file__).parents[2] / "exit_code.py"
FIRST_PAUSE_SEC = 5.0
LONGEST_PAUSE_SEC = 60.0
FEWEST_TRIES = 3
"""Of a submission, also where the answer does not look like one that passes: schedulers are worded by their sites."""


class LsfExecutor(Lasting):
    """For LSF."""

    scheduler = "lsf"

    def __post_init__(self, *given: Any, **named: Any) -> None:
        self._refusals: set[str] = set()
        """What LSF said when it refused jobs for good: it need not be asked as often for the next one."""
        super().__post_init__(*given, **named)

    @staticmethod
    def get_lsf_config() -> dict[str, str]:
        """Nothing: bsub knows its own defaults, and not every site lets users run badmin."""
        return {}

    def submit(self, job: JobExecutorInterface) -> None:
        """Start bsub; report the job, or that LSF refuses it."""
        run = self.runs(job)
        log = Path(f".snakemake/lsf_logs/{run.run_id}/{self.run_uuid}-{job.attempt}.log").absolute()
        log.parent.mkdir(parents=True, exist_ok=True)
        words = lsf.bsub_words(
            self.site,
            where=run.where,
            walltime_min=self.site.walltime_min(run.where.nodes),
            name=f"{run.study}:{run.run_id}",
            log=log,
            cwd=Path(self.workflow.workdir_init),
            command=self._command(job),
            avoid=self._to_avoid(run),
        )
        self.logger.debug(f"bsub call: {words}")
        try:
            job_id = self._bsub(words)
        except lsf.RefusedError as error:
            self.report_job_error(SubmittedJobInfo(job), str(error))
            return
        self.logger.info(f"{run.run_id}: submitted as LSF job {job_id} (log: {log}).")
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=job_id, aux={"lsf_logfile": str(log)}))

    def _command(self, job: JobExecutorInterface) -> str:
        """For the shell of the first host; where LSF itself is to requeue jobs, a paused run ends with that code."""
        command = self.format_job_exec(job)
        if "-Q" not in self.site.extra:
            return command
        program = [sys.executable, str(EXIT_CODE), "--state", str(self.runs(job).state.path)]
        return f"{command} || {shlex.join(program)}"

    def _to_avoid(self, run: RunJob) -> list[str]:
        """Nodes on which the run was lost, where LSF has enough others; whole nodes of style easy cannot be chosen."""
        failed = run.failed_nodes() if self.site.style == "plain" else []
        if not failed:
            return []
        others = set(lsf.hosts_in(answer(["bhosts", "-w"])[1])) - set(failed)
        return failed if len(others) >= run.where.nodes else []

    def _bsub(self, words: Sequence[str]) -> str:
        """Id of the job; tries again where bsub fails for a reason that may pass. Raises RefusedError."""
        give_up, pause, tries = time.monotonic() + SUBMIT_FOR_SEC, FIRST_PAUSE_SEC, 1
        while True:
            code, said = answer(words)
            if code == 0:
                return lsf.job_id_in(said)
            reason = " ".join(said.split())
            passes = lsf.is_transient(said) and time.monotonic() < give_up
            if not passes and (tries >= FEWEST_TRIES or reason in self._refusals):
                self._refusals.add(reason)
                raise lsf.RefusedError(f"bsub: {reason}")
            self.logger.warning(f"bsub: {reason}; trying again in {pause:.0f} s")
            time.sleep(pause)
            pause, tries = min(2 * pause, LONGEST_PAUSE_SEC), tries + 1

    def states(self, job_ids: Sequence[str]) -> Mapping[str, str]:
        """By bjobs."""
        return {job_id: _outcome(state) for job_id, state in lsf.states(job_ids).items()}

    def last_words(self, job: SubmittedJobInfo) -> str:
        """Of the job itself: LSF's report follows it."""
        return last_line(lsf.output_in(tail(job.aux["lsf_logfile"])))

    def reason_of_end(self, job: SubmittedJobInfo, state: str) -> str | None:
        """LSF writes TERM_... to the job's log."""
        return lsf.reason_in(tail(job.aux["lsf_logfile"]))

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Ask all jobs to end, as Snakemake does on Ctrl-C; the ranks save before."""
        for chunk in chunks([job.external_jobid for job in active_jobs]):
            answer(["bkill", *chunk])


def _outcome(state: str) -> str:
    """A state that is not known to be an end may be followed by another one: the job lives."""
    return "done" if state == "DONE" else state if state in lsf.OVER else "alive"
