"""Submitting through a scheduler that fails."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.lsf_double.cluster import Cluster
from warmscale.cluster import ask, insist, lasting, lsf, lsf_executor, lsf_jobs, slurm, waiting
from warmscale.cluster.ask import RefusedError, SchedulerSilentError
from warmscale.cluster.lsf_executor import LsfExecutor
from warmscale.cluster.placement import Where
from warmscale.cluster.settle import End
from warmscale.cluster.site import Site
from warmscale.cluster.slurm_executor import SlurmExecutor

SLURM = (slurm, ["sbatch", "--comment=me"], "7")
LSF = (lsf, ["bsub"], "Job <7> is submitted to queue <normal>.")
DOWN, SILENT = "LSF is down. Please wait ...", "sbatch: error: Unable to contact slurm controller (connect failure)"
FULL, LIMIT = "Pending job threshold reached. Job not submitted.", "sbatch: error: QOSMaxSubmitJobPerUserLimit"
QUEUE, QOS = "nowhere: No such queue. Job not submitted.", "sbatch: error: Invalid qos specification"


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(insist, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    return now


def submitted(monkeypatch, scheduler, answers: list[str], look_up=lambda: None) -> str:
    """Id of the job, where the scheduler gives these answers before it takes it."""
    speech, words, taken = scheduler
    left = iter([(1, said) for said in answers] + [(0, taken)])
    monkeypatch.setattr(insist, "answer", lambda words: next(left))
    return insist.insist(words, speech, look_up, logging.getLogger(__name__).warning)


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
    with pytest.raises(RefusedError, match=answers[0].rpartition("error: ")[2][:12]):
        submitted(monkeypatch, scheduler, answers)
    assert clock[0] < 700


LOST = {
    "sbatch": "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
    "bsub": "Failed in an LSF library call: Communication time out. Job not submitted.",
}


@pytest.mark.parametrize("scheduler", [SLURM, LSF])
def test_a_job_whose_answer_was_lost_is_not_submitted_again(monkeypatch, clock, scheduler):
    looks = iter([SchedulerSilentError("away")] * 50 + ["12"])

    def look_up() -> str:
        if isinstance(found := next(looks), Exception):
            raise found
        return found

    assert submitted(monkeypatch, scheduler, [LOST[scheduler[1][0]]], look_up) == "12"


def test_a_job_whose_id_a_wrapper_swallowed_is_looked_for_and_not_submitted_again(monkeypatch, clock):
    chatty = (lsf, ["bsub"], "Welcome to the cluster!")
    assert submitted(monkeypatch, chatty, [], lambda: "12") == "12"
    with pytest.raises(RefusedError, match="names no job: Welcome"):
        submitted(monkeypatch, chatty, [])


def test_a_lost_answer_is_given_time_to_be_known(monkeypatch, clock):
    """LSF answers from a copy that it renews: what it does not know a moment later, it may have taken."""
    at = []
    submitted(monkeypatch, LSF, [LOST["bsub"]], lambda: at.append(clock[0]) or "12")
    assert at == [lsf.LATE_SEC]


@pytest.mark.parametrize(("scheduler", "answers"), [(SLURM, [SILENT]), (LSF, [DOWN])])
def test_what_was_surely_not_taken_is_submitted_while_the_scheduler_cannot_be_asked(
    monkeypatch, clock, scheduler, answers
):
    def look_up() -> None:
        raise SchedulerSilentError("away")

    assert submitted(monkeypatch, scheduler, answers, look_up) == "7"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A double of LSF whose commands come first on the PATH."""
    with Cluster(tmp_path / "lsf", hosts=2, slots_per_host=1) as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


def test_a_bsub_that_submits_and_hangs_has_submitted(cluster, clock, monkeypatch, tmp_path):
    monkeypatch.setattr(insist, "answer", partial(ask.answer, timeout_sec=3.0))
    cluster.lose_answers("bsub", after_sec=20.0)
    log = str(tmp_path / "one.log")
    words = ["bsub", "-J", "digits:run", "-o", log, "sleep 60"]
    job_id = insist.insist(words, lsf, lambda: lsf_jobs.submitted_as("digits:run", log), print)
    assert [job.id for job in cluster.jobs()] == [int(job_id)]
    assert len(cluster.calls("bsub")) == 1


def test_a_job_is_found_by_its_name_and_its_own_log(cluster, tmp_path):
    logs = [str(tmp_path / f"{number}.log") for number in range(3)]
    jobs = [cluster.submit("-J", "digits:run", "-o", log, "true") for log in logs[:2]]
    cluster.wait(jobs[0])
    assert [lsf_jobs.submitted_as("digits:run", log) for log in logs] == [str(jobs[0]), str(jobs[1]), None]
    assert lsf_jobs.submitted_as("digits:other", logs[0]) is None
    cluster.outage("bjobs")
    with pytest.raises(SchedulerSilentError, match="LSF is down"):
        lsf_jobs.submitted_as("digits:run", logs[0])
    cluster.outage("bjobs", message="bjobs: unknown output field <output_file>")
    assert lsf_jobs.submitted_as("digits:run", logs[0]) is None  # the lease keeps a copy from training


def executor_of(run: SimpleNamespace, **members) -> LsfExecutor:
    """An executor that has one job, outside of Snakemake."""
    made = LsfExecutor.__new__(LsfExecutor)
    made.logger, made.runs = SimpleNamespace(warning=members.pop("say", print), info=print), lambda job: run
    made._ends, made._over_since, made._live, made._waiting, made._unreached = (
        {},
        {},
        {},
        waiting.Waiting(),
        waiting.Waiting(),
    )
    for name, value in members.items():
        setattr(made, name, value)
    return made


SITE = {
    "scheduler": "lsf",
    "launcher": "blaunch",
    "node": {"gpus": 0, "cores": 1},
    "walltime": [{"up_to_nodes": 2, "minutes": 60}],
}


def run_of(**members) -> SimpleNamespace:
    """A run on two nodes."""
    task = SimpleNamespace(job={"runtime": 60}, is_measured=False)
    return SimpleNamespace(run_id="run", study="digits", where=Where(2, 1), task=task, **members)


@pytest.mark.parametrize(
    ("hosts", "lost", "avoided"),
    [
        (2, ["127.0.0.1"], []),  # no other is left
        (3, ["127.0.0.1"], ["127.0.0.1"]),
        (3, ["127.0.0.1", "127.0.0.3"], ["127.0.0.3"]),  # the last one
        (4, ["127.0.0.1", "127.0.0.3"], ["127.0.0.1", "127.0.0.3"]),
        (5, [], []),
    ],
)
def test_as_many_hosts_are_avoided_as_the_queue_can_spare(cluster, hosts, lost, avoided):
    names = [f"127.0.0.{number + 1}" for number in range(hosts)]
    cluster.store.write_settings(replace(cluster.settings, hosts=(*names, "127.0.0.99"), queue_hosts={"normal": names}))
    executor = executor_of(None, site=Site.model_validate(SITE | {"queue": "normal"}))
    assert executor.hosts_to_avoid(run_of(lost_hosts=lambda: lost)) == avoided


def test_where_hosts_cannot_be_counted_one_is_avoided(cluster):
    cluster.outage("bhosts")
    executor = executor_of(None, site=Site.model_validate(SITE))
    assert executor.hosts_to_avoid(run_of(lost_hosts=lambda: ["a", "b"])) == ["b"]


def test_a_job_that_waits_for_long_may_have_any_host(cluster, monkeypatch, tmp_path):
    run, said = run_of(), []
    facts = {"where": run.where, "walltime_min": 60, "name": "digits:run", "log": tmp_path / "log", "cwd": tmp_path}
    site = Site.model_validate(SITE | {"extra": ["-R", "rusage[mem=1]"]})
    words = lsf.bsub_words(site, **facts, command="sleep 60", avoid=["127.0.0.1"])
    job = cluster.submit(*words[1:])
    workflow = SimpleNamespace(workdir_init=str(tmp_path))
    executor = executor_of(run, site=site, say=said.append, workflow=workflow)
    about = {"log": str(tmp_path / "log"), "avoid": ["127.0.0.1"]}
    executor._live = {str(job): SimpleNamespace(external_jobid=str(job), job=None, aux=about)}
    executor.outcomes([str(job)])
    executor._look_after_waiting()
    assert (cluster.job(job).state, cluster.calls("bmod"), said) == ("PEND", [], [])
    monkeypatch.setattr(lasting, "LIFT_SEC", -1.0)
    for _ in range(2):
        executor._look_after_waiting()
    assert cluster.calls("bmod") == [["-R", "span[ptile=1]", "-R", "rusage[mem=1]", str(job)]]
    assert cluster.wait(job, "RUN").hosts == ("127.0.0.1", "127.0.0.2")
    assert len(said) == 1
    assert said[0].endswith("is kept from 127.0.0.1; it may go there now")


def test_why_jobs_wait_is_told_once(cluster, monkeypatch):
    said = []
    executor = executor_of(None, say=said.append)
    jobs = [str(cluster.submit("-n", "3", "-R", "span[ptile=1]", "true")) for _ in range(3)]
    executor.outcomes(jobs)
    executor.tell_of_waiting()
    assert said == []  # it may begin at any moment
    monkeypatch.setattr(waiting, "TELL_SEC", -1.0)
    for _ in range(3):
        executor.outcomes(jobs)
        executor.tell_of_waiting()
    assert said == [f"LSF has not started job {jobs[0]} and 2 others: Not enough job slots; see `bjobs -p`"]
    cluster.kill_host("127.0.0.1", stays_down=True)
    executor.tell_of_waiting()
    assert "Host is unavailable: 1 host; Not enough job slots; see" in said[1]


def end_of(executor: LsfExecutor, log: Path, job_id: str = "7") -> End | None:
    """What is known of the end of a job with this log."""
    executor.learn_ends([job_id])
    return executor.end_of(SimpleNamespace(external_jobid=job_id, job=None, aux={"log": str(log)}), "EXIT")


REPORT = """\
no python
Sender: LSF System <lsfadmin@h1>
Job was executed on host(s) <2*h1>, in queue <normal>, as user <me> in cluster <c> at Fri Nov 20 10:00:00 2026
                            <2*h2>
</home/me> was used as the working directory.
TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.
Exited with exit code 137.
"""


def test_bjobs_tells_how_a_job_ended_before_the_report_does(cluster, tmp_path):
    job = cluster.submit("-n", "2", "-o", str(tmp_path / "log"), "sleep 60")
    cluster.wait(job, "RUN")
    cluster.kill_job(job, "TERM_MEMLIMIT")
    cluster.wait(job)
    executor = executor_of(SimpleNamespace(began=lambda job_id: True))
    assert end_of(executor, tmp_path / "none", str(job)) == End("TERM_MEMLIMIT", ("127.0.0.1", "127.0.0.2"))


def test_a_report_is_waited_for_where_bjobs_tells_nothing_but_not_for_ever(cluster, tmp_path, monkeypatch):
    executor = executor_of(SimpleNamespace(began=lambda job_id: True))
    log = tmp_path / "log"
    log.write_text("no python\n")
    assert end_of(executor, log) is None
    log.write_text(REPORT)
    assert end_of(executor, log) == End("TERM_MEMLIMIT", ("h1", "h2"))
    log.write_text("no python\n")
    monkeypatch.setattr(lsf_executor, "REPORT_SEC", -1.0)
    assert end_of(executor, log) == End()


def test_of_a_job_in_which_nothing_began_the_log_is_waited_for(cluster, tmp_path):
    job = cluster.submit("-o", str(tmp_path / "log"), "exit 3")
    never = cluster.submit("-H", "true")
    cluster.wait(job)
    cluster.run("bkill", str(never))
    executor = executor_of(SimpleNamespace(began=lambda job_id: False))
    assert end_of(executor, tmp_path / "none", str(job)) is None
    assert end_of(executor, tmp_path / "none", str(never)) == End("TERM_OWNER", ())  # that has no log
    assert end_of(executor, tmp_path / "log", str(job)) == End(None, ("127.0.0.1",))


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
    executor = kind.__new__(kind)
    executor._waiting = executor._unreached = waiting.Waiting()
    assert list(executor.outcomes(list(told)).values()) == outcomes


def test_a_job_that_is_adopted_is_told_what_is_asked_of_it_now(monkeypatch):
    told = []
    run = SimpleNamespace(
        run_id="run",
        begun_submission=lambda scheduler: None,
        remembered=lambda scheduler: {"job_id": "7", "log": "log"},
        correct_task=lambda: told.append("7"),
    )
    executor = LsfExecutor.__new__(LsfExecutor)
    executor.logger, executor.runs = logging.getLogger(__name__), lambda job: run
    monkeypatch.setattr(executor, "outcomes", lambda job_ids: {"7": "alive"})
    monkeypatch.setattr(executor, "_track", lambda job_info: None)
    assert executor._adopt(None)
    assert told == ["7"]


@pytest.mark.parametrize("told", [True, False])
def test_how_a_job_ended_while_nobody_asked_is_noted_by_the_next_master(monkeypatch, tmp_path, told):
    """By bjobs, or by the report in its log."""
    noted, log = [], tmp_path / "log"
    log.write_text("Sender: LSF System\nJob was executed on host(s) <n1>, in queue\nTERM_MEMLIMIT: job killed\n")
    monkeypatch.setattr(lsf_jobs, "ends", lambda ids: {"7": End("TERM_MEMLIMIT", ("n1",))} if told else {})
    run = SimpleNamespace(
        begun_submission=lambda scheduler: None,
        remembered=lambda scheduler: {"job_id": "7", "log": str(log)},
        is_host_in_doubt=lambda job_id: True,
        note_end=lambda *end: noted.append(end),
    )
    executor = LsfExecutor.__new__(LsfExecutor)
    executor.logger, executor.runs = logging.getLogger(__name__), lambda job: run
    monkeypatch.setattr(executor, "outcomes", lambda job_ids: {"7": "EXIT"})
    assert not executor._adopt(None)
    assert noted == [("7", "TERM_MEMLIMIT", "n1")]


def test_what_is_good_to_know_ends_no_master(monkeypatch, caplog):
    executor = LsfExecutor.__new__(LsfExecutor)
    executor.logger = logging.getLogger(__name__)
    executor._unless_it_fails(lambda job_ids: job_ids[0], [])
    assert "lsf: IndexError" in caplog.text


def test_jobs_are_noted_while_others_are_looked_at():
    known, done = waiting.Waiting(), threading.Event()

    def note() -> None:
        for number in itertools.count():
            known.note({str(number % 1000): "PEND", str((number + 500) % 1000): "RUN"}, ("PEND",))
            if done.is_set():
                return

    noting = threading.Thread(target=note)
    noting.start()
    for _ in range(300):
        known.longer_than(0.0)
    done.set()
    noting.join()


def test_a_job_whose_host_is_not_reached_for_long_is_told_of_once_with_what_ends_it(monkeypatch, caplog):
    monkeypatch.setattr(waiting, "TELL_SEC", -1.0)
    executor = LsfExecutor.__new__(LsfExecutor)
    executor.logger = logging.getLogger(__name__)
    executor._waiting, executor._unreached = waiting.Waiting(), waiting.Waiting()
    for state in ("RUN", "UNKWN", "UNKWN", "RUN", "UNKWN"):
        monkeypatch.setattr(executor, "states", lambda job_ids, state=state: {"57": state})
        executor.outcomes(["57"])
        executor.tell_of_waiting()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and "`bkill -r 57`" in lines[0]


class Info(SimpleNamespace):
    """A job as Snakemake hands it to an executor."""


def polled(monkeypatch, answers: list[dict[str, str] | Exception]) -> list[str]:
    """Ids of jobs 1 and 2 that were taken for ended after these answers of the scheduler."""
    executor, ended = LsfExecutor.__new__(LsfExecutor), []
    executor.logger, executor.is_master = logging.getLogger(__name__), lambda: True
    executor._silent, executor._misses, executor._held, executor._live = False, {}, set(), {}
    executor._ends, executor._waiting, executor._unreached = {"2": None}, waiting.Waiting(), waiting.Waiting()
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
