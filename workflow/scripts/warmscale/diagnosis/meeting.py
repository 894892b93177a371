"""Lines from what the ranks of the check left: did they start, meet, and add up. Standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..cluster.launchers import LaunchPlan
from ..records import read_json
from .findings import Lines, counted, fail, ok, some
from .job import last_words
from .nodes import device_lines, node_lines, reduce_lines
from .on_nodes import CheckFolder

Fact = Mapping[str, Any]


@dataclass
class Met:
    """What a check left about its ranks."""

    folder: CheckFolder
    plan: LaunchPlan

    @cached_property
    def ranks(self) -> list[Fact]:
        """What each process of ours knew, by rank; those that did not learn theirs first."""
        found = [read_json(path) for path in sorted(self.folder.ranks.glob("[!.]*.json"))]
        return sorted(found, key=lambda fact: (fact.get("rank", -1), fact["host"]))

    @cached_property
    def shells(self) -> list[str]:
        """Host of each shell that the launcher started."""
        return sorted(path.name.rpartition("-")[0] for path in self.folder.started.glob("*-*"))

    @cached_property
    def end(self) -> Fact:
        """How the processes ended."""
        return read_json(self.folder.end("meet")) or {"codes": [], "timed_out": False, "error": None, "sec": 0.0}

    @property
    def launcher_log(self) -> Path:
        """What the launcher printed."""
        return self.folder.state("meet").launcher_log

    def words_of(self, fact: Fact) -> str:
        """The last words of a rank."""
        return last_words(self.folder.state("meet").log(fact.get("rank", 0)))


def meeting_lines(met: Met) -> Lines:
    """All about the ranks, in the order in which things go wrong."""
    yield from launcher_lines(met)
    if met.ranks:
        yield from discovery_lines(met)
        yield from stage_lines(met)
        yield from node_lines(met.ranks, met.folder, met.plan)
        yield from device_lines(met.ranks, met.plan)
        yield from reduce_lines(met.ranks)


def launcher_lines(met: Met) -> Lines:
    """Whether the launcher started all that it was asked for."""
    plan = met.plan
    wanted, unit = (plan.nodes, "node") if plan.launcher == "blaunch" else (plan.ranks, "rank")
    hosts = some(f"{name} ({count})" if count > 1 else name for name, count in Counter(met.shells).items())
    if met.end["error"]:
        yield fail("launcher", f"{plan.launcher}: {met.end['error']}")
    elif len(met.shells) < wanted:
        in_job = (read_json(met.folder.parent) or {}).get("hosts") or []
        where = f"; the job has {some(in_job)}" if in_job else ""
        yield fail(
            "launcher",
            f"{plan.launcher} started something for {len(met.shells)} of {counted(wanted, unit)} ({hosts or 'none'}"
            f"{where}); it says: {last_words(met.launcher_log)}",
        )
    elif not met.ranks:
        yield fail(
            "launcher", f"{plan.launcher} reached {hosts}, but no rank began; it says: {last_words(met.launcher_log)}"
        )
    else:
        yield ok(
            "launcher", f"{plan.launcher} reached {counted(plan.nodes, 'node')}: {hosts}; {met.end['sec']:.0f} s in all"
        )


def discovery_lines(met: Met) -> Lines:
    """Whether each rank knows its number."""
    what, plan, numbered = "ranks", met.plan, [fact for fact in met.ranks if "rank" in fact]
    for fact in met.ranks:
        if fact["stage"] == "discovery":
            yield fail(what, f"a rank on {fact['host']}: {fact['error']}")
            return
    numbers, sizes = [fact["rank"] for fact in numbered], {fact["world_size"] for fact in numbered}
    if sizes == {1} and plan.ranks > 1:
        other = next((fact["unknown_launcher"] for fact in numbered if fact.get("unknown_launcher")), None)
        saw = (
            f"it sets {other}, as MPICH's does; take that of Open MPI"
            if other
            else "it sets no variables that are known"
        )
        yield fail(what, f"each of {len(numbers)} processes of {plan.launcher} takes itself for the only rank: {saw}")
        return
    missing = sorted(set(range(plan.ranks)) - set(numbers))
    first = [fact for fact in numbered if fact["local_rank"] == 0]
    if missing or sizes != {plan.ranks}:
        yield fail(
            what,
            f"{counted(plan.ranks, 'rank')} were to begin, there are {some(map(str, numbers), 8)} of world size "
            f"{some(map(str, sorted(sizes)))}; {plan.launcher} says: {last_words(met.launcher_log)}",
        )
    elif len(first) != plan.nodes:
        hosts = some(sorted({fact["host"] for fact in numbered}))
        yield fail(
            what,
            f"{plan.ranks} ranks are on {counted(len(first), 'node')} ({hosts}), not on {plan.nodes}: "
            f"{plan.launcher} does not know the job's hosts (Open MPI: `ompi_info | grep -e lsf -e slurm`)",
        )
    else:
        yield ok(what, f"all of {plan.ranks} know their numbers, {counted(plan.ranks_per_node, 'rank')} a node")


def stage_lines(met: Met) -> Lines:
    """Where ranks failed or hung: one line, of the rank that was not so far yet."""
    failed = [fact for fact in met.ranks if "error" in fact and fact["stage"] != "discovery"]
    stuck = [fact for fact in met.ranks if fact["stage"] not in ("done", "discovery") and "error" not in fact]
    if failed:
        # what the first rank says is mostly the echo of what another one met
        fact = min(failed, key=lambda fact: (STAGES.index(fact["stage"]), fact["rank"] == 0, fact["rank"]))
        others = f"; {len(failed) - 1} more ranks failed" if len(failed) > 1 else ""
        yield fail(
            fact["stage"], f"rank {fact['rank']} on {fact['host']}: {fact['error']}{_meeting_point(met, fact)}{others}"
        )
    elif stuck:
        fact = min(stuck, key=lambda fact: STAGES.index(fact["stage"]))
        ended = "was killed after" if met.end["timed_out"] else "ended without a reason within"
        yield fail(
            fact["stage"],
            f"rank {fact['rank']} on {fact['host']} came no further, and {ended} {met.end['sec']:.0f} s: "
            f"{met.words_of(fact)}{_meeting_point(met, fact)}",
        )


STAGES = ("importing torch", "choosing a device", "joining", "all-reduce", "done")


def _meeting_point(met: Met, fact: Fact) -> str:
    if fact["stage"] != "joining":
        return ""
    point = read_json(met.folder.state("meet").meeting(0))
    at = f"{point['host']}, port {point['port']}" if point else "the first node"
    names = "NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME under `environment` in site.yaml choose the network"
    return f"; can nodes open connections to {at}? {names}"
