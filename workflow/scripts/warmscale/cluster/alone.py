"""Places of measurements: nothing runs beside one, and one that the site has no place for is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from ..study.throughput import Measurement
from .placement import Where
from .resources import Place, place_on
from .site import Site


def alone_on(site: Site, where: Where, minutes: int | None = None, *, cores: int | None = None) -> Place:
    """Where and how on a site: with whole nodes, on this machine with all cores.

    minutes: most that its job may take, up to the site's limit; cores: that Snakemake has, maybe more than there are.
    Raises SiteError where the site cannot.
    """
    place = place_on(site, where, minutes, alone=True)
    if site.scheduler != "local":
        return place
    return replace(place, threads=max(place.threads, cores or site.cores))


def lack(site: Site, where: Where, hardware: str | None = None) -> str:
    """What is asked for at a place that the site does not have, in words; nothing where it has the place.

    hardware: that the study is about (planning.hardware). What it asks of GPUs takes a CPU days.
    """
    here_only = site.scheduler == "local" or site.launcher == "local"
    most = 1 if here_only else site.walltime[-1].up_to_nodes
    if where.nodes > most:
        return f"more nodes than this site has ({most})"
    if site.gpus and where.ranks_per_node > site.gpus and site.placement.device != "cpu":
        return f"more ranks on a node than this site has GPUs there ({site.gpus})"
    on_cpus = site.scheduler == "local" and not site.gpus and site.placement.device != "cpu"
    if on_cpus and hardware not in (None, "cpu"):
        return f"GPUs, as planning.hardware ({hardware}) has, or placement.device: cpu"
    return ""


def left_out_lines(measurements: Iterable[Measurement], site: Site, hardware: str | None = None) -> list[str]:
    """How many measurements of which experiment are left out on a site, and why."""
    asked, lacking = Counter(), Counter()
    for each in measurements:
        why = lack(site, each.where, hardware)
        for name in each.experiments:
            asked[name] += 1
            lacking[name, why] += bool(why)
    return [
        f"experiments.{name}: {count} of {asked[name]} measurements need {why}; they are left out"
        for (name, why), count in lacking.items()
        if count
    ]
