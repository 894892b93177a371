"""Lines about the nodes of the check and the network between them, from what its ranks left. Standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..cluster.launchers import LaunchPlan
from .findings import Lines, counted, fail, ok, some, warn
from .on_nodes import CheckFolder

CLOCK_SEC = 5.0
"""Leases and deadlines allow for so much."""
Fact = Mapping[str, Any]


def node_lines(ranks: Sequence[Fact], folder: CheckFolder, plan: LaunchPlan) -> Lines:
    """About the hosts: the folder of results, names, cores, clocks, packages, own disks."""
    hosts = sorted({fact["host"] for fact in ranks})
    yield ok("results on nodes", f"{folder.path.parent} can be written from {some(hosts)}")
    if plan.nodes > 1 and len(hosts) < plan.nodes:
        yield warn("hosts", f"{plan.nodes} nodes call themselves {some(hosts)}: are they different ones?")
    known = [fact for fact in ranks if "cores" in fact]
    tight = [fact for fact in known if fact["cores"] < fact["threads"]]
    if tight:
        fact = tight[0]
        yield warn(
            "cores",
            f"rank {fact['rank']} on {fact['host']} may use {counted(fact['cores'], 'core')} and has {fact['threads']} "
            f"threads: {plan.launcher} binds it too tightly, or node.cores in site.yaml is too many",
        )
    elif known:
        yield ok(
            "cores", f"each rank may use {min(fact['cores'] for fact in known)}, and has {known[0]['threads']} threads"
        )
    offsets = {fact["host"]: fact["clock_offset_sec"] for fact in known}
    late = {host: offset for host, offset in offsets.items() if abs(offset) > CLOCK_SEC}
    if late:
        clocks = some(f"{host} {offset:+.1f} s" for host, offset in late.items())
        yield fail("clocks", f"differ from that of the file system: {clocks}; ask the site to set them (NTP)")
    elif offsets:
        yield ok("clocks", f"at most {max(map(abs, offsets.values())):.2f} s from that of the file system")
    if wrong := next(((fact["host"], fact["wrong_packages"]) for fact in known if fact["wrong_packages"]), None):
        yield fail("packages on nodes", f"{wrong[0]}: {'; '.join(wrong[1])}; mend `python`, `setup` or the container")
    if plan.nodes > 1:
        yield from name_lines(known, all(fact["stage"] == "done" for fact in ranks))
    yield from _disks(known)


def name_lines(known: Sequence[Fact], have_met: bool) -> Lines:
    """How gloo, which listens where the name of its host points, can be reached from other hosts."""
    facts = {fact["host"]: fact for fact in known if not (fact["is_named"] or fact["chosen_network"])}
    how = "GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME under `environment` in site.yaml"
    lost = [host for host, fact in facts.items() if not fact["networks"]]
    if lost and not have_met:
        yield fail("names", f"{some(lost)}: loopback is the only network there; ask the site, or choose one by {how}")
    elif facts:
        taken = some(map(_taken_on, facts.values()))
        yield warn("names", f"hosts whose own name is loopback to them, and what ranks take: {taken}; else {how}")
    elif known:
        yield ok("names", "each host's own name is an address that others can reach, or a network is chosen")


def _taken_on(fact: Fact) -> str:
    """The host, and its network that ranks choose by themselves."""
    name, address = next(iter(fact["networks"].items()), ("loopback", "no other"))
    return f"{fact['host']} {name} ({address})"


def _disks(known: Sequence[Fact]) -> Lines:
    for fact in known:
        if fact["node_local_error"]:
            yield fail(
                "node_local", f"{fact['node_local']} on {fact['host']}: {fact['node_local_error']}; mend site.yaml"
            )
            return
    if known and known[0]["node_local"]:
        yield ok("node_local", f"{known[0]['node_local']} can be written on each node")


def device_lines(ranks: Sequence[Fact], plan: LaunchPlan) -> Lines:
    """What the ranks train on."""
    known = [fact for fact in ranks if "device" in fact]
    if not known:
        return
    names = Counter((fact["device"], fact["device_name"]) for fact in known)
    drivers = sorted({fact["driver"] for fact in known if "driver" in fact})
    text = some(f"{count} x {name} ({device})" for (device, name), count in names.items())
    fact = known[0]
    if fact["device"] == "cuda":
        text += f", CUDA {fact['cuda']}, NCCL {fact['nccl']}, driver {some(drivers)}"
    text += f", torch {some(sorted({fact['torch'] for fact in known}))}"
    if plan.gpus_per_node and any(fact["device"] != "cuda" for fact in known):
        host = next(fact["host"] for fact in known if fact["device"] != "cuda")
        yield fail(
            "device",
            f"{text}: site.yaml has {plan.gpus_per_node} GPUs a node, torch sees none on {host}; `nvidia-smi` there?",
        )
    elif len(names) > 1:
        yield warn("device", f"{text}: ranks wait for the slowest")
    else:
        yield ok("device", text)


def reduce_lines(ranks: Sequence[Fact]) -> Lines:
    """Bandwidth of all-reduce, from the first rank that measured it."""
    rows = next((fact["reduce"] for fact in ranks if "reduce" in fact), None)
    size = next((fact["world_size"] for fact in ranks if "world_size" in fact), 0)
    if rows is None:
        return
    if size == 1:
        yield ok("all-reduce", "one rank has nothing to add up")
        return
    nodes = sum(fact["local_rank"] == 0 for fact in ranks)
    each = ", ".join(f"{row['mib']} MiB {_time(row['sec'])} {row['bus_gb_per_sec']:.3g} GB/s" for row in rows)
    yield ok("all-reduce", f"{size} ranks on {counted(nodes, 'node')}: {each} (bus bandwidth, 2(n-1)/n x bytes / time)")


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"
