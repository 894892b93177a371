"""`snakemake --profile profiles/slurm` on a real Slurm, disturbed as clusters disturb."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.workflow.conftest import TINY, make_checkout
from warmscale.cluster.ask import SchedulerSilentError
from warmscale.cluster.placement import Where
from warmscale.cluster.settle import End
from warmscale.cluster.site import Site
from warmscale.cluster.slurm import batch_script, stuck_in
from warmscale.cluster.slurm_executor import SlurmExecutor
from warmscale.cluster.slurm_nodes import lifting_words, nodes_of_partition
from warmscale.cluster.waiting import Waiting
from warmscale.records import TIMING_COLUMNS, StateFolder, read_json, read_lines, read_rows

from .cluster import SlurmCluster, SlurmError

PATIENCE_SEC = 300
ONE_RUN = {"name": "warmup", "grid": {"warmup_epochs": [1]}, "figures": ["curves"]}
ONE_NODE = {"max_nodes": 1, "ranks_per_node": 2}
TWO_NODES = {"nodes": 2, "ranks_per_node": 1}
TABLE = "results/tiny/tables/epochs.csv"
SINGLE = {"max_nodes": 1, "ranks_per_node": 1}


def study(**recipe: Any) -> dict[str, Any]:
    """One run of two steps an epoch."""
    return {**TINY, "recipe": {**TINY["recipe"], "mini_batch_size": 640, **recipe}, "experiments": [ONE_RUN]}


class SlurmCheckout:
    """A checkout beside a cluster."""

    def __init__(self, folder: Path, slurm: SlurmCluster):
        self.checkout, self.slurm, self.folder = make_checkout(folder), slurm, folder
        self.commands = folder / "commands"
        """Where commands lie that come before Slurm's own."""
        self.mark = folder / "mark"
        self.site(node={"gpus": 0, "cores": 2}, walltime=[{"up_to_nodes": 2, "minutes": 60}], placement=ONE_NODE)

    def site(self, **facts: Any) -> None:
        """Edit the one file of site facts."""
        path = self.folder / "profiles/slurm/site.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | facts))

    def command(self, name: str, script: str) -> None:
        """Put a script in the place of one of Slurm's commands, which it may call."""
        self.commands.mkdir()
        (self.commands / name).write_text(script.format(real=self.slurm.folder / "bin" / name, mark=self.mark))
        (self.commands / name).chmod(0o755)

    def start(self, *words: str) -> subprocess.Popen:
        """Start `snakemake --profile profiles/slurm`; what it says is appended to master.log."""
        environment = self.slurm.environment()
        path = f"{self.commands}:{Path(sys.executable).parent}:{environment['PATH']}"
        with (self.folder / "master.log").open("a") as log:
            return subprocess.Popen(
                ["snakemake", "--profile", "profiles/slurm", *words],
                cwd=self.folder,
                env=environment | {"PATH": path, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def finish(self, *words: str) -> int:
        """Run it to its end, and return the exit code."""
        return self.start(*words).wait(PATIENCE_SEC)

    def log(self) -> str:
        """All that masters said so far."""
        return (self.folder / "master.log").read_text()

    def wait_for(self, what: str, condition: Callable[[], Any]) -> Any:
        """What the condition returns once it is true."""
        give_up = time.monotonic() + PATIENCE_SEC
        while not (found := condition()):
            assert time.monotonic() < give_up, f"no {what}\n{self.log()}"
            time.sleep(0.05)
        return found

    def state(self) -> StateFolder | None:
        """State folder of the one run, once it is there."""
        found = next(iter((self.folder / "results/tiny/state").glob("*")), None)
        return StateFolder(found) if found else None

    def job(self) -> dict[str, Any]:
        """Its job, once it is submitted."""
        return self.wait_for("job", lambda: (state := self.state()) and read_json(state.job))

    def trains(self) -> bool:
        """Whether it has finished an epoch."""
        state = self.state()
        return bool(state) and state.epochs.exists()

    def jobs(self) -> set[str]:
        """All jobs that were submitted for it."""
        (name,) = (state.name for state in (self.folder / "results/tiny/state").iterdir())
        listed = self.slurm.ask("squeue", "--noheader", "--states=all", f"--name=tiny:{name}", "--format=%i %Z")
        return {line.split()[0] for line in listed.splitlines() if line.endswith(f" {self.folder}")}

    def preempt(self) -> str:
        """Let a more urgent job have all nodes for a moment; the job of the run would start again in two minutes."""
        job = self.job()["job_id"]
        urgent = self.slurm.submit("true", "--nodes=2", "--exclusive", "--partition=urgent")
        self.slurm.wait_for(urgent, "COMPLETED")
        self.slurm.wait_for(job, "PENDING")
        return job

    def said(self, job: str) -> str:
        """What a job and the parent of the ranks in it printed."""
        logs = [Path(self.job()["log"]), *(self.folder / "results/tiny/logs/train").glob("*")]
        return f"job {job}\n" + "\n".join(log.read_text() for log in logs if log.exists())

    def attempts(self) -> list[dict[str, Any]]:
        """Its attempts that ended."""
        state = self.state()
        return read_lines(state.attempts) if state else []

    def record(self) -> dict[str, Any]:
        """What is published of it."""
        return read_json(next((self.folder / "results/tiny/runs").glob("*/run.json")))


@pytest.fixture
def cluster(slurm: SlurmCluster, tmp_path: Path) -> Iterator[SlurmCheckout]:
    """A checkout beside idle nodes."""
    made = SlurmCheckout(tmp_path / "checkout", slurm)
    yield made
    slurm.cancel_all()


def rows(folder: Path) -> list[dict[str, str]]:
    """The table of epochs without what is measured in seconds or bytes."""
    table = read_rows(folder / TABLE)
    assert table
    return [{name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in table]


def trained_here(folder: Path, content: dict[str, Any], ranks: int) -> Path:
    """The same study with as many ranks, undisturbed, on this machine."""
    made = make_checkout(folder)
    made.write(content | {"placement": {"ranks_per_node": ranks}})
    done = made.snakemake(TABLE)
    assert done.returncode == 0, done.stdout
    return folder


LOST_ANSWER = """\
#!/bin/sh
if mkdir {mark} 2>/dev/null; then
    {real} "$@" >/dev/null
    echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
    exit 1
fi
exec {real} "$@"
"""
AWAY = """\
#!/bin/sh
if [ -e {mark} ]; then
    echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2
    exit 1
fi
exec {real} "$@"
"""


def test_a_study_on_two_ranks_of_a_node_outlives_its_walltime(cluster, tmp_path):
    """In two jobs, and one sbatch that submits but does not hear of it; up to the report."""
    content = study(mini_batch_size=1280)
    cluster.checkout.write(content)
    cluster.site(margin_sec=3599)  # each job makes one of two steps
    cluster.command("sbatch", LOST_ANSWER)
    assert cluster.finish() == 0, cluster.log()
    assert rows(cluster.folder) == rows(trained_here(tmp_path / "here", content, ranks=2))
    attempts = cluster.attempts()
    assert [(one["state"], one["failure_class"], one["steps_done"], one["world_size"]) for one in attempts] == [
        ("paused", "walltime", 1, 2),
        ("finished", None, 2, 2),
    ]
    assert "Socket timed out on send/recv operation; trying again in 5 s" in cluster.log()
    assert cluster.jobs() == {attempt["job_id"] for attempt in attempts}
    assert "Finished jobid: 0" in Path(cluster.job()["log"]).read_text()
    assert (cluster.folder / "results/tiny/report/index.html").exists()


def test_a_preempted_run_on_two_nodes_goes_on_where_it_saved_and_a_new_master_adopts_it(cluster, slurm, tmp_path):
    """Slurm requeues it; the master is away then, and the next one finds Slurm away."""
    content = study(epochs=20)  # seconds, in which it can be met
    cluster.checkout.write(content)
    cluster.site(placement=TWO_NODES, node={"gpus": 0, "cores": 1})  # as many threads a rank
    cluster.command("squeue", AWAY)
    master = cluster.start(TABLE)
    cluster.wait_for("an epoch", cluster.trains)
    master.kill()
    master.wait()
    job = cluster.preempt()
    assert cluster.attempts()[0]["state"] == "paused", cluster.said(job)
    cluster.mark.touch()
    master = cluster.start(TABLE)
    cluster.wait_for("notice of the outage", lambda: "before anything is submitted" in cluster.log())
    cluster.mark.unlink()
    cluster.wait_for("adoption", lambda: f"job {job} of an earlier call still lives, and is adopted" in cluster.log())
    slurm.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
    assert master.wait(PATIENCE_SEC) == 0, cluster.log()
    first, second = cluster.attempts()
    assert (first["state"], first["failure_class"], first["job_id"]) == ("paused", None, job)
    assert (second["state"], second["steps_before"], second["job_id"]) == ("finished", first["steps_done"], job)
    assert first["steps_done"] >= 2
    assert cluster.jobs() == {job}
    assert rows(cluster.folder) == rows(trained_here(tmp_path / "here", content, ranks=2))


def test_a_preempted_run_of_one_rank_has_time_to_save(cluster):
    cluster.checkout.write(study(epochs=60))
    cluster.site(placement=SINGLE)
    master = cluster.start()
    cluster.wait_for("an epoch", cluster.trains)
    job = cluster.preempt()
    (attempt,) = cluster.attempts()
    assert (attempt["state"], attempt["failure_class"]) == ("paused", None), cluster.said(job)
    assert attempt["steps_done"] >= 2
    master.send_signal(signal.SIGINT)
    assert master.wait(PATIENCE_SEC) == 1
    assert cluster.slurm.wait_for(job, "CANCELLED") == "CANCELLED"


def test_a_job_that_cannot_start_is_told_of_and_one_that_is_cancelled_is_submitted_again(cluster):
    cluster.checkout.write(study())
    cluster.site(extra=["--hold"], constraint="fast", project="acc")
    master = cluster.start()
    cluster.wait_for("warning", lambda: "Slurm does not start job" in cluster.log())
    job = cluster.job()["job_id"]
    assert f"Slurm does not start job {job}: JobHeld" in cluster.log()
    facts = cluster.slurm.ask("scontrol", "show", "job", job)
    assert all(fact in facts for fact in ("Features=fast", "Account=acc", "NumNodes=1", "NumTasks=2", "CPUs/Task=1"))
    cluster.slurm.ask("scancel", job)
    cluster.wait_for("second job", lambda: cluster.job()["job_id"] != job)
    (attempt,) = cluster.attempts()
    assert (attempt["state"], attempt["failure_class"], attempt["job_id"]) == ("killed", "node", job)
    assert f"job {job} ended before the trainer started: CANCELLED" in attempt["failure"]
    master.kill()
    master.wait()


def test_a_job_that_slurm_refuses_fails_its_run_in_one_line(cluster):
    cluster.checkout.write(study())
    cluster.site(queue="nowhere")
    assert cluster.finish() == 1
    record = cluster.record()
    assert (record["state"], record["failure_class"]) == ("failed", "config")
    assert record["failure"] == (
        "sbatch: error: invalid partition specified: nowhere; Batch job submission failed: "
        "Invalid partition name specified"
    )
    assert (cluster.folder / "results/tiny/report/index.html").exists()


def test_ends_of_jobs_are_told_in_slurms_words(slurm, monkeypatch):
    monkeypatch.setattr("os.environ", slurm.environment())
    executor = SlurmExecutor.__new__(SlurmExecutor)
    node = slurm.submit("sleep 600", "--no-requeue", "--nodelist=node02")
    stays = slurm.submit("sleep 600", "--nodelist=node01")
    # not on the node that goes down: Slurm would begin them again two minutes later
    good, bad = slurm.submit("true", "--nodelist=node01"), slurm.submit("false", "--nodelist=node01")
    cancelled = slurm.submit("true", "--hold")
    slurm.wait_for(node, "RUNNING")
    slurm.ask("scontrol", "update", "NodeName=node02", "State=DOWN", "Reason=test")
    slurm.ask("scancel", cancelled)
    for job, state in {node: "NODE_FAIL", good: "COMPLETED", bad: "FAILED", stays: "RUNNING"}.items():
        slurm.wait_for(job, state)
    executor._told, executor._waiting, executor._unreached = set(), Waiting(), Waiting()
    ends = executor.outcomes([node, stays, good, bad, cancelled, "999999"])
    assert ends == {node: "NODE_FAIL", stays: "alive", good: "done", bad: "FAILED", cancelled: "CANCELLED"}
    assert executor.end_of(None, "NODE_FAIL") == End("NODE_FAIL")
    assert executor.end_of(None, "FAILED") == End()
    assert executor.outcomes(["999999"]) == {}
    slurm.stop_controller()
    try:
        with pytest.raises(SchedulerSilentError, match=r"squeue: .*Unable to contact slurm controller"):
            executor.outcomes([stays])
    finally:
        slurm.start_controller()
    assert executor.outcomes([stays]) == {stays: "alive"}
    slurm.cancel_all()


def test_a_run_that_was_lost_on_a_node_goes_on_on_another_one(cluster):
    cluster.checkout.write(study(epochs=30))
    cluster.site(placement=SINGLE)
    master = cluster.start(TABLE)
    cluster.wait_for("an epoch", cluster.trains)
    attempt = read_json(cluster.state().attempt)
    os.kill(attempt["pid"], signal.SIGKILL)
    assert master.wait(PATIENCE_SEC) == 0, cluster.log()
    first, second = cluster.attempts()
    assert (first["state"], first["failure_class"], first["lost_host"]) == ("killed", "node", attempt["node"])
    assert second["node"] != first["node"]
    facts = cluster.slurm.ask("scontrol", "show", "job", second["job_id"])
    assert f"ExcNodeList={first['node']}" in facts


def test_nodes_are_excluded_where_there_are_others_and_not_for_ever(slurm, monkeypatch):
    monkeypatch.setattr("os.environ", slurm.environment())
    executor = SlurmExecutor.__new__(SlurmExecutor)
    executor.site = Site.model_validate(
        {"scheduler": "slurm", "launcher": "srun", "node": {"cores": 1}, "walltime": [{"up_to_nodes": 2, "minutes": 5}]}
    )
    run = SimpleNamespace(where=Where(1, 1), lost_hosts=lambda: ["node01", "node02"])
    assert (nodes_of_partition(None), nodes_of_partition("main"), nodes_of_partition("none")) == (2, 2, 0)
    assert executor.hosts_to_avoid(run) == ["node02"]
    run.where = Where(2, 1)
    assert executor.hosts_to_avoid(run) == []
    with pytest.raises(SlurmError, match="Requested node configuration is not available"):
        slurm.submit("true", "--nodes=2", "--exclude=node02")
    slurm.wait_for(slurm.submit("sleep 600", "--nodelist=node01", "--exclusive"), "RUNNING")
    job = slurm.submit("true", "--exclude=node02")
    assert slurm.wait_for(job, "PENDING") == "PENDING"
    slurm.ask(*lifting_words(job))
    assert slurm.wait_for(job, "COMPLETED") == "COMPLETED"
    slurm.cancel_all()


def test_a_job_is_found_by_its_log_though_sbatch_did_not_hear_of_it(slurm, monkeypatch, tmp_path):
    monkeypatch.setattr("os.environ", slurm.environment())
    executor = SlurmExecutor.__new__(SlurmExecutor)
    logs = [str(tmp_path / f"run/{number}.log") for number in (12, 1)]
    job = slurm.submit("true", "--comment=warmscale-run-12")
    assert [executor.submitted_as(None, log) for log in logs] == [job, None]
    slurm.wait_for(job, "COMPLETED")
    assert executor.submitted_as(None, logs[0]) == job
    slurm.stop_controller()
    try:
        with pytest.raises(SchedulerSilentError, match="Unable to contact slurm controller"):
            executor.submitted_as(None, logs[0])
    finally:
        slurm.start_controller()


def test_a_job_is_over_when_its_command_is_and_a_request_to_stop_becomes_a_file(tmp_path):
    stop = tmp_path / "a folder/stop"
    stop.parent.mkdir()
    command = "touch 'began' && sleep 1; exit 3"
    shell = subprocess.Popen(["sh", "-c", batch_script(command, stop)], cwd=tmp_path)
    give_up = time.monotonic() + 30
    while not (tmp_path / "began").exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    shell.send_signal(signal.SIGTERM)
    assert shell.wait(30) == 3
    assert stop.exists()


def test_reasons_that_do_not_pass_are_found_among_those_that_do():
    answer = "1 PENDING PartitionTimeLimit\n2 RUNNING None\n3 PENDING Priority\n4 PENDING AssocGrpCpuLimit\n"
    held = "5 PENDING (launch failed requeued held)\n6 PENDING PartitionTimeLimit\n7 COMPLETED PartitionTimeLimit\n"
    assert stuck_in(answer + held) == {
        "PartitionTimeLimit": ["1", "6"],
        "(launch failed requeued held)": ["5"],
    }
