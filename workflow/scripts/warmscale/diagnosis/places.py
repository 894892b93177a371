"""Site, study and places: what the check is about, and on how many nodes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..cluster import placement as placements
from ..cluster.alone import lack, left_out_lines
from ..cluster.lsf import hosts_of_job
from ..cluster.placement import PlacementError, Where
from ..cluster.resources import place_on
from ..cluster.site import Site, SiteError, load_site, placement_of, site_of_profile
from ..cluster.walltime import job_id
from ..config_files import read_config
from ..study import StudyError, load_trained
from .findings import Lines, counted, fail, ok, some, warn

if TYPE_CHECKING:
    from ..cluster.launchers import LaunchPlan
    from ..study import Run, Study

JOBS_AT_A_TIME = 500
"""Where no profile says."""


def find_site(profile: str | None, file: Path | None) -> Path | None:
    """The site file that is meant; None: this machine, also for a profile without one. Raises SiteError."""
    if not profile:
        return file
    folders = [Path(profile), Path("profiles") / profile]
    try:
        return site_of_profile(profile)
    except SiteError:
        if any((folder / "config.yaml").is_file() for folder in folders):
            return None
        raise


def read_site(file: Path | None) -> tuple[Site | None, list[str]]:
    """The site, or None and what is wrong with it."""
    try:
        return load_site(file), []
    except SiteError as error:
        return None, error.lines


def site_lines(site: Site, file: Path | None) -> Lines:
    """What the site is, in one line."""
    kind = {"lsf": f"LSF, style {site.style}", "slurm": "Slurm", "local": "this machine"}[site.scheduler]
    longest = f", up to {counted(site.walltime[-1].up_to_nodes, 'node')}" if site.walltime else ""
    node = f"nodes of {counted(site.cores, 'core')} and {counted(site.gpus, 'GPU')}"
    yield ok("site", f"{file or 'no file'}: {kind}, launcher {site.launcher}, {node}{longest}")


def profile_lines(file: Path | None, site: Site) -> Lines:
    """Whether the profile beside a site file submits to that site's scheduler."""
    config = (file.parent if file else Path("profiles/local")) / "config.yaml"
    if not config.is_file():
        return
    facts = yaml.safe_load(config.read_text()) or {}
    executor = facts.get("executor", "local")
    if executor != site.scheduler:
        yield fail(
            "profile", f"{config}: executor is {executor}, and site.yaml has scheduler {site.scheduler}: mend one"
        )
    else:
        yield ok("profile", f"{config}: executor {executor}")


def jobs_at_a_time(file: Path | None, site: Site) -> int:
    """Runs that a profile trains together."""
    if site.scheduler == "local":
        return os.cpu_count() or 1
    config = file and file.parent / "config.yaml"
    jobs = (yaml.safe_load(config.read_text()) or {}).get("jobs") if config and config.is_file() else None
    return jobs if isinstance(jobs, int) else JOBS_AT_A_TIME


def study_on(config_file: Path, site: Site) -> Study:
    """The study as the workflow sees it on a site; raises StudyError."""
    raw = dict(read_config(config_file))
    raw.pop("site", None)
    return load_trained(raw | {"placement": placement_of(raw.get("placement"), site)})


def study_lines(config_file: Path, site: Site, found: list[Study]) -> Lines:
    """Whether the study is valid, and its runs have places; `found` gets the study."""
    try:
        study = study_on(config_file, site)
    except StudyError as error:
        for line in error.lines:
            yield fail("study", f"{config_file}: {line}")
        return
    found.append(study)
    measured = f", {counted(len(study.measurements), 'measurement')}" if study.measurements else ""
    yield ok("study", f"{config_file}: {study.name}, {counted(len(study.runs), 'run')}{measured}")
    yield from placement_lines(study, site)


def placement_lines(study: Study, site: Site) -> Lines:
    """Where all runs go, and all measurements."""
    wheres = Counter(study.where(run) for run in study.runs.values())
    yield from _place_lines(wheres, site, "run")
    hardware = study.config.planning.hardware
    for line in left_out_lines(study.measurements.values(), site, hardware):
        yield warn("placement", line)
    measured = Counter(each.where for each in study.measurements.values() if not lack(site, each.where, hardware))
    yield from _place_lines(measured, site, "measurement")


def _place_lines(wheres: Mapping[Where, int], site: Site, what: str) -> Lines:
    wrong = {}
    for where in wheres:
        try:
            place_on(site, where)
        except (SiteError, PlacementError) as error:
            wrong[where] = str(error)
    for where, line in wrong.items():
        yield fail("placement", f"{counted(wheres[where], what)}: {line}")
    fine = [f"{counted(count, what)} on {shown(where)}" for where, count in wheres.items() if where not in wrong]
    if fine:
        yield ok("placement", some(fine, 5))


def shown(where: Where) -> str:
    """As `2 nodes x 6 ranks`."""
    return f"{counted(where.nodes, 'node')} x {counted(where.ranks_per_node, 'rank')}"


@dataclass(frozen=True)
class Try:
    """What the check starts: a run and where."""

    run: Run
    where: Where
    plan: LaunchPlan


def nodes_to_try(study: Study, site: Site, here: bool) -> int:
    """Two nodes where the site or its allocation has two, else one."""
    placement = study.config.placement
    allowed = placement.nodes or placement.max_nodes
    most = allowed if isinstance(allowed, int) else max(allowed)
    if site.scheduler == "local" or site.launcher == "local":
        return 1
    if here:
        most = min(most, allocated_nodes(site))
    return min(2, most)


def allocated_nodes(site: Site) -> int:
    """Nodes of the allocation that this process is in; 1 outside of one."""
    hosts = hosts_of_job(os.environ, launch_node=site.style == "easy")
    return max(1, len(hosts), int(os.environ.get("SLURM_JOB_NUM_NODES", 1)))


def what_to_try(study: Study, site: Site, *, run: Run | None, nodes: int | None, here: bool) -> Try:
    """The run that is asked for, or the first that so many nodes can carry out; raises PlacementError, SiteError."""
    wanted = nodes or nodes_to_try(study, site, here)
    runs = [run] if run else list(study.runs.values())
    fitting = [run for run in runs if run.recipe.workers % wanted == 0]
    if not fitting:
        counts = sorted({run.recipe.workers for run in runs})
        if nodes:
            raise PlacementError(
                f"--nodes: {nodes} nodes do not divide {some(map(str, counts))} workers; try --nodes 1"
            )
        wanted, fitting = 1, runs
    chosen = fitting[0]
    a_node = placements.place(
        chosen.recipe.workers // wanted, ranks_per_node=study.config.placement.ranks_per_node or 1
    )
    where = Where(wanted, a_node.ranks_per_node)
    plan = place_on(site, where).plan
    if here and where.nodes == 1 and job_id(os.environ) is None:  # no allocation that a launcher could be in
        plan = replace(plan, launcher="local")
    return Try(chosen, where, plan)


def try_lines(tried: Try, site: Site, here: bool) -> Lines:
    """What is started."""
    plan, how = tried.plan, "here" if here else f"as a job of {site.scheduler.upper()}"
    text = f"{shown(tried.where)}, launcher {plan.launcher}, {how}; steps of {tried.run.run_id}"
    alone = plan.nodes == 1 and site.launcher != "local"
    yield warn("try", f"{text}; on one node, so nothing is said about the network") if alone else ok("try", text)


def settings_of(study: Study) -> dict[str, Any]:
    """What the trainer is told of a study's placement."""
    from ..study.config import WHERE_FIELDS

    return study.config.placement.model_dump(exclude=WHERE_FIELDS)
