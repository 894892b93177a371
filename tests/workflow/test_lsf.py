"""`snakemake --profile lsf` on a double of LSF, disturbed as clusters disturb."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
def lsf_of(checkout: Checkout, tmp_path: Path) -> Iterator[Callable[..., LsfCheckout]]:
    """Makes a checkout beside a cluster; settings are of the double."""
    with ExitStack() as open_until_the_end:

        def make(**settings: Any) -> LsfCheckout:
            cluster = Cluster(tmp_path / "cluster", slots_per_host=1, kill_interval_sec=1.0, **settings)
            made = LsfCheckout(checkout, open_until_the_end.enter_context(cluster))
            open_until_the_end.callback(made.end)
            return made

        yield make


@pytest.fixture
def lsf(lsf_of: Callable[..., LsfCheckout]) -> LsfCheckout:
    """A checkout beside a cluster of two hosts."""
    return lsf_of(hosts=2)


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


FOUR_STEPS = {"mini_batch_size": 640}
LONG = {"mini_batch_size": 640, "epochs": 40}


def avoided(words: list[str]) -> list[str]:
    """Hosts that a call of bsub keeps its job from."""
    return re.findall(r"hname!='([^']+)'", " ".join(words[:-1]))


def undisturbed(folder: Path, study: dict[str, Any]) -> list[dict[str, str]]:
    """Rows of the same study on this machine."""
    made = make_checkout(folder)
    made.write(study)
    done = made.snakemake()
    assert done.returncode == 0, done.stdout
    return rows(folder)


def test_a_run_whose_host_dies_goes_on_elsewhere(lsf, tiny, tmp_path):
    """The host is back at once: LSF itself would give it to the run again."""
    study = tiny(recipe=LONG, experiments=[ONE_RUN])
    lsf.checkout.write(study)
    master = lsf.start()
    state = lsf.wait_for("a checkpoint", lambda: next((one for one in lsf.states() if saved(one)), None))
    lsf.cluster.kill_host("127.0.0.1")
    assert master.wait(PATIENCE_SEC) == 0, lsf.log()
    first, second = lsf.cluster.jobs()
    assert (first.reason, first.hosts, second.hosts) == ("TERM_ZOMBIE", ("127.0.0.1",), ("127.0.0.2",))
    assert [avoided(words) for words in lsf.cluster.calls("bsub")] == [[], ["127.0.0.1"]]
    (attempts,) = lsf.attempts().values()
    assert [(one["state"], one["failure_class"], one.get("lost_host")) for one in attempts] == [
        ("killed", "node", "127.0.0.1"),
        ("finished", None, None),
    ]
    assert read_json(state.job)["ended_by"] == {str(first.id): "TERM_ZOMBIE"}
    assert rows(lsf.folder) == undisturbed(tmp_path / "here", study)


def saved(state: StateFolder) -> bool:
    """Whether a run would go on behind its beginning."""
    return (state.checkpoints / "latest.json").exists()


BAD_DISK = """
import errno, os, socket, sys
host = os.environ.get("LSF_DOUBLE_HOST")
if host:
    socket.gethostname = lambda: f"{host}"

    def refuse(event, arguments):
        if event == "open" and str(arguments[0]).endswith(".tsv") and host == "127.0.0.2":
            raise OSError(errno.EIO, os.strerror(errno.EIO), arguments[0])

    sys.addaudithook(refuse)
"""
"""Runs in each rank: hosts with names of their own, of which one cannot read."""


def test_the_host_of_the_rank_that_failed_is_avoided_and_not_the_first_of_the_job(lsf_of, tiny, tmp_path):
    lsf = lsf_of(hosts=3)
    lsf.checkout.write(tiny(experiments=[ONE_RUN]))
    processes = lsf.folder / "workflow/scripts/warmscale/training/processes.py"
    program = processes.read_text()
    processes.write_text(program.replace("LAUNCHER_GRACE_SEC = 60.0", "LAUNCHER_GRACE_SEC = 1.0"))
    assert processes.read_text() != program  # the other rank waits for the one that failed
    (tmp_path / "python").mkdir()
    (tmp_path / "python/sitecustomize.py").write_text(BAD_DISK)
    lsf.site(placement={"max_nodes": 2}, environment={"PYTHONPATH": str(tmp_path / "python")})
    assert lsf.finish() == 0, lsf.log()
    first, second = lsf.cluster.jobs()
    assert (first.hosts, second.hosts) == (("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "127.0.0.3"))
    assert [avoided(words) for words in lsf.cluster.calls("bsub")] == [[], ["127.0.0.2"]]
    (attempts,) = lsf.attempts().values()
    assert [(one["failure_class"], one["rank_host"], one["lost_host"]) for one in attempts] == [
        ("node", "127.0.0.2", "127.0.0.2"),
        (None, None, None),
    ]


def test_hosts_are_not_avoided_where_the_queue_has_no_other(lsf_of, tiny):
    lsf = lsf_of(hosts=2, queues={"normal": None, "one": None}, queue_hosts={"one": ["127.0.0.2"]})
    lsf.checkout.write(tiny(recipe=LONG, experiments=[ONE_RUN]))
    lsf.site(queue="one")
    master = lsf.start()
    lsf.wait_for("a checkpoint", lambda: any(saved(state) for state in lsf.states()))
    lsf.cluster.kill_host("127.0.0.2")
    assert master.wait(PATIENCE_SEC) == 0, lsf.log()
    assert [job.hosts for job in lsf.cluster.jobs()] == [("127.0.0.2",)] * 2
    assert [avoided(words) for words in lsf.cluster.calls("bsub")] == [[], []]


def test_a_master_that_is_killed_before_it_hears_of_its_job_has_it_adopted(lsf, tiny):
    """Bsub submits, and does not come back."""
    lsf.checkout.write(tiny(recipe=FOUR_STEPS, experiments=[ONE_RUN]))
    lsf.cluster.lose_answers("bsub", after_sec=30)
    master = lsf.start()
    (job,) = lsf.wait_for("job", lsf.cluster.jobs)
    assert lsf.states()[0].path.joinpath("submission.json").exists()
    master.kill()
    master.wait()
    assert not lsf.states()[0].job.exists()
    lsf.cluster.set_state(lsf.cluster.wait(job.id, "RUN").id, "SSUSP")  # it lives when the next master looks
    master = lsf.start()
    lsf.wait_for("adoption", lambda: f"job {job.id} of an earlier call still lives, and is adopted" in lsf.log())
    lsf.cluster.set_state(job.id, None)
    assert master.wait(PATIENCE_SEC) == 0, lsf.log()
    assert [one.state for one in lsf.cluster.jobs()] == ["DONE"]
    assert not lsf.states()[0].path.joinpath("submission.json").exists()


def test_a_job_whose_answer_is_lost_is_found_and_not_submitted_again(lsf, tiny):
    lsf.checkout.write(tiny(recipe=FOUR_STEPS, experiments=[ONE_RUN]))
    lsf.cluster.lose_answers("bsub")
    assert lsf.finish() == 0, lsf.log()
    assert "Communication time out" in lsf.log()
    assert len(lsf.cluster.calls("bsub")) == len(lsf.cluster.jobs()) == 1


def test_lsf_itself_runs_jobs_again_whose_time_is_up_or_whose_host_dies(lsf, tiny, tmp_path):
    """With -Q 75 and -r: one job of Snakemake's, of four walltimes and a lost host, and the same bits."""
    study = tiny(recipe=FOUR_STEPS, experiments=[ONE_RUN])
    lsf.checkout.write(study)
    lsf.site(walltime=[{"up_to_nodes": 1, "minutes": 60}], margin_sec=3599, extra=["-Q", "75", "-r"])
    master = lsf.start()
    lsf.wait_for("second attempt", lambda: any(one["number"] == 2 for one in lsf.running()))
    (job,) = lsf.cluster.jobs()
    lsf.cluster.kill_host(job.hosts[0])
    assert master.wait(PATIENCE_SEC) == 0, lsf.log()
    (job,) = lsf.cluster.jobs()
    (attempts,) = lsf.attempts().values()
    assert {one["job_id"] for one in attempts} == {str(job.id)}
    assert [one["state"] for one in attempts] == ["paused", "killed", "paused", "paused", "finished"]
    assert {one["failure_class"] for one in attempts if one["state"] == "paused"} == {"walltime"}
    assert (job.state, job.times_run, lsf.log().count("submitted as")) == ("DONE", 5, 1)
    assert rows(lsf.folder) == undisturbed(tmp_path / "here", study)


def test_what_a_late_report_tells_is_waited_for(lsf_of, tiny):
    """An old bjobs says nothing of ends: that memory was exceeded stands in the report alone."""
    lsf = lsf_of(hosts=1, report_late_sec=15.0, fields_lacking=["exit_reason"])
    lsf.checkout.write(tiny(recipe=LONG, experiments=[ONE_RUN]))
    master = lsf.start()
    lsf.wait_for("a checkpoint", lambda: any(saved(state) for state in lsf.states()))
    (job,) = lsf.cluster.jobs()
    lsf.cluster.kill_job(job.id, "TERM_MEMLIMIT")
    assert master.wait(PATIENCE_SEC) == 1, lsf.log()
    record = read_json(next((lsf.folder / "results/tiny/runs").glob("*/run.json")))
    assert (record["state"], record["failure_class"]) == ("failed", "out_of_memory"), lsf.log()
