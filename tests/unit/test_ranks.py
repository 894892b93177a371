"""What ranks and their parent know of each other across hosts, and what a network file system may hide from them."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from warmscale.cluster.addresses import leads_away, networks
from warmscale.cluster.discovery import Rank
from warmscale.lease import acquire
from warmscale.records import StateFolder, read_json, write_json
from warmscale.training import ranks, signals
from warmscale.training.last_word import await_word
from warmscale.training.signals import Stop, stop_on_file

TRAIN = Path(__file__).parents[2] / "workflow/scripts/train.py"
PATIENCE_SEC = 60


def within(seconds: float, condition) -> bool:
    """Whether something comes true in that time."""
    give_up = time.monotonic() + seconds
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.02)
    return condition()


def after(seconds: float, action) -> threading.Thread:
    """Something that happens meanwhile."""
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


@pytest.mark.parametrize("name", ["localhost", "127.0.1.1", "::1", "no-such-host.invalid"])
def test_a_name_of_this_host_alone_leads_nowhere_else(name):
    assert not leads_away(name)


def test_an_address_of_another_host_leads_away():
    assert leads_away("192.0.2.7")


def test_networks_are_those_that_other_hosts_may_be_on():
    known = networks()
    assert set(known) <= {name for _, name in socket.if_nameindex()} - {"lo"}
    assert not any(ipaddress.ip_address(address).is_loopback for address in known.values())
    for address in known.values():
        with socket.socket() as listener:
            listener.bind((address, 0))  # it is this host's


@pytest.mark.parametrize(
    "first, address",
    [
        ({"host": "here", "addresses": ["192.0.2.1"]}, "localhost"),
        ({"host": "192.0.2.9", "addresses": ["192.0.2.1"]}, "192.0.2.9"),
        ({"host": "localhost", "addresses": ["192.0.2.1", "192.0.2.2"]}, "192.0.2.1"),
        ({"host": "no-such-host.invalid", "addresses": ["192.0.2.1"]}, "192.0.2.1"),
        ({"host": "no-such-host.invalid", "addresses": []}, "no-such-host.invalid"),
    ],
)
def test_the_first_rank_is_reached_by_its_name_else_by_its_address(first, address):
    assert ranks.address_of(first, "here") == address


@pytest.mark.skipif(not networks(), reason="this host is on no network")
@pytest.mark.parametrize(
    "own_name, variables, network",
    [
        ("localhost", {}, next(iter(networks()), None)),
        ("localhost", {"GLOO_SOCKET_IFNAME": "ib0"}, "ib0"),
        ("localhost", {"RANK": "0"}, None),  # started by our own parent: all ranks are here
        ("192.0.2.9", {}, None),
    ],
)
def test_gloo_waits_on_a_network_where_this_hosts_own_name_means_loopback(monkeypatch, own_name, variables, network):
    monkeypatch.setattr(os, "environ", variables.copy())
    monkeypatch.setattr(socket, "gethostname", lambda: own_name)
    ranks._choose_network(Rank(0, 2, 0))
    assert os.environ.get("GLOO_SOCKET_IFNAME") == network


@pytest.fixture
def lying_attributes(monkeypatch):
    """What NFS remembers of files: the first answer of stat, for ever. Opening a file or a folder asks the server."""
    known: dict[str, os.stat_result | OSError] = {}
    stat = os.stat

    def remembered(path, *words, **options):
        if str(path) not in known:
            try:
                known[str(path)] = stat(path, *words, **options)
            except OSError as error:
                known[str(path)] = error
        if isinstance(known[str(path)], OSError):
            raise known[str(path)]
        return known[str(path)]

    monkeypatch.setattr(os, "stat", remembered)


@pytest.fixture
def watching(monkeypatch):
    """A rank that looks often, and takes a parent for gone whose heart stands still for a second."""
    monkeypatch.setattr(signals, "WATCH_SEC", 0.05)
    monkeypatch.setattr(signals, "SILENT_SEC", 1.0)
    stop = Stop()
    yield stop
    stop.request()


def test_a_parent_whose_heart_beats_is_not_taken_for_gone_because_attributes_are_old(
    tmp_path, lying_attributes, watching
):
    with acquire(tmp_path / "lease", {}, beat_sec=0.05) as held:
        stop_on_file(watching, tmp_path / "stop", held.path)
        assert not within(2.5, lambda: watching.requested)


def test_a_parent_whose_heart_stands_still_is_gone(tmp_path, watching):
    with acquire(tmp_path / "lease", {}, beat_sec=1000) as held:
        stop_on_file(watching, tmp_path / "stop", held.path)
        assert within(10, lambda: watching.requested)


def test_a_rank_whose_parent_was_replaced_ends_though_it_hangs(tmp_path):
    program = "import sys, time, pathlib; from warmscale.training.signals import end_when_replaced as end; "
    program += "end(pathlib.Path(sys.argv[1]), look_sec=0.05, grace_sec=0.1); time.sleep(600)"
    with acquire(tmp_path / "lease", {}, beat_sec=0.05) as held:
        hangs = subprocess.Popen([sys.executable, "-c", program, str(held.path)])
        assert not within(1.5, lambda: hangs.poll() is not None)
    assert hangs.wait(10) == 1


def test_a_request_that_comes_as_a_file_is_seen_though_attributes_are_old(tmp_path, lying_attributes, watching):
    with acquire(tmp_path / "lease", {}, beat_sec=0.05) as held:
        stop_on_file(watching, tmp_path / "stop", held.path)
        assert not within(0.3, lambda: watching.requested)
        (tmp_path / "stop").touch()
        assert within(10, lambda: watching.requested)


@pytest.mark.parametrize("leave", ["outcome", "failure", "pause"])
def test_the_parent_waits_a_while_for_the_last_word_of_ranks_on_other_hosts(tmp_path, leave):
    state = StateFolder(tmp_path)
    write_json(state.progress, {"state": "running"})
    path, value = {"outcome": (state.outcome, {}), "failure": (state.failure, {})}.get(
        leave, (state.progress, {"state": "paused"})
    )
    writing, began = after(0.4, lambda: write_json(path, value)), time.monotonic()
    await_word(state, patience_sec=30)
    assert 0.3 < time.monotonic() - began < 10
    writing.join()


def test_the_parent_does_not_wait_for_ever_for_a_last_word(tmp_path):
    began = time.monotonic()
    await_word(StateFolder(tmp_path), patience_sec=0.3)
    assert 0.2 < time.monotonic() - began < 5


def start_rank(state: StateFolder, patience_sec: float, **variables: str) -> subprocess.Popen:
    """A rank as a launcher starts it."""
    words = [sys.executable, str(TRAIN), "--run", "r", "--state", str(state.path), "--index", "i", "--root", "/r"]
    environment = {**os.environ, **variables, "WARMSCALE_ATTEMPT_SEC": str(patience_sec)}
    return subprocess.Popen([*words, "--settings", json.dumps({"device": "cpu"})], env=environment)


OF_MPIRUN = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}


def test_a_launched_rank_that_does_not_see_its_attempt_ends_with_a_reason_and_begins_none_without_a_lease(tmp_path):
    state = StateFolder(tmp_path)
    assert start_rank(state, 0.5, **OF_MPIRUN).wait(PATIENCE_SEC) == 1
    host = socket.gethostname()
    why = f"{host} does not see {state.attempt}: is that file system mounted there?"
    assert read_json(state.failure) == {"failure_class": "node", "failure": why, "rank": 1, "host": host}
    assert state.log(1).read_text() == f"{why}\n"


def test_what_another_rank_said_first_stays(tmp_path):
    state, first = StateFolder(tmp_path), {"failure_class": "data", "failure": "broken", "rank": 0}
    write_json(state.failure, first)
    assert start_rank(state, 0.1, **OF_MPIRUN).wait(PATIENCE_SEC) == 1
    assert read_json(state.failure) == first


def test_a_launched_rank_waits_for_its_attempt_to_appear(tmp_path):
    """Then goes on, and fails here for want of a content: the reason is another one."""
    state, alone = StateFolder(tmp_path), OF_MPIRUN | {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}
    appearing = after(1.5, lambda: write_json(state.attempt, {"number": 3}))
    assert start_rank(state, PATIENCE_SEC, **alone).wait(PATIENCE_SEC) == 1
    appearing.join()
    assert "does not see" not in state.log(0).read_text()
    assert state.failure.exists()
