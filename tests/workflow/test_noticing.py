"""How soon a master notices what happened: a job that ended, a copy that is alive, a master on another host."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lsf_double.cluster import Cluster
from warmscale import lease
from warmscale.cluster import lasting
from warmscale.records import read_json, read_lines

from .conftest import Checkout
from .test_lsf import ONE_RUN, LsfCheckout

SOON_SEC = 30.0
"""Within which the master knows of a job that ended."""
A_MINUTE_SEC = 60.0
POLL_TAKES_SEC = 10.0
"""Generously: bjobs, and what the master does with its answer, on a machine that is busy."""
NFS_SEC = 30.0
"""Attributes may be that old where hosts share a file system."""
START_SEC = 15.0
"""For the Snakemake in a job, and our program, to begin."""
HOLD = """
import os, sys, time
from pathlib import Path
from warmscale.lease import acquire
acquire(Path(sys.argv[1]), {"job_id": None})
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def lsf(checkout: Checkout, tmp_path: Path) -> Iterator[LsfCheckout]:
    """A checkout beside a cluster of two hosts."""
    with Cluster(tmp_path / "cluster", hosts=2, slots_per_host=1, kill_interval_sec=1.0) as cluster:
        made = LsfCheckout(checkout, cluster)
        yield made
        made.end()


def polls(lsf: LsfCheckout) -> list[float]:
    """When bjobs was asked, Unix time."""
    calls = map(json.loads, (lsf.cluster.store.folder / "calls.jsonl").read_text().splitlines())
    return [call["time"] for call in calls if call["command"] == "bjobs"]


def test_a_job_that_ended_is_noticed_at_the_next_poll_and_polls_are_close(lsf, tiny):
    assert lasting.POLL_SEC + POLL_TAKES_SEC <= SOON_SEC
    lsf.checkout.write(tiny(recipe={"mini_batch_size": 640, "epochs": 20}, experiments=[ONE_RUN]))
    lsf.start()
    lsf.wait_for("news of the end", lambda: "(Rule: train)" in lsf.log())
    noticed = time.time()
    (job,) = lsf.cluster.jobs()
    asked = polls(lsf)
    assert sum(job.ended < at < noticed for at in asked) <= 1
    assert noticed - job.ended < SOON_SEC
    gaps = [later - at for at, later in itertools.pairwise(asked)]
    assert gaps and max(gaps) < lasting.POLL_SEC + POLL_TAKES_SEC


def test_a_copy_on_another_host_ends_within_a_minute_and_the_master_knows_soon(lsf, tiny):
    """The first master and what it noted of the job are gone; only the heartbeat tells that the run is carried out."""
    assert lease.BEAT_SEC + NFS_SEC < lease.PATIENCE_SEC <= A_MINUTE_SEC - START_SEC
    lsf.checkout.write(tiny(recipe={"mini_batch_size": 640, "epochs": 1000}, experiments=[ONE_RUN]))
    master = lsf.start()
    state = lsf.wait_for("rows", lambda: next((state for state in lsf.states() if state.epochs.exists()), None))
    master.kill()
    master.wait()
    state.job.unlink()
    held = max(state.lease.glob("*.json"))
    held.write_text(json.dumps(json.loads(held.read_text()) | {"host": "far-host", "process_space": "of far-host"}))
    attempt = read_json(state.attempt)
    lsf.start()
    lsf.wait_for("a duplicate", lambda: "was a duplicate" in lsf.log())
    noticed = time.time()
    first, copy = lsf.cluster.jobs()
    assert f"duplicate: another copy trains it, held by process {attempt['pid']} on far-host" in lsf.run_log()
    assert (first.finished, copy.state) == (False, "EXIT")
    assert copy.ended - copy.started < A_MINUTE_SEC
    assert noticed - copy.ended < SOON_SEC
    assert (read_json(state.attempt), read_lines(state.attempts)) == (attempt, [])


@contextmanager
def holder_elsewhere(folder: Path) -> Iterator[int]:
    """Process id, where it runs, of one that holds a lease on a host of another name, whose processes are not ours."""
    ours = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    elsewhere = ["unshare", *ours, "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*elsewhere, "true"], capture_output=True).returncode:
        pytest.skip("another host needs unshare (util-linux), and root or user namespaces")
    words = ["sh", "-c", 'hostname far-host; exec "$@"', "sh", sys.executable, "-c", HOLD, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(lease.__file__).parents[1])}
    holder = subprocess.Popen([*elsewhere, *words], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield int(holder.stdout.readline())
    finally:
        holder.kill()
        holder.wait()


def test_a_live_master_on_another_host_is_respected_and_a_dead_one_replaced(checkout, tiny):
    checkout.write(tiny(experiments=[ONE_RUN]))
    target, folder = "data/digits/.complete", checkout.folder / "results/tiny/master"
    with holder_elsewhere(folder) as pid:
        refused = checkout.snakemake(target)
    assert refused.returncode == 1
    line = (
        f"results/tiny: another Snakemake works on this study, held by process {pid} on far-host; wait for it, or end"
    )
    assert line in refused.stdout
    assert not (checkout.folder / target).exists()
    long_ago = time.time() - lease.LONG_DEAD_SEC - 60
    os.utime(max(folder.glob("*.json")), (long_ago, long_ago))
    done = checkout.snakemake(target)
    assert done.returncode == 0, done.stdout
    assert (checkout.folder / target).exists()


def test_a_master_that_died_on_another_host_is_replaced_once_its_heartbeat_stood_still(tmp_path):
    with holder_elsewhere(tmp_path), pytest.raises(lease.LeaseHeldError, match="on far-host"):
        lease.acquire(tmp_path, {}, patience_sec=2 * lease.BEAT_SEC)
    began = time.monotonic()
    with lease.acquire(tmp_path, {}, patience_sec=2.0):
        assert 2.0 <= time.monotonic() - began < 2.0 + POLL_TAKES_SEC
    assert inspect.signature(lease.acquire).parameters["patience_sec"].default == lease.PATIENCE_SEC  # the master's
