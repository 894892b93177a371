"""`snakemake --profile lsf` on a double of LSF, disturbed as clusters disturb."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lsf_double.cluster import Cluster
from warmscale.records import TIMING_COLUMNS, StateFolder, read_json, read_lines, read_rows

from .conftest import Checkout, make_checkout

PATIENCE_SEC = 240
ONE_RUN = {"name": "warmup", "grid": {"warmup_epochs": [1]}, "figures": ["curves"]}


class LsfCheckout:
    """A checkout beside a cluster, with one slot a host."""

    def __init__(self, checkout: Checkout, cluster: Cluster):
        self.checkout, self.cluster, self.folder = checkout, cluster, checkout.folder
        self.started: list[subprocess.Popen] = []
        self.site(node={"gpus": 0, "cores": 1}, placement={"max_nodes": 1})

    def site(self, **facts: Any) -> None:
        """Edit the one file of site facts."""
        path = self.folder / "profiles/lsf/site.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | facts))

    def start(self, *words: str) -> subprocess.Popen:
        """Start `snakemake --profile lsf`; what it says is appended to master.log."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with (self.folder / "master.log").open("a") as log:
            master = subprocess.Popen(
                ["snakemake", "--profile", "lsf", *words],
                cwd=self.folder,
                env=self.cluster.environment({**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.started.append(master)
        return master

    def end(self) -> None:
        """End what a test that failed left behind."""
        for master in self.started:
            master.kill()
            master.wait()

    def finish(self, *words: str) -> int:
        """Run it to its end, and return the exit code."""
        return self.start(*words).wait(PATIENCE_SEC)

    def log(self) -> str:
        """All that masters said so far."""
        return (self.folder / "master.log").read_text()

    def run_log(self) -> str:
        """What the parents of all runs said so far."""
        return "".join(path.read_text() for path in (self.folder / "results/tiny/logs/train").glob("*.log"))

    def states(self) -> list[StateFolder]:
        """State folders of all runs so far."""
        return [StateFolder(path) for path in sorted((self.folder / "results/tiny/state").glob("*"))]

    def wait_for(self, what: str, condition: Callable[[], Any]) -> Any:
        """What the condition returns once it is true."""
        give_up = time.monotonic() + PATIENCE_SEC
        while not (found := condition()):
            assert time.monotonic() < give_up, f"no {what}\n{self.log()}"
            time.sleep(0.05)
        return found

    def running(self) -> list[dict[str, Any]]:
        """Attempts that go on: those whose parent lives."""
        attempts = [attempt for state in self.states() if (attempt := read_json(state.attempt))]
        return [attempt for attempt in attempts if Path(f"/proc/{attempt['pid']}").exists()]

    def attempts(self) -> dict[str, list[dict[str, Any]]]:
        """{run id: its attempts that ended}."""
        return {state.path.name: read_lines(state.attempts) for state in self.states()}


def rows(folder: Path) -> list[dict[str, str]]:
    """The table of epochs without what is measured in seconds or bytes."""
    table = read_rows(folder / "results/tiny/tables/epochs.csv")
    assert table
    return [{name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in table]


@pytest.fixture
def lsf(checkout: Checkout, tmp_path: Path) -> Iterator[LsfCheckout]:
    """A checkout beside a cluster of two hosts."""
    with Cluster(tmp_path / "cluster", hosts=2, slots_per_host=1, kill_interval_sec=1.0) as cluster:
        made = LsfCheckout(checkout, cluster)
        yield made
        made.end()


def test_a_study_survives_what_clusters_do(lsf, finished_as_on_lsf, tiny):
    """Three walltimes a run, a SIGKILL, a bsub that fails, a bjobs that is down, a master that is killed."""
    lsf.checkout.write(tiny(recipe={"mini_batch_size": 640}))
    lsf.site(walltime=[{"up_to_nodes": 1, "minutes": 60}], margin_sec=3599)  # each job makes one of four steps
    lsf.cluster.fail_next("bsub", message="LSF is down. Please wait ...")
    lsf.cluster.outage("bjobs")
    master = lsf.start()
    os.kill(lsf.wait_for("attempt", lsf.running)[0]["pid"], signal.SIGKILL)
    lsf.wait_for("outage noticed", lambda: "asked after until it answers" in lsf.log())
    lsf.cluster.recover("bjobs")
    lsf.wait_for("a second round", lambda: lsf.log().count("submitted as") > 3)
    job = int(lsf.wait_for("attempt", lsf.running)[0]["job_id"])
    lsf.cluster.set_state(job, "SSUSP")  # for as long as the master is away
    master.kill()
    master.wait()
    master = lsf.start()
    lsf.wait_for("adoption", lambda: f"job {job} of an earlier call still lives, and is adopted" in lsf.log())
    lsf.cluster.set_state(job, None)
    assert master.wait(PATIENCE_SEC) == 0, lsf.log()

    assert rows(lsf.folder) == rows(finished_as_on_lsf.folder)
    attempts = lsf.attempts()
    for of_run in attempts.values():
        pauses = [attempt for attempt in of_run if attempt["state"] == "paused"]
        assert [(attempt["failure_class"], attempt["steps_done"]) for attempt in pauses] == [
            ("walltime", 1),
            ("walltime", 2),
            ("walltime", 3),
        ]
        assert of_run[-1]["state"] == "finished"
    assert [attempt["state"] for of_run in attempts.values() for attempt in of_run].count("killed") == 1
    assert_no_run_was_trained_twice_at_a_time(lsf)


def assert_no_run_was_trained_twice_at_a_time(lsf: LsfCheckout) -> None:
    spans: dict[str, list[tuple[float, float]]] = {}
    for job in lsf.cluster.jobs():
        spans.setdefault(job.name, []).append((job.started, job.ended))
    for of_run in spans.values():
        ordered = sorted(of_run)
        assert all(ended <= started for (_, ended), (started, _) in itertools.pairwise(ordered))


@pytest.fixture
def finished_as_on_lsf(tmp_path, tiny) -> Checkout:
    """The same study, undisturbed, on this machine."""
    made = make_checkout(tmp_path / "undisturbed")
    made.write(tiny(recipe={"mini_batch_size": 640}))
    done = made.snakemake()
    assert done.returncode == 0, done.stdout
    return made


def test_a_second_copy_leaves_a_live_run_alone_and_its_rows_are_complete(lsf, tiny):
    """The master dies, and its job is not remembered: the next master submits a copy of the run in mid-epoch."""
    lsf.checkout.write(tiny(recipe={"mini_batch_size": 640, "epochs": 40}, experiments=[ONE_RUN]))
    master = lsf.start()
    state = lsf.wait_for("rows", lambda: next((state for state in lsf.states() if state.epochs.exists()), None))
    master.kill()
    master.wait()
    state.job.unlink()
    first = read_json(state.attempt)
    second = lsf.start()
    lsf.wait_for("a duplicate", lambda: "duplicate" in lsf.run_log())
    assert read_json(state.attempt) == first
    assert second.wait(PATIENCE_SEC) == 0, lsf.log()
    (attempts,) = lsf.attempts().values()
    assert [attempt["state"] for attempt in attempts] == ["finished"]
    epochs = read_rows(lsf.folder / "results/tiny/tables/epochs.csv")
    assert [int(row["epoch"]) for row in epochs] == list(range(1, 41))


def test_states_that_recover_neither_end_nor_copy_a_job(lsf, tiny):
    lsf.checkout.write(tiny(recipe={"mini_batch_size": 640, "epochs": 20}, experiments=[ONE_RUN]))
    master = lsf.start()
    lsf.wait_for("attempt", lsf.running)
    (job,) = lsf.cluster.jobs()
    for state in ("SSUSP", "USUSP", "UNKWN"):  # the last one's processes run on
        lsf.cluster.set_state(job.id, state)
        polls = len(lsf.cluster.calls("bjobs"))
        lsf.wait_for("two polls", lambda seen=polls + 2: len(lsf.cluster.calls("bjobs")) >= seen)
        lsf.cluster.set_state(job.id, None)
    assert master.wait(PATIENCE_SEC) == 0, lsf.log()
    assert [job.state for job in lsf.cluster.jobs()] == ["DONE"]


def test_a_job_in_which_nothing_of_ours_begins_fails_its_run_after_two_attempts(lsf, tiny):
    """And the report is written all the same, names the cause, and the next call tries again."""
    lsf.checkout.write(tiny(experiments=[ONE_RUN]))
    lsf.site(python="/no/such/python")
    assert lsf.finish() == 1
    record = read_json(next((lsf.folder / "results/tiny/runs").glob("*/run.json")))
    assert (record["state"], len(record["attempts"])) == ("failed", 2)
    assert "/no/such/python" in lsf.log()
    assert "/no/such/python" in (lsf.folder / "results/tiny/report/index.html").read_text()
    lsf.site(python=None)
    assert lsf.finish() == 0, lsf.log()


def test_a_job_that_lsf_refuses_fails_its_run_alone(lsf, tiny):
    lsf.checkout.write(tiny(experiments=[ONE_RUN]))
    lsf.site(queue="nowhere")
    assert lsf.finish() == 1
    record = read_json(next((lsf.folder / "results/tiny/runs").glob("*/run.json")))
    assert (record["state"], record["failure_class"]) == ("failed", "config")
    assert "bsub: nowhere: No such queue" in record["failure"]
    assert (lsf.folder / "results/tiny/report/index.html").exists()


def test_a_second_live_master_is_refused_in_one_line(lsf, tiny):
    lsf.checkout.write(tiny(experiments=[ONE_RUN]))
    lsf.cluster.outage("bjobs")
    master = lsf.start()
    lsf.wait_for("attempt", lsf.running)
    second = lsf.checkout.snakemake()
    assert second.returncode == 1
    assert f"results/tiny: another Snakemake works on this study, held by process {master.pid}" in second.stdout
    lsf.cluster.recover("bjobs")
    assert master.wait(PATIENCE_SEC) == 0, lsf.log()


def test_two_hosts_train_what_two_ranks_of_one_host_do(lsf, tmp_path, tiny):
    """Blaunch and torchrun on two hosts: the run id is the same, and so is every bit."""
    lsf.checkout.write(tiny(experiments=[ONE_RUN]))
    lsf.site(placement={"max_nodes": 2})
    assert lsf.finish() == 0, lsf.log()
    (job,) = lsf.cluster.jobs()
    assert job.hosts == ("127.0.0.1", "127.0.0.2")
    here = make_checkout(tmp_path / "here")
    here.write(tiny(experiments=[ONE_RUN], placement={"ranks_per_node": 2}))
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    assert rows(lsf.folder) == rows(here.folder)
