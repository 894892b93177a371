"""Facts of a site that contradict each other."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .site import Site

LAUNCHER_NEEDS = {"srun": ("slurm", None), "jsrun": ("lsf", "easy"), "blaunch": ("lsf", "plain")}
"""Scheduler and style of a launcher; the others go with any."""
ONLY_WITH = {
    "qos": ("scheduler", "slurm"),
    "constraint": ("scheduler", "slurm"),
    "alloc_flags": ("style", "easy"),
}
OUR_WORDS = {
    "lsf": ("-J", "-o", "-oo", "-e", "-eo", "-n", "-nnodes", "-W", "-P", "-q", "-cwd", "-env", "-alloc_flags", "-K"),
    "slurm": (
        *("-J", "-o", "-e", "-n", "-N", "-t", "-A", "-p", "-D", "-C", "-c", "--job-name", "--output", "--error"),
        *("--parsable", "--export", "--comment", "--workdir", "--chdir", "--account", "--partition", "--mem"),
        *("--mem-per-cpu", "--ntasks", "--ntasks-per-node", "--ntasks-per-gpu", "--cpus-per-task", "--cpus-per-gpu"),
        *("--time", "--constraint", "--qos", "--nodes", "--clusters", "--gres", "--gpus"),
    ),
    "local": (),
}
"""Words of a submission that are made from other facts."""
OUR_WORDS_OF_TORCHRUN = (
    *("--nnodes", "--nproc-per-node", "--node-rank", "--master-addr", "--master-port", "--max-restarts"),
    *("--rdzv-backend", "--rdzv-endpoint", "--rdzv-id", "--rdzv-conf", "--standalone", "--no-python"),
)
"""Words of torchrun that are made from the hosts of a job."""
OUR_WORDS_OF_MASTERS = ("-w", "--dependency", "-d", "--wrap")
"""And those by which a job of Snakemake's own waits for the one before."""


def site_errors(site: Site) -> Iterator[str]:
    """A line for each contradiction, with the key it begins with."""
    yield from _scheduler_errors(site)
    yield from _walltime_errors(site)
    yield from _node_errors(site)
    yield from _rank_errors(site)
    yield from _master_errors(site)


def _scheduler_errors(site: Site) -> Iterator[str]:
    if site.style == "easy" and site.scheduler != "lsf":
        yield f"style: easy is a style of LSF, and scheduler is {site.scheduler}"
    scheduler, style = LAUNCHER_NEEDS.get(site.launcher, (site.scheduler, None))
    if (scheduler, style or site.style) != (site.scheduler, site.style):
        here = f"{site.scheduler} in style {site.style}" if site.scheduler == "lsf" == scheduler else site.scheduler
        wanted = f"{scheduler} in style {style}" if style else scheduler
        yield f"launcher: {site.launcher} belongs to {wanted}, not to {here}"
    if site.style == "easy" and site.scheduler == "lsf":
        if site.launcher != "jsrun":
            yield f"launcher: is {site.launcher}, must be jsrun with style easy: the command runs on a launch node"
        if not site.project:
            yield "project: is missing: style easy needs one (-P)"
    for key, (other, value) in ONLY_WITH.items():
        if getattr(site, key) and getattr(site, other) != value:
            yield f"{key}: is for {other} {value} only, and {other} is {getattr(site, other)}"
    for word in site.extra:
        if word.partition("=")[0] in OUR_WORDS[site.scheduler]:
            yield f"extra: {word} is made from the other keys and must not stand here"


def _walltime_errors(site: Site) -> Iterator[str]:
    if site.scheduler != "local" and not site.walltime:
        yield "walltime: is missing: batch jobs ask for one, as [{up_to_nodes: 8, minutes: 120}]"
    sizes = [limit.up_to_nodes for limit in site.walltime]
    if any(later <= earlier for earlier, later in itertools.pairwise(sizes)):
        yield f"walltime: up_to_nodes {sizes} must increase"
    for limit in site.walltime:
        if limit.minutes * 60 <= site.margin_sec:
            yield f"walltime: {limit.minutes} minutes are not more than margin_sec {site.margin_sec}"
    asked = _most_nodes(site)
    if sizes and asked > max(sizes):
        yield f"placement: {asked} nodes are too many: walltime ends at up_to_nodes {max(sizes)}"


def _node_errors(site: Site) -> Iterator[str]:
    if site.scheduler != "local" and site.node.cores is None:
        yield "node.cores: is missing: batch jobs ask for cores"
    if site.node.slots and (site.scheduler, site.style) != ("lsf", "plain"):
        yield "node.slots: is for LSF in style plain only"
    ranks, gpus = site.placement.ranks_per_node, site.node.gpus
    if ranks and gpus and ranks > gpus and site.placement.device != "cpu":
        yield f"placement.ranks_per_node: {ranks} ranks need a GPU each, and node.gpus is {gpus}"


def _rank_errors(site: Site) -> Iterator[str]:
    asked = _most_nodes(site)
    if asked > 1 and site.scheduler == "local":
        yield f"placement: {asked} nodes, and scheduler local is this machine only"
    elif asked > 1 and site.launcher == "local":
        yield f"launcher: local starts ranks on one node only, and placement has {asked}"
    if site.container and ("://" in site.container.image or re.search(r"\s", site.container.image)):
        yield (
            f"container.image: is {site.container.image!r}, must be a file, without spaces: `apptainer build` makes "
            "one of an address"
        )
    for word in site.launcher_options if site.launcher == "blaunch" else ():
        name = word.partition("=")[0].replace("_", "-")
        if name == "--local-addr":
            yield (
                f"launcher_options: {word} is an address of one node, and all get the same words: environment: "
                "{NCCL_SOCKET_IFNAME: ib0, GLOO_SOCKET_IFNAME: ib0} chooses a network"
            )
        elif name in OUR_WORDS_OF_TORCHRUN:
            yield f"launcher_options: {word} is made from the hosts of a job and must not stand here"
    for name in site.environment:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield f"environment: {name!r} is no name of a variable"
    if site.node_local and not re.fullmatch(r"[/$][\w/.${}+=,@%-]*", site.node_local):
        yield f"node_local: is {site.node_local!r}, must be an absolute folder, in which variables may stand"


def _master_errors(site: Site) -> Iterator[str]:
    for word in site.master.extra:
        if word.partition("=")[0] in (*OUR_WORDS[site.scheduler], *OUR_WORDS_OF_MASTERS):
            yield f"master.extra: {word} is made from the other keys and must not stand here"
    minutes = site.master.walltime_min or (site.walltime[0].minutes if site.walltime else None)
    if minutes and site.master_margin_sec >= minutes * 60:
        yield f"master.margin_sec: {site.master.margin_sec} is not less than a walltime of {minutes} minutes"


def _most_nodes(site: Site) -> int:
    """Nodes that the site's own placement may ask for."""
    nodes = site.placement.nodes
    if nodes is None:
        return site.placement.max_nodes
    return nodes if isinstance(nodes, int) else max(nodes)
