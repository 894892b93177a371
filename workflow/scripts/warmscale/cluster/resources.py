"""From a site and a place on it to what a job asks for, and how its ranks are started."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from .launchers import Container, LaunchPlan
from .placement import Where
from .site import Site, SiteError


def rule_resources(site: Site, where: Where, walltime_min: int | None = None) -> dict[str, Any]:
    """What Snakemake shows of the job of a run; raises SiteError where the site has no such job.

    walltime_min: what a plan asks for instead of the site's limit, if the site has one and it is less. Our executors
    make the words of bsub and sbatch from site and place themselves.
    """
    check(site, where)
    limit = site.walltime_min(where.nodes)
    minutes = limit and min(walltime_min or limit, limit)
    return {"nodes": where.nodes, **({"runtime": minutes} if minutes else {})}


def launch_plan(site: Site, where: Where, threads: int | None = None, *, alone: bool = False) -> LaunchPlan:
    """How the ranks of a run are started; raises SiteError where the site cannot.

    `threads` are those of each rank where a job does not have its cores for itself, so on this machine; alone: the job
    has whole nodes.
    """
    check(site, where)
    share = site.share(where, alone=alone)
    container = site.container
    return LaunchPlan(
        launcher=_launcher(site, where),
        nodes=where.nodes,
        ranks_per_node=where.ranks_per_node,
        cores_per_node=threads * where.ranks_per_node if threads else share.cores,
        gpus_per_node=share.gpus,
        shares_node=site.scheduler == "local",
        bind=share.whole and site.scheduler != "local",
        setup=tuple(site.setup),
        environment=tuple((name, str(value)) for name, value in site.environment.items()),
        container=container and Container(container.image, container.runtime, tuple(container.options)),
        python=site.python or ("python3" if container else sys.executable),
        options=tuple(site.launcher_options),
        node_local=site.node_local,
    )


def _launcher(site: Site, where: Where) -> str:
    """What srun would start as the only task, or blaunch on the only host, is started there without it."""
    alone = where.ranks == 1 if site.scheduler == "slurm" else where.nodes == 1 and site.launcher == "blaunch"
    return "local" if alone else site.launcher


def check(site: Site, where: Where) -> None:
    """Refuse a place that the site does not have, in one line."""
    site.walltime_min(where.nodes)
    if where.nodes > 1 and site.scheduler == "local":
        only = "without a site file there is this machine only: --config wants site=profiles/lsf/site.yaml as well"
        raise SiteError([f"placement.nodes: {where.nodes} nodes, and {only}"])
    if where.nodes > 1 and site.launcher == "local":
        raise SiteError([f"placement.nodes: {where.nodes} nodes, and launcher local starts ranks on one only"])
    if site.gpus and where.ranks_per_node > site.gpus and site.placement.device != "cpu":
        raise SiteError(
            [f"placement.ranks_per_node: {where.ranks_per_node} ranks need a GPU each; a node has {site.gpus}"]
        )


@dataclass(frozen=True)
class Place:
    """Everything about where and how a run is carried out."""

    where: Where
    plan: LaunchPlan
    job: Mapping[str, Any]
    """What its job asks Snakemake's executor for."""
    threads: int
    """Cores of this machine that it takes up: as many runs at a time as there are cores, or GPUs."""
    options: str
    """For the program that carries it out, quoted for a shell."""


def place_on(site: Site, where: Where, walltime_min: int | None = None, *, alone: bool = False) -> Place:
    """Where and how on a site, maybe with a walltime that was planned; raises SiteError where the site cannot.

    alone: its jobs get whole nodes of a scheduler.
    """
    here = site.scheduler == "local"
    plan = launch_plan(site, where, threads=1 if here else None, alone=alone and not here)
    job = rule_resources(site, where, walltime_min)
    words = {"plan": json.dumps(plan.to_json()), "walltime-min": job.get("runtime", 0)}
    words["margin-sec"] = site.margin_sec
    gpu_share = site.cores * where.ranks // site.gpus if here and plan.gpus_per_node else 0
    return Place(
        where=where,
        plan=plan,
        job=job,
        threads=max(where.ranks, gpu_share) if here else 1,
        options=shlex.join(str(word) for name, value in words.items() for word in (f"--{name}", value)),
    )


def asked_for(placement: Mapping[str, Any], nodes: Any) -> dict[str, Any]:
    """What the command line says of the placement: `--config placement=...`, `--set-resources train:nodes=20`.

    Nested values of `--config` are text, whatever they look like.
    """
    if not isinstance(placement, Mapping):
        raise SiteError([f"--config placement={placement}: must be a mapping, as placement='{{nodes: 20}}'"])
    asked = {name: yaml.safe_load(str(value).replace("'", "")) for name, value in placement.items()}
    if nodes is None:
        return asked
    if not isinstance(nodes.value, int) or nodes.value < 1:
        raise SiteError([f"--set-resources train:nodes={nodes.value}: must be a whole number, as train:nodes=20"])
    return asked | {"nodes": nodes.value}
