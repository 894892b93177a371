"""What the project relies on in Slurm, asked of a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import cluster
from .cluster import NODES, SlurmCluster, SlurmError, missing

WAITER = """\
trap "echo $1 $SLURM_PROCID got USR2" USR2
echo $1 $SLURM_PROCID ready
while :; do sleep 0.1; done
"""
"""Lines of bash that report a signal and go on; `source` makes the batch shell itself wait."""
TASKS_GOT_IT = ["task 0 got USR2", "task 1 got USR2"]
BATCH_GOT_IT = ["batch 0 got USR2"]


@pytest.fixture(autouse=True)
def nothing_left(slurm: SlurmCluster) -> Iterator[None]:
    """The next test finds idle nodes, whatever happened in this one."""
    yield
    slurm.cancel_all()


def submit_waiters(slurm: SlurmCluster, folder: Path, *options: str) -> str:
    """Submit a job of a batch shell and two tasks that all wait for signals."""
    waiter = folder / "waiter.sh"
    waiter.write_text(WAITER)
    return slurm.submit(f"srun --ntasks=2 bash {waiter} task &\nsource {waiter} batch", "--ntasks=2", *options)


def heard(slurm: SlurmCluster, job: str, word: str = "got") -> list[str]:
    """Sorted lines of a job's output that contain the word."""
    return sorted(line for line in slurm.output(job).splitlines() if word in line)


def wait_to_hear(slurm: SlurmCluster, job: str, lines: int, word: str = "got") -> list[str]:
    """Wait until a job printed that many lines with the word."""
    slurm.wait(lambda: len(heard(slurm, job, word)) >= lines, f"{lines} x `{word}` of job {job}")
    return heard(slurm, job, word)


def test_a_job_runs_and_its_end_is_known(slurm: SlurmCluster) -> None:
    good, bad = slurm.submit("echo from $SLURMD_NODENAME"), slurm.submit("exit 3")
    assert slurm.wait_for(good, "COMPLETED", "FAILED") == "COMPLETED"
    assert slurm.output(good).split()[1] in NODES
    assert slurm.wait_for(bad, "COMPLETED", "FAILED") == "FAILED"
    assert "ExitCode=3:0" in slurm.ask("scontrol", "show", "job", bad)


@pytest.mark.parametrize(
    ("nodes", "tasks"),
    [(2, ["0 2 0 node01", "1 2 0 node02"]), (1, ["0 2 0 node01", "1 2 1 node01"])],
)
def test_srun_numbers_its_tasks(slurm: SlurmCluster, nodes: int, tasks: list[str]) -> None:
    line = "$SLURM_PROCID $SLURM_NTASKS $SLURM_LOCALID $SLURMD_NODENAME"
    job = slurm.submit(f"srun bash -c 'echo {line}'", "--ntasks=2", f"--nodes={nodes}")
    slurm.wait_for(job, "COMPLETED")
    assert sorted(slurm.output(job).splitlines()) == tasks


def test_a_batch_shell_looks_like_rank_0_but_for_the_step(slurm: SlurmCluster) -> None:
    line = "echo $SLURM_PROCID $SLURM_NTASKS ${SLURM_STEP_ID-none}"
    job = slurm.submit(f"{line}\nsrun bash -c '{line}'", "--ntasks=1")
    slurm.wait_for(job, "COMPLETED")
    assert slurm.output(job).splitlines() == ["0 1 none", "0 1 0"]


def test_scancel_signals_the_tasks_or_the_batch_shell(slurm: SlurmCluster, tmp_path: Path) -> None:
    job = submit_waiters(slurm, tmp_path)
    wait_to_hear(slurm, job, 3, "ready")
    slurm.ask("scancel", "--signal=USR2", job)
    assert wait_to_hear(slurm, job, 2) == TASKS_GOT_IT
    slurm.ask("scancel", "--batch", "--signal=USR2", job)
    assert wait_to_hear(slurm, job, 3) == BATCH_GOT_IT + TASKS_GOT_IT
    slurm.ask("scancel", job)
    assert slurm.wait_for(job, "CANCELLED") == "CANCELLED"


def test_the_time_limit_is_announced_to_whom_was_asked_for(slurm: SlurmCluster, tmp_path: Path) -> None:
    # limits are whole minutes; an end time is not, and slurmctld looks at it every 30 s
    batch = submit_waiters(slurm, tmp_path, "--overcommit", "--nodes=1", "--signal=B:USR2@60")
    tasks = submit_waiters(slurm, tmp_path, "--overcommit", "--nodes=1", "--signal=USR2@60")
    late = slurm.submit("sleep 600", "--ntasks=1")
    for job, seconds in ((batch, 50), (tasks, 50), (late, 1)):
        slurm.wait_for(job, "RUNNING")
        slurm.ask("scontrol", "update", f"JobId={job}", f"EndTime=now+{seconds}")
    assert wait_to_hear(slurm, batch, 1) == BATCH_GOT_IT
    assert wait_to_hear(slurm, tasks, 2) == TASKS_GOT_IT
    assert slurm.wait_for(late, "TIMEOUT") == "TIMEOUT"


def test_a_preempted_job_is_requeued_and_starts_again(slurm: SlurmCluster) -> None:
    victim = slurm.submit("echo start ${SLURM_RESTART_COUNT-first}; sleep 600", "--nodes=2", "--exclusive")
    slurm.wait(lambda: "start first" in slurm.output(victim), "the first start")
    urgent = slurm.submit("true", "--nodes=2", "--exclusive", "--partition=urgent")
    slurm.wait_for(urgent, "COMPLETED")
    assert slurm.wait_for(victim, "PENDING") == "PENDING"
    # a requeued job has to wait for two minutes
    slurm.ask("scontrol", "update", f"JobId={victim}", "StartTime=now")
    slurm.wait(lambda: "start 1" in slurm.output(victim), "the second start")


def test_a_job_that_no_partition_can_run_is_refused(slurm: SlurmCluster) -> None:
    with pytest.raises(SlurmError, match="Requested time limit is invalid"):
        slurm.submit("true", "--time=61")
    with pytest.raises(SlurmError, match="invalid partition specified: nowhere"):
        slurm.submit("true", "--partition=nowhere")


def test_jobs_outlive_the_controller(slurm: SlurmCluster) -> None:
    job = slurm.submit("sleep 1; exit 3")
    slurm.wait_for(job, "RUNNING")
    slurm.stop_controller()
    assert slurm.run("scontrol", "ping").stdout.startswith("Slurmctld(primary)")
    slurm.start_controller()
    assert slurm.wait_for(job, "FAILED") == "FAILED"


def test_two_clusters_run_at_once(slurm: SlurmCluster) -> None:
    with SlurmCluster().start() as second:
        assert second.submit("true") == "1"
        assert second.wait_for("1", "COMPLETED") == "COMPLETED"
        daemons = list(second.daemons.values())
    assert all(daemon.poll() is not None for daemon in daemons)
    slurm.wait(lambda: slurm.idle_nodes() == set(NODES), "both nodes of the first")


def test_a_cluster_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = cluster.CONFIG.template.replace("select/cons_tres", "select/nothing")
    monkeypatch.setattr(cluster, "CONFIG", cluster.string.Template(wrong))
    with pytest.raises(SlurmError, match=r"(?s)slurmctld.* ended.*select/nothing"):
        SlurmCluster().start()


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATH", "/nowhere")
    assert str(missing()).startswith("Slurm's tests need munged, slurmctld, slurmd")
