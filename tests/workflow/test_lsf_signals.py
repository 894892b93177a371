"""Signals of LSF to the job of a run: everything in it hears them, and it saves, and the next job goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lsf_double.cluster import Cluster
from tests.lsf_double.job import Job
from warmscale.records import StateFolder, read_json, read_rows

from .conftest import Checkout
from .test_lsf import ONE_RUN, LsfCheckout

LONG = {"mini_batch_size": 640, "epochs": 40}


@pytest.fixture
def lsf(checkout: Checkout, tmp_path: Path) -> Iterator[LsfCheckout]:
    """A checkout beside a cluster of two hosts, which like LSF leaves a job time between its limit and its end."""
    folder = tmp_path / "cluster"
    with Cluster(folder, hosts=2, slots_per_host=1, grace_sec=60.0, kill_interval_sec=5.0) as cluster:
        made = LsfCheckout(checkout, cluster)
        yield made
        made.end()


def job_in_mid_run(lsf: LsfCheckout, number: int) -> Job:
    """The number-th job of the only run, once it has added an epoch."""
    before = [0]

    def adds_epochs() -> Job | None:
        assert lsf.started[-1].poll() is None, lsf.log()
        jobs, states = lsf.cluster.jobs(), lsf.states()
        if len(jobs) < number or jobs[number - 1].true_state != "RUN" or not states:
            return None
        going_on = read_json(states[0].attempt) or {}
        before[:] = before if before[0] else [len(read_rows(states[0].epochs)) or 1] if going_on else [0]
        has_job = going_on.get("job_id") == str(jobs[number - 1].id)
        return jobs[number - 1] if has_job and len(read_rows(states[0].epochs)) > before[0] else None

    return lsf.wait_for(f"epoch of job {number}", adds_epochs)


def only(lsf: LsfCheckout) -> tuple[StateFolder, list[dict[str, Any]]]:
    """State folder and attempts of the only run."""
    ((_, attempts),) = lsf.attempts().items()
    return lsf.states()[0], attempts


def test_sigusr2_to_a_job_of_two_hosts_pauses_its_run_and_the_next_job_goes_on(lsf, tiny):
    """It reaches the shell, Snakemake, torchrun and the ranks: only these act on it."""
    lsf.checkout.write(tiny(recipe=LONG, experiments=[ONE_RUN]))
    lsf.site(placement={"max_nodes": 2})
    master = lsf.start()
    job = job_in_mid_run(lsf, 1)
    assert job.hosts == ("127.0.0.1", "127.0.0.2")
    assert lsf.cluster.run("bkill", "-s", "USR2", str(job.id)).returncode == 0
    assert master.wait(240) == 0, lsf.log()
    first, second = lsf.cluster.jobs()
    assert (first.true_state, first.exit_code, second.true_state) == ("EXIT", 1, "DONE")  # not 128 and a signal
    state, (paused, finished) = only(lsf)
    assert (paused["state"], paused["failure"], finished["state"]) == ("paused", None, "finished")
    assert 0 < paused["steps_done"] == finished["steps_before"] < finished["steps_done"]
    assert "Traceback" not in state.log(0).read_text() + state.log(1).read_text()
    epochs = read_rows(lsf.folder / "results/tiny/tables/epochs.csv")
    assert [int(row["epoch"]) for row in epochs] == list(range(1, LONG["epochs"] + 1))


def test_a_run_that_lsf_ends_at_its_run_limit_twice_saves_each_time_and_is_not_given_up(lsf, tiny):
    """Each time earlier than was asked for, so that the run's own clock does not see it come."""
    lsf.checkout.write(tiny(recipe=LONG, experiments=[ONE_RUN]))
    master = lsf.start()
    for number in (1, 2):
        job = job_in_mid_run(lsf, number)
        lsf.cluster.store.update(job.id, request=replace(job.request, run_limit_min=0.01))
        over = lsf.cluster.wait(job.id, timeout_sec=60)
        assert (over.reason, over.exit_code) == ("TERM_RUNLIMIT", 1)
    assert master.wait(240) == 0, lsf.log()
    _, attempts = only(lsf)
    paused = [attempt for attempt in attempts if attempt["state"] == "paused"]
    assert [attempt["job_id"] for attempt in paused] == [str(job.id) for job in lsf.cluster.jobs()[:2]]
    assert all(attempt["steps_before"] < attempt["steps_done"] for attempt in paused)
    assert attempts[-1]["state"] == "finished"
    epochs = read_rows(lsf.folder / "results/tiny/tables/epochs.csv")
    assert [int(row["epoch"]) for row in epochs] == list(range(1, LONG["epochs"] + 1))
