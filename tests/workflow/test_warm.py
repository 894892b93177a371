"""Runs of a study start warm, and end as cold ones do; no process outlives Snakemake that it would not outlive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from warmscale.records import TIMING_COLUMNS, read_json, read_rows

SNAKEMAKE = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", "2"]


def warm_runs(folder: Path) -> dict[str, bool]:
    """{run: whether its last attempt was warm}."""
    records = {path.parent.name: read_json(path) for path in folder.glob("results/tiny/runs/*/run.json")}
    return {name: record["attempts"][-1].get("is_warm", False) for name, record in records.items()}


def rows(folder: Path) -> dict[str, list]:
    """Published rows of each run, without what is measured in seconds or bytes."""
    found = {}
    for path in sorted(folder.glob("results/tiny/runs/*/*.csv")):
        kept = [{name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in read_rows(path)]
        found[f"{path.parent.name}/{path.name}"] = kept
    return found


def processes_of(session: int) -> list[str]:
    """Command lines of the processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append((path / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended
            pass
    return found


def start(checkout) -> subprocess.Popen:
    """Snakemake in a session of its own, once a run trains there."""
    checkout_log = (checkout.folder / "snakemake.log").open("w")
    with checkout_log:
        process = subprocess.Popen(
            SNAKEMAKE, cwd=checkout.folder, stdout=checkout_log, stderr=checkout_log, start_new_session=True
        )
    wait_until(lambda: process.poll() is not None or any(checkout.folder.glob("results/tiny/state/*/progress.json")))
    assert process.poll() is None, (checkout.folder / "snakemake.log").read_text()
    return process


def wait_until(is_so, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_runs_of_a_study_start_warm_and_cold_ones_are_bit_identical(finished_once, checkout, tiny):
    assert list(warm_runs(finished_once).values()) == [True] * 3
    checkout.write(tiny())
    done = checkout.snakemake("--until", "train", "--config", "placement={warm_starts: false}")
    assert done.returncode == 0, done.stdout
    assert list(warm_runs(checkout.folder).values()) == [False] * 3
    assert rows(checkout.folder) == rows(finished_once)
    assert not (checkout.folder / "results/tiny/logs/warm.log").exists()


def test_nothing_is_warmed_up_where_nothing_is_trained(finished):
    log = finished.folder / "results/tiny/logs/warm.log"
    log.unlink()
    assert finished.snakemake("--forcerun", "claims").returncode == 0
    assert not log.exists()


def test_a_snakemake_that_is_interrupted_leaves_no_process_behind(checkout, tiny):
    checkout.write(tiny(recipe={"epochs": 40}))
    process = start(checkout)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to Snakemake and its jobs
    process.wait(60)
    wait_until(lambda: not processes_of(process.pid), seconds=30)
    states = [read_json(path)["state"] for path in checkout.folder.glob("results/tiny/state/*/progress.json")]
    assert "paused" in states


def test_when_snakemake_is_killed_its_jobs_go_on_and_no_warm_process_stays(checkout, tiny):
    checkout.write(tiny(recipe={"epochs": 8}))
    process = start(checkout)
    process.kill()
    process.wait()
    wait_until(lambda: not processes_of(process.pid), seconds=60)
    assert warm_runs(checkout.folder)  # those that were training then are published
    assert all(warm_runs(checkout.folder).values())
    done = checkout.snakemake("--until", "train")
    assert done.returncode == 0, done.stdout
    assert len(warm_runs(checkout.folder)) == 3
