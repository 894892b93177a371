"""Which host an attempt is found to have failed by, and which ones are not blamed."""

import socket

import pytest

from warmscale.cluster.hosts import addresses_in, host_at_fault, named, own_host

HOSTS = {"LSB_HOSTS": "h01.site h01.site h02.site h02.site h17.site h17.site"}
GLOO = "[../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.0.0.17]:41234"
NCCL = (
    "NCCL error: remote process exited\nLast error:\nsocketProgress: Connection closed by remote peer 10.1.0.17<53000>"
)


@pytest.fixture(autouse=True)
def names(monkeypatch):
    """Host h17 is 10.0.0.17, and on a second network h17-ib0, 10.1.0.17."""

    def addresses_of(name):
        return name, [], [f"10.0.0.{int(name[1:3])}"]

    def name_of(address):
        if not address.startswith("10.1."):
            raise socket.herror("unknown")
        return f"h{address.rpartition('.')[2]}-ib0.site", [], []

    monkeypatch.setattr(socket, "gethostbyname_ex", addresses_of)
    monkeypatch.setattr(socket, "gethostbyaddr", name_of)


def at_fault(failure_class, nodes=3, **reason):
    attempt = {"nodes": nodes, "node": "h01.site"}
    return host_at_fault({"failure_class": failure_class, **reason}, attempt, HOSTS)


def test_a_rank_that_finds_its_node_at_fault_tells_of_its_own_host_whatever_it_calls_itself():
    assert at_fault("node", host="h17") == "h17.site"
    assert at_fault("node", host="h17.other.domain") == "h17.site"
    assert at_fault("node") is None


@pytest.mark.parametrize("message", [GLOO, NCCL])
def test_a_rank_that_lost_contact_tells_of_the_other_host(message):
    peers = addresses_in(message)
    assert at_fault("communication", host="h02", peers=peers) == "h17.site"


def test_a_rank_that_lost_contact_with_it_does_not_know_whom_tells_of_none():
    assert at_fault("communication", host="h02") is None
    assert at_fault("communication", host="h02", peers=["10.0.0.2"]) is None  # its own address
    assert at_fault("communication", host="h02", peers=["10.0.0.1", "10.0.0.17"]) is None
    assert at_fault("communication", host="h02", peers=["192.168.0.1"]) is None


@pytest.mark.parametrize("failure_class", ["node", "communication"])
def test_the_only_host_is_the_one(failure_class):
    assert at_fault(failure_class, nodes=1, host="h01") == "h01.site"


@pytest.mark.parametrize("failure_class", [None, "walltime", "out_of_memory", "data", "bug", "unknown"])
def test_other_classes_blame_no_host(failure_class):
    assert at_fault(failure_class, host="h17", peers=["10.0.0.17"]) is None
    assert at_fault(failure_class, nodes=1, host="h01") is None


def test_addresses_are_those_of_peers():
    assert addresses_in(GLOO) == ["10.0.0.17"]
    assert addresses_in("writev [::ffff:10.0.0.3]:4242: Broken pipe") == ["10.0.0.3"]
    assert addresses_in("torch 2.14.1.0 failed at 10.0.0.1") == []


def test_hosts_that_are_addresses_are_not_taken_for_one_another():
    assert named("127.0.0.2", ["127.0.0.1", "127.0.0.2"]) == "127.0.0.2"
    assert named("127.0.0.9", ["127.0.0.1"]) == "127.0.0.9"


def test_slurm_tells_each_task_its_node():
    assert own_host({"SLURMD_NODENAME": "n7"}) == "n7"
    assert own_host({}) == socket.gethostname()
