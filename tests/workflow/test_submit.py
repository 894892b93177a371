"""`warmscale submit` on a double of LSF: Snakemake itself in batch jobs, each of which submits the next."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lsf_double.cluster import Cluster
from tests.lsf_double.job import Job
from tests.slurm.conftest import slurm as slurm_of_session
from warmscale.records import read_json

from .conftest import Checkout
from .test_lsf import LsfCheckout

HOUR = {"up_to_nodes": 1, "minutes": 60}
SHORT = {"walltime_min": 60, "margin_sec": 3600 - 10}
"""A job that reads this hands over after ten seconds."""


class SubmitCheckout(LsfCheckout):
    """A study of one run, whose master is a job."""

    def submit(self) -> subprocess.CompletedProcess:
        """Type `warmscale submit`."""
        folder = "lsf" if (self.folder / "lsf").exists() else "profiles/slurm"
        return subprocess.run(
            [str(Path(sys.executable).with_name("warmscale")), "submit", "--profile", folder],
            cwd=self.folder,
            env=self.cluster.environment() | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def log(self) -> str:
        """Of all master jobs so far."""
        path = self.folder / "results/tiny/logs/master.log"
        return path.read_text() if path.exists() else ""

    def masters(self) -> list[Job]:
        """All jobs in which Snakemake ran."""
        return [job for job in self.cluster.jobs() if job.name == "tiny:master"]

    def trainings(self) -> list[Job]:
        """All jobs of runs."""
        return [job for job in self.cluster.jobs() if job.name != "tiny:master"]


@pytest.fixture
def lsf(checkout: Checkout, tmp_path: Path, tiny) -> Iterator[SubmitCheckout]:
    """A cluster of two hosts with one slot each: one for Snakemake, one for the run."""
    checkout.write(study_of_one_run(tiny))
    with Cluster(tmp_path / "cluster", hosts=2, slots_per_host=1, kill_interval_sec=10.0) as cluster:
        yield SubmitCheckout(checkout, cluster)


def study_of_one_run(tiny) -> dict:
    """It takes half a minute."""
    experiments = [{"name": "one", "grid": {"warmup_epochs": [1]}, "figures": ["curves"]}]
    return tiny(recipe={"epochs": 60, "decay": {"epochs": [30]}}, experiments=experiments)


def test_a_study_outlives_the_walltime_of_its_master(lsf):
    lsf.site(master=SHORT)
    first = lsf.submit()
    assert first.returncode == 0, first.stderr
    job_id = lsf.masters()[0].id
    assert "results/tiny/logs/master.log" in first.stdout and f"bkill {job_id} " in first.stdout
    second = lsf.submit()
    assert second.returncode == 1
    assert second.stderr == (
        f"warmscale: results/tiny: job {job_id} is its master already (log: results/tiny/logs/master.log); "
        f"`bkill {job_id}` ends it\n"
    )
    lsf.wait_for("adoption", lambda: "is adopted" in lsf.log())
    lsf.site(master={"walltime_min": 60})
    lsf.wait_for("end", lambda: all(job.finished for job in lsf.masters()))

    assert "Snakemake has ended with exit code 0; no successor" in lsf.log()
    assert "results/tiny: 1 run: 1 finished" in lsf.log()
    assert (lsf.folder / "results/tiny/report/index.html").exists()
    assert len(lsf.masters()) >= 2 and {job.state for job in lsf.masters()} == {"DONE"}
    assert len(lsf.trainings()) == 1
    assert [attempt["state"] for [*of_run] in lsf.attempts().values() for attempt in of_run] == ["finished"]
    assert read_json(lsf.folder / "results/tiny/master.json")["job_id"] == str(lsf.masters()[-1].id)


def test_ending_the_master_ends_the_study_and_the_next_one_goes_on(lsf):
    assert lsf.submit().returncode == 0
    lsf.wait_for("attempt", lsf.running)
    lsf.cluster.run("bkill", str(lsf.masters()[0].id))
    lsf.wait_for("end", lambda: all(job.finished for job in lsf.cluster.jobs()))
    assert len(lsf.masters()) == len(lsf.trainings()) == 1
    [[attempt]] = lsf.attempts().values()
    assert (attempt["state"], attempt["failure_class"]) == ("paused", None)
    assert "is asked to end" in lsf.log() and "`warmscale submit --profile lsf` goes on" in lsf.log()
    assert lsf.submit().returncode == 0


def test_a_master_that_is_ended_before_it_has_adopted_a_job_ends_it_all_the_same(lsf):
    assert lsf.submit().returncode == 0
    lsf.wait_for("attempt", lsf.running)
    lsf.cluster.run("bkill", "-s", "KILL", str(lsf.masters()[0].id))  # as a host that fails, but for LSF's requeueing
    lsf.wait_for("end of the master", lambda: lsf.masters()[0].finished)
    assert not lsf.trainings()[0].finished
    assert lsf.submit().returncode == 0
    second = lsf.masters()[1].id
    lsf.wait_for("second master", lambda: f"master job {second}: runs" in lsf.log())
    lsf.cluster.run("bkill", str(second))
    lsf.wait_for("end", lambda: all(job.finished for job in lsf.cluster.jobs()))
    assert "is adopted" not in lsf.log()
    assert len(lsf.trainings()) == 1
    [[attempt]] = lsf.attempts().values()
    assert attempt["state"] == "paused"


slurm = slurm_of_session
"""Its fixture: one cluster a test process."""


class SlurmCheckout(SubmitCheckout):
    """The same beside a real Slurm."""

    def site(self, **facts: Any) -> None:
        """Edit the one file of site facts."""
        (self.folder / "lsf").unlink(missing_ok=True)
        path = self.folder / "profiles/slurm/site.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"walltime": [HOUR]} | facts))


def test_on_slurm_it_goes_on_and_ends_in_the_same_way(checkout, tiny, slurm):
    checkout.write(study_of_one_run(tiny))
    made = SlurmCheckout(checkout, slurm)
    made.site(node={"gpus": 0, "cores": 1}, placement={"max_nodes": 1}, master=SHORT)
    done = made.submit()
    assert done.returncode == 0, done.stderr
    made.wait_for("adoption", lambda: "is adopted" in made.log())
    assert "is its master already" in made.submit().stderr
    master = read_json(checkout.folder / "results/tiny/master.json")["job_id"]
    slurm.run("scancel", master)
    slurm.wait(lambda: slurm.ask("squeue", "--noheader") == "", "the end of all jobs")
    [state] = made.states()  # here Slurm kills five seconds later, when the run has saved, and perhaps not told yet
    assert "paused at step" in state.log(0).read_text() and not state.outcome.exists()
    assert f"job {read_json(state.job)['job_id']} of an earlier call still lives" in made.log()
    assert "SLURM job context" not in made.log()
