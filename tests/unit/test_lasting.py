"""Submitting through a scheduler that fails."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import pytest

from warmscale.cluster import lasting
from warmscale.cluster.ask import SchedulerSilentError
from warmscale.cluster.lsf import RefusedError as BsubRefusedError
from warmscale.cluster.lsf_executor import LsfExecutor
from warmscale.cluster.slurm import RefusedError as SbatchRefusedError
from warmscale.cluster.slurm_executor import SlurmExecutor

SLURM = (SlurmExecutor, ["sbatch", "--comment=me"], "7")
LSF = (LsfExecutor, ["bsub"], "Job <7> is submitted to queue <normal>.")
DOWN, SILENT = "LSF is down. Please wait ...", "sbatch: error: Unable to contact slurm controller (connect failure)"
FULL, LIMIT = "Pending job threshold reached. Job not submitted.", "sbatch: error: QOSMaxSubmitJobPerUserLimit"
QUEUE, QOS = "nowhere: No such queue. Job not submitted.", "sbatch: error: Invalid qos specification"


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(lasting, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    return now


def submitted(monkeypatch, scheduler, answers: list[str]) -> str:
    """Id of the job, where the scheduler gives these answers before it takes it."""
    kind, words, taken = scheduler
    left = iter([(1, said) for said in answers] + [(0, taken)])
    monkeypatch.setattr(lasting, "answer", lambda words: next(left))
    monkeypatch.setattr(kind, "submitted_after_all", lambda self, words: None)
    executor = kind.__new__(kind)
    executor.logger = logging.getLogger(__name__)
    return executor.insist(words)


@pytest.mark.parametrize(
    ("scheduler", "answers"),
    [
        (SLURM, [SILENT] * 500),  # as long as it takes
        (LSF, [DOWN] * 500),
        (LSF, ["bsub did not answer in 300 s"] * 500),
        (SLURM, [LIMIT] * 500),
        (LSF, [FULL] * 500),
        (SLURM, ["what is that"] * 2),
        (LSF, ["what is that"] * 2),
    ],
)
def test_what_passes_is_waited_for(monkeypatch, clock, scheduler, answers):
    assert submitted(monkeypatch, scheduler, answers) == "7"


@pytest.mark.parametrize(
    ("scheduler", "answers"),
    [
        (SLURM, ["what is that"] * 3),
        (LSF, ["what is that"] * 3),
        (SLURM, [QOS]),
        (LSF, [QUEUE]),
    ],
)
def test_what_stays_is_not(monkeypatch, clock, scheduler, answers):
    with pytest.raises((BsubRefusedError, SbatchRefusedError), match=answers[0].rpartition("error: ")[2][:12]):
        submitted(monkeypatch, scheduler, answers)
    assert clock[0] < 700


def test_a_job_whose_answer_was_lost_is_not_submitted_again(monkeypatch, clock):
    monkeypatch.setattr(lasting, "answer", lambda words: (1, "Socket timed out on send/recv operation"))
    monkeypatch.setattr(SlurmExecutor, "submitted_after_all", lambda self, words: "12")
    executor = SlurmExecutor.__new__(SlurmExecutor)
    executor.logger = logging.getLogger(__name__)
    assert executor.insist(["sbatch"]) == "12"


@pytest.mark.parametrize(
    ("kind", "states", "outcomes"),
    [
        (LsfExecutor, ["RUN", "UNKWN", "PSUSP", "NEW", "DONE", "EXIT"], ["alive"] * 4 + ["done", "EXIT"]),
        (SlurmExecutor, ["RUNNING", "SUSPENDED", "NEW", "COMPLETED", "TIMEOUT"], ["alive"] * 3 + ["done", "TIMEOUT"]),
    ],
)
def test_a_state_that_is_no_known_end_is_a_job_that_lives(monkeypatch, kind, states, outcomes):
    told = {str(number): state for number, state in enumerate(states)}
    monkeypatch.setattr(kind, "states", lambda self, job_ids: told)
    assert list(kind.__new__(kind).outcomes(list(told)).values()) == outcomes


def test_a_job_that_is_adopted_is_told_what_is_asked_of_it_now(monkeypatch):
    told = []
    run = SimpleNamespace(
        run_id="run",
        remembered=lambda scheduler: {"job_id": "7", "log": "log"},
        correct_task=lambda: told.append("7"),
    )
    executor = LsfExecutor.__new__(LsfExecutor)
    executor.logger, executor.runs = logging.getLogger(__name__), lambda job: run
    monkeypatch.setattr(executor, "outcomes", lambda job_ids: {"7": "alive"})
    monkeypatch.setattr(executor, "_track", lambda job_info: None)
    assert executor._adopt(None)
    assert told == ["7"]


class Info(SimpleNamespace):
    """A job as Snakemake hands it to an executor."""


def polled(monkeypatch, answers: list[dict[str, str] | Exception]) -> list[str]:
    """Ids of jobs 1 and 2 that were taken for ended after these answers of the scheduler."""
    executor, ended = LsfExecutor.__new__(LsfExecutor), []
    executor.logger, executor.is_master = logging.getLogger(__name__), lambda: True
    executor._silent, executor._misses, executor._held, executor._live = False, {}, set(), {}
    executor.runs = lambda job: SimpleNamespace(is_published=lambda: False)
    left = iter(answers)

    def outcomes(job_ids: list[str]) -> dict[str, str]:
        said = next(left)
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(executor, "outcomes", outcomes, raising=False)
    monkeypatch.setattr(executor, "_report_end", lambda job, state: ended.append(job.external_jobid) or True)
    jobs = [Info(external_jobid=number, job=None, aux={}) for number in ("1", "2")]

    async def poll() -> list[Info]:
        return [job async for job in executor.check_active_jobs(jobs)]

    for _ in answers:
        jobs = asyncio.run(poll())
    return ended


BOTH, ONE = {"1": "alive", "2": "alive"}, {"1": "alive"}


def test_a_job_is_over_when_it_is_missing_thrice_in_a_row_and_not_before(monkeypatch):
    assert polled(monkeypatch, [ONE, ONE, ONE]) == ["2"]
    assert polled(monkeypatch, [ONE, BOTH, ONE, BOTH, ONE, BOTH]) == []


def test_an_outage_is_no_news_however_long_it_is(monkeypatch):
    down = SchedulerSilentError("bjobs: LSF is down")
    assert polled(monkeypatch, [BOTH, *[down] * 200, BOTH]) == []
    assert polled(monkeypatch, [BOTH, down, {"1": "alive", "2": "EXIT"}]) == ["2"]
