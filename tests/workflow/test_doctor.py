"""`warmscale doctor` for real: ranks on two hosts of a double of LSF, and on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lsf_double.cluster import Cluster
from warmscale.records import read_json

from .conftest import TINY, Checkout

SITE = {
    "node": {"gpus": 0, "cores": 1},
    "placement": {"max_nodes": 2},
    "walltime": [{"up_to_nodes": 2, "minutes": 60}],
}


def doctor(checkout: Checkout, environment: dict[str, str], *words: str) -> tuple[int, dict[str, str], str]:
    """(exit code, {what: level and detail}, all that was printed)."""
    scripts, bin_folder = checkout.folder / "workflow/scripts", Path(sys.executable).parent
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(scripts), "PATH": f"{bin_folder}:{environment['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "warmscale.cli", "doctor", *words],
        cwd=checkout.folder,
        env=environment | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
    )
    rows = [line for line in done.stdout.splitlines() if line[:5] in ("ok   ", "warn ", "FAIL ")]
    lines = {row[5:].partition(": ")[0]: f"{row[:5]}{row[5:].partition(': ')[2]}" for row in rows}
    return done.returncode, lines, done.stdout


@pytest.fixture
def cluster(checkout: Checkout, tmp_path: Path) -> Iterator[Cluster]:
    """Two hosts of one slot, and a site file that says so."""
    checkout.write(TINY)
    write_site(checkout, **SITE)
    with Cluster(tmp_path / "cluster", hosts=2, slots_per_host=1, kill_interval_sec=1.0) as made:
        yield made


def write_site(checkout: Checkout, **facts) -> None:
    path = checkout.folder / "profiles/lsf/site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | facts))


def test_two_nodes_add_up_and_train_in_one_job(checkout, cluster):
    code, lines, printed = doctor(checkout, cluster.environment(), "--profile", "lsf")
    assert code == 0, printed
    assert len(cluster.jobs()) == 1
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    assert lines["cache"].startswith(f"ok   {home}/snakemake can be written on ")
    assert lines["submit"].startswith("ok   jobs can be submitted from ")
    assert lines["names"][:5] in ("ok   ", "warn ")  # hosts are loopback addresses
    assert lines["ranks"].startswith("ok   all of 2 know their numbers")
    assert lines["all-reduce"].startswith("ok   2 ranks on 2 nodes: 1 MiB")
    assert lines["training"].startswith("ok   8 steps of 320 images on 2 ranks")
    assert lines["audit"].startswith("ok   passed: 320 distinct images")
    report = read_json(checkout.folder / "results/tiny/doctor/report.json")
    assert report["first_host"]["in_job"]
    assert [fact["rank"] for fact in report["ranks"]] == [0, 1]
    assert not (checkout.folder / "results/tiny/state").exists()


def test_a_host_on_which_nothing_starts_is_one_line(checkout, cluster, tmp_path):
    first_only = tmp_path / "bin/blaunch"
    first_only.parent.mkdir()
    real = cluster.store.folder / "bin/blaunch"
    first_only.write_text(f'#!/bin/sh\n[ "$2" = 127.0.0.1 ] || exit 0\nexec {real} "$@"\n')
    first_only.chmod(0o755)
    environment = cluster.environment()
    environment["PATH"] = f"{first_only.parent}:{environment['PATH']}"
    environment |= {"HOME": "/no/such/home", "TMPDIR": str(tmp_path)}
    environment.pop("XDG_CACHE_HOME", None)
    code, lines, printed = doctor(checkout, environment, "--profile", "lsf", "--patience", "8")
    assert code == 1, printed
    assert lines["launcher"].startswith("FAIL blaunch started something for 1 of 2 nodes"), printed
    assert "the job has 127.0.0.1, 127.0.0.2" in lines["launcher"]
    assert lines["cache"].startswith(f"ok   {tmp_path}/warmscale-{os.getuid()}/snakemake can be written on ")


def test_what_bsub_refuses_is_one_line_and_nothing_is_left_behind(checkout, cluster):
    write_site(checkout, extra=["-m", "nosuch"])
    code, lines, printed = doctor(checkout, cluster.environment(), "--profile", "lsf")
    assert code == 1, printed
    assert lines["job"].startswith("FAIL bsub refused it: nosuch: Bad host name")
    assert cluster.jobs() == []


def test_an_interrupted_doctor_kills_its_job(checkout, cluster):
    cluster.submit("-n", "2", "sleep", "1000")
    scripts = checkout.folder / "workflow/scripts"
    path = f"{cluster.environment()['PATH']}"
    started = subprocess.Popen(
        [sys.executable, "-m", "warmscale.cli", "doctor", "--profile", "lsf"],
        cwd=checkout.folder,
        env=cluster.environment() | {"PYTHONPATH": str(scripts), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    cluster.wait_for(lambda: len(cluster.jobs()) == 2, "job of the doctor", timeout_sec=60)
    started.terminate()
    printed, _ = started.communicate(timeout=60)
    assert started.returncode == 130, printed
    assert cluster.wait(cluster.jobs()[1].id).state == "EXIT"


def test_this_machine_needs_no_profile(checkout):
    checkout.write(TINY)
    code, lines, printed = doctor(checkout, dict(os.environ))
    assert code == 0, printed
    assert lines["training"].startswith("ok   8 steps of 320 images on 1 rank")


def test_a_queue_that_is_not_there_is_one_line_before_anything_is_submitted(checkout, cluster):
    write_site(checkout, queue="nosuch")
    code, lines, printed = doctor(checkout, cluster.environment(), "--profile", "lsf")
    assert code == 1, printed
    assert lines["queue"].startswith("FAIL queue: nosuch: "), printed
    assert lines["job"].startswith("warn not started")
    assert cluster.jobs() == []
