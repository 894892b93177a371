"""A plan carried out by `snakemake --profile lsf` on a double of LSF."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lsf_double.cluster import Cluster

from .conftest import Checkout
from .test_lsf import ONE_RUN, LsfCheckout


@pytest.fixture
def one_host(checkout: Checkout, tmp_path: Path) -> Iterator[LsfCheckout]:
    """A checkout beside a cluster that runs one job at a time."""
    with Cluster(tmp_path / "cluster", hosts=1, slots_per_host=1, kill_interval_sec=1.0) as cluster:
        made = LsfCheckout(checkout, cluster)
        yield made
        made.end()


def test_jobs_ask_for_the_planned_walltime_and_are_submitted_by_priority(one_host, tiny):
    one_host.checkout.write(tiny(seeds=3, experiments=[ONE_RUN], planning={"required": [{"seed": 3}]}))
    assert one_host.finish("plan") == 0, one_host.log()
    assert one_host.cluster.jobs() == []
    with (one_host.folder / "results/tiny/plan/plan.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: -int(row["priority"]))
    assert [row["decision"] for row in rows] == ["required", "planned", "planned"]
    assert one_host.finish() == 0, one_host.log()
    jobs = sorted(one_host.cluster.jobs(), key=lambda job: job.started)
    assert [job.name for job in jobs] == [f"tiny:{row['run_id']}" for row in rows]
    assert [job.request.run_limit_min for job in jobs] == [int(row["walltime_min"]) for row in rows]
    assert all(minutes < 720 for minutes in (job.request.run_limit_min for job in jobs))
