"""Runs that are forked from a warm process: what cold ones are, each by itself, and nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from warmscale.cluster.launchers import LaunchPlan
from warmscale.cluster.placement import Where
from warmscale.cluster.site import Site
from warmscale.records import read_json, read_lines
from warmscale.training.warm.start import WarmProcess, plan_of
from warmscale.training.warm.wire import ADDRESS

from . import launching
from .conftest import SCRIPTS, small_run

EVERY_STEP = {"checkpoint_minutes": 0}
OF_PYTEST = "PYTEST_CURRENT_TEST"
"""A variable that pytest changes again and again: with another one a run starts cold."""
START = """
import signal, sys
from pathlib import Path
from warmscale.cluster.launchers import LaunchPlan
from warmscale.training.warm.start import WarmProcess
warm = WarmProcess(LaunchPlan(python=sys.executable), Path(sys.argv[1]))
warm.begin()
print(warm._process.pid, flush=True)
signal.pause()
"""

ASK_TWICE = """
import os, signal, time
from warmscale.training.signals import send_to_all
from warmscale.training.warm.origin import Origin
from warmscale.training.warm.ranks import WarmRank

def ask(*_):
    send_to_all([rank], signal.SIGTERM)
    print("asked", flush=True)

def waitpid(pid, options):
    found = real(pid, options)
    if found[0]:
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(0)  # the handler has run then
    return found

real, os.waitpid = os.waitpid, waitpid
signal.signal(signal.SIGUSR2, ask)
origin = Origin("", {}, {}, {}, {}, frozenset())
rank = WarmRank(origin)
os.close(rank._tell)  # there is nothing to train
while rank.poll() is None:
    time.sleep(0.01)
print(rank.returncode, flush=True)
rank = WarmRank(origin)
rank.send_signal(signal.SIGKILL)
print(rank.wait(), flush=True)
"""


class Started(launching.Started):
    """A run that is started with the variables that the warm process was started with."""

    def command(self, **changed: Any) -> list[str]:
        """Command line of the run."""
        return ["env", "-u", OF_PYTEST, *super().command(**changed)]


@contextlib.contextmanager
def warm_process(folder: Path) -> Iterator[WarmProcess]:
    """A warm process that programs started from here find, ended at last."""
    shared = os.environ.get(ADDRESS)
    warm = WarmProcess(LaunchPlan(python=sys.executable), folder / "warm.log")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(OF_PYTEST)
        patch.delenv(ADDRESS, raising=False)
        warm.begin()
        address = os.environ[ADDRESS]
    os.environ[ADDRESS] = address
    try:
        yield warm
    finally:
        warm.end()
        assert ADDRESS not in os.environ
        if shared:
            os.environ[ADDRESS] = shared


@pytest.fixture(scope="module")
def models() -> Iterator[None]:
    """Models beside this file can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("HUNGRY_ROOM_MIB", "260")
        patch.setenv("WARMSCALE_MEMORY_PROBE_SEC", "30")
        yield


@pytest.fixture(scope="module")
def warm(models: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The log of a warm process that tests share; they leave it as it is."""
    folder = tmp_path_factory.mktemp("warm")
    with warm_process(folder):
        yield folder / "warm.log"


@pytest.fixture
def cold(warm: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it to have runs start cold from then on."""
    return lambda: monkeypatch.delenv(ADDRESS)


def long_run(**recipe):
    return small_run(epochs=4, decay={"epochs": [2, 3]}, **recipe)


def were_warm(started: Started) -> list[bool]:
    return [attempt.get("is_warm", False) for attempt in read_lines(started.state.attempts)]


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def fork_and_rank(started: Started) -> tuple[int, int]:
    """Process ids of what carries a run out, and of its rank."""
    pid = read_json(started.state.attempt)["pid"]
    (rank,) = children(pid)
    return pid, rank


def begin(started: Started, *, at_step: int) -> subprocess.Popen:
    """Start a run and wait for a checkpoint of that step."""
    process = subprocess.Popen(started.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(lambda: started.checkpoint_step() >= at_step or process.poll() is not None)
    assert process.poll() is None, process.communicate()[0] + started.log()
    return process


@pytest.mark.parametrize(("ranks", "precision"), [(1, "bf16"), (2, "fp32")])
def test_a_warm_run_is_bit_identical_to_a_cold_one(tmp_path, lab, cold, ranks, precision):
    run = small_run(precision=precision)
    forked = Started(tmp_path / "warm", lab, run, ranks=ranks)
    assert forked.finish().returncode == 0, forked.log()
    cold()
    started = Started(tmp_path / "cold", lab, run, ranks=ranks)
    assert started.finish().returncode == 0, started.log()
    assert (were_warm(forked), were_warm(started)) == ([True], [False])
    assert forked.rows() == started.rows()
    assert len(forked.rows()[0]) == 2


def test_a_warm_rank_is_what_a_cold_one_is_whatever_the_last_one_did(tmp_path, lab, cold):
    spoiler = Started(tmp_path / "spoiler", lab, small_run(model="witness:spoiler"))
    assert spoiler.finish().returncode == 0, spoiler.log()
    found = {}
    for name in ("warm", "again", "cold"):
        if name == "cold":
            cold()
        started = Started(tmp_path / name, lab, small_run(model="witness:witness"))
        assert started.finish().returncode == 0, started.log()
        assert were_warm(started) == [name != "cold"]
        found[name] = [read_json(started.state.path / file) for file in ("facts.json", "drawn.json")]
        found[name].append(started.rows())
    for name in ("warm", "again"):
        assert found[name][0] == found["cold"][0]
        assert found[name][2] == found["cold"][2]
    drawn = [number for _, numbers, _ in found.values() for number in numbers]
    assert len({*map(str, drawn)}) == 9  # what nobody seeded is nobody else's


def test_a_rank_that_is_killed_harms_no_other_and_resumes_bit_identical(tmp_path, lab, warm):
    runs = {name: long_run(seed=seed) for seed, name in enumerate(("other", "killed"), 1)}
    undisturbed = {name: Started(tmp_path / "undisturbed", lab, run) for name, run in runs.items()}
    for started in undisturbed.values():
        assert started.finish().returncode == 0, started.log()
    disturbed = {name: Started(tmp_path / "disturbed", lab, run, **EVERY_STEP) for name, run in runs.items()}
    processes = {name: begin(started, at_step=2) for name, started in disturbed.items()}
    os.kill(fork_and_rank(disturbed["killed"])[1], signal.SIGKILL)
    said = processes["killed"].communicate(timeout=60)[0]
    assert processes["killed"].returncode == 75
    assert "node: killed: rank 0 by SIGKILL" in said
    processes["other"].communicate(timeout=120)
    assert processes["other"].returncode == 0
    assert disturbed["killed"].finish().returncode == 0
    for name, started in disturbed.items():
        assert started.rows() == undisturbed[name].rows()
    assert (were_warm(disturbed["other"]), were_warm(disturbed["killed"])) == ([True], [True, True])


def test_a_rank_that_crashes_or_lacks_memory_is_told_apart_as_when_cold(tmp_path, lab, warm):
    hungry = Started(tmp_path, lab, small_run(model="models:hungry", workers=5, epochs=1, decay={"epochs": []}))
    assert hungry.finish().returncode == 0
    record = hungry.record()
    assert (record["state"], record["failure_class"]) == ("failed", "out_of_memory"), hungry.log()
    memory = record["attempts"][0]["memory"]
    assert 0.97 * memory["limit_mib"] < memory["peak_mib"] <= memory["limit_mib"]
    crashing = Started(tmp_path, lab, small_run(model="witness:crashing"))
    done = crashing.finish()
    assert done.returncode == 75
    assert "node: killed: rank 0 by SIGSEGV" in done.stderr
    assert (were_warm(hungry), were_warm(crashing)) == ([True], [True])


def test_no_process_outlives_a_job_that_is_killed_and_the_run_resumes_bit_identical(tmp_path, lab, warm):
    undisturbed = Started(tmp_path / "undisturbed", lab, long_run())
    assert undisturbed.finish().returncode == 0, undisturbed.log()
    started = Started(tmp_path / "disturbed", lab, long_run(), **EVERY_STEP)
    process = begin(started, at_step=2)
    pids = fork_and_rank(started)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(is_alive, pids)), seconds=5)
    step = started.checkpoint_step()
    time.sleep(0.2)
    assert started.checkpoint_step() == step < 16
    assert started.finish().returncode == 0, started.log()
    assert started.rows() == undisturbed.rows()
    assert [attempt["state"] for attempt in started.record()["attempts"]] == ["killed", "finished"]


def test_a_fork_that_is_killed_takes_its_rank_along_and_its_job_fails(tmp_path, lab, warm):
    started = Started(tmp_path, lab, long_run(), **EVERY_STEP)
    process = begin(started, at_step=2)
    fork, rank = fork_and_rank(started)
    os.kill(fork, signal.SIGKILL)
    assert (
        process.communicate(timeout=60)[0]
        == "the process that carried the run out was killed; the next start goes on\n"
    )
    assert process.returncode == 1
    wait_until(lambda: not is_alive(rank), seconds=5)
    assert started.finish().returncode == 0, started.log()
    assert [attempt["state"] for attempt in started.record()["attempts"]] == ["killed", "finished"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_warm_run_that_is_asked_to_stop_pauses(tmp_path, lab, warm, number):
    started = Started(tmp_path, lab, long_run(), **EVERY_STEP)
    process = begin(started, at_step=1)
    process.send_signal(number)
    assert "paused at step" in process.communicate(timeout=60)[0]
    assert process.returncode == 75
    assert [attempt["state"] for attempt in read_lines(started.state.attempts)] == ["paused"]


@pytest.mark.parametrize("after_sec", [0.0, 0.05, 0.4])
def test_a_warm_run_that_a_terminal_interrupts_while_it_starts_is_paused_and_not_failed(tmp_path, lab, warm, after_sec):
    started = Started(tmp_path, lab, long_run())
    # a group of its own in this session, as a shell makes it
    process = subprocess.Popen(started.command(), process_group=0, stderr=subprocess.PIPE, text=True)
    wait_until(started.state.attempt.exists)
    time.sleep(after_sec)
    os.killpg(process.pid, signal.SIGINT)
    assert f"{started.run.run_id}: paused at step" in process.communicate(timeout=60)[1]
    assert process.returncode == 75
    assert were_warm(started) == [True]


def test_runs_go_on_when_the_warm_process_is_killed_and_the_next_start_cold(tmp_path, lab, models):
    with warm_process(tmp_path) as warm:
        going_on = Started(tmp_path, lab, long_run(), **EVERY_STEP)
        process = begin(going_on, at_step=2)
        os.kill(warm._process.pid, signal.SIGKILL)
        next_one = Started(tmp_path, lab, small_run(seed=2))
        assert next_one.finish().returncode == 0, next_one.log()
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert (were_warm(going_on), were_warm(next_one)) == ([True], [False])
    assert [row["epoch"] for row in going_on.rows()[0]] == ["1", "2", "3", "4"]


def test_a_run_starts_cold_where_the_warm_process_dies_while_it_warms_up(tmp_path, lab, models):
    with warm_process(tmp_path) as warm:
        os.kill(warm._process.pid, signal.SIGSTOP)  # so that the run waits for it
        started = Started(tmp_path, lab, small_run())
        process = subprocess.Popen(started.command(), stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        assert process.poll() is None and not started.state.attempt.exists()
        os.kill(warm._process.pid, signal.SIGKILL)
        assert process.communicate(timeout=120)[1] == ""
    assert process.returncode == 0
    assert were_warm(started) == [False]


def test_a_process_with_other_variables_or_limits_starts_cold(tmp_path, lab, warm):
    started = Started(tmp_path, lab, small_run())
    other = subprocess.run(
        ["bash", "-c", 'ulimit -S -n 1000; MALLOC_ARENA_MAX=1 exec "$@"', "bash", *started.command()], check=False
    )
    assert other.returncode == 0
    assert were_warm(started) == [False]
    assert f"{started.run.run_id} starts cold: other MALLOC_ARENA_MAX, limits" in warm.read_text()


def test_a_plan_with_setup_lines_starts_its_ranks_cold(tmp_path, lab, warm):
    plan = LaunchPlan(python=sys.executable, setup=("export SET_UP=1",))
    started = Started(tmp_path, lab, small_run())
    assert started.finish(plan=json.dumps(plan.to_json())).returncode == 0, started.log()
    assert were_warm(started) == [False]
    assert f"{started.run.run_id} starts cold: other setup" in warm.read_text()


@pytest.mark.parametrize(
    ("site", "log"),
    [
        (Site(python="/another/python"), "runs start cold: python\n"),
        (Site(setup=["export A=1"], node_local="/tmp"), "runs start cold: setup, node_local\n"),
        (Site(placement={"warm_starts": False}), None),
    ],
)
def test_nothing_is_warmed_up_for_ranks_that_must_start_cold_and_the_log_says_why(tmp_path, site, log):
    file = tmp_path / "warm.log"
    warm = WarmProcess(plan_of(site, [Where(1, 1)]), file)
    warm.begin()
    assert warm._process is None
    assert (file.read_text() if file.exists() else None) == log


def test_a_signal_handler_may_ask_after_a_rank_that_is_being_asked_after():
    variables = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", ASK_TWICE], env=variables, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("asked\n0\nasked\n-9\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_gets_no_answer(tmp_path, warm):
    ask = f"""
import os, socket, sys
sys.path.insert(0, {str(SCRIPTS)!r})
from warmscale.training.warm.wire import send_request
os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect("\\0{os.environ[ADDRESS]}")
send_request(connection, {{"words": [], "surroundings": {{}}, "environment": {{}}}}, [0, 0, 1, 2, 0])
try:
    print(connection.recv(100))
except ConnectionResetError:
    print(b"")
"""
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "b''\n"


def test_nonsense_harms_nobody(tmp_path, lab, warm):
    for words in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"\0{os.environ[ADDRESS]}")
            connection.send(words)
    started = Started(tmp_path, lab, small_run())
    assert started.finish().returncode == 0, started.log()
    assert were_warm(started) == [True]


@pytest.mark.parametrize("is_warm", [False, True])
def test_the_warm_process_ends_with_the_one_that_started_it(tmp_path, models, is_warm):
    log = tmp_path / "warm.log"
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    starter = subprocess.Popen([sys.executable, "-c", START, str(log)], stdout=subprocess.PIPE, env=environment)
    pid = int(starter.stdout.readline())
    if is_warm:
        wait_until(lambda: log.read_text().endswith("warm\n"))
    starter.kill()
    starter.wait()
    wait_until(lambda: not is_alive(pid), seconds=5)
