"""The facts of a site, from its site.yaml: batch system, nodes, launcher, limits, container."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ..config_files import read_config
from ..study.config import Placement
from ..study.errors import StudyError, explain, join_path
from ..study.planning import HardwareName
from ..study.recipe import Count, Strict
from .gpus import visible_gpus
from .placement import Where
from .site_errors import site_errors

Word = Annotated[str, Field(min_length=1)]
"""One word of a command line."""


class SiteError(StudyError):
    """What is wrong with a site file, one line a finding, each with the file."""


class Node(Strict):
    """A node as a job gets it."""

    gpus: Annotated[int, Field(ge=0)] | None = None
    """GPUs of a node, each for one rank; null on this machine: counted, elsewhere: none."""
    cores: Count | None = None
    """Cores that jobs may use; null on this machine: counted."""
    memory_gb: Count | None = None
    """Memory that a whole node is asked for; null: not asked for."""
    slots: Count | None = None
    """LSF: slots of a node (`bhosts`, column MAX), what -n counts; null: one a core."""


class Walltime(Strict):
    """The longest that jobs of a size may run."""

    up_to_nodes: Count
    """Jobs on up to so many nodes."""
    minutes: Count
    """What they ask for."""


class SiteContainer(Strict):
    """Runs the ranks; Snakemake and the launcher stay outside."""

    image: Word
    """Path of an image file that all nodes see, made by `apptainer build`, or of an unpacked one."""
    runtime: Literal["apptainer", "singularity"] = "apptainer"
    """The program."""
    options: list[Word] = []
    """Further words for `apptainer exec`, as --bind and a folder."""


class MasterJob(Strict):
    """The job of one slot and no GPU in which `warmscale submit` runs Snakemake itself."""

    queue: Word | None = None
    """Its queue or partition; null: that of the runs. Many sites have one for long jobs that are small."""
    walltime_min: Count | None = None
    """What it asks for; null: what a run on one node asks for. It submits its successor before."""
    margin_sec: Annotated[int, Field(ge=60)] | None = None
    """So long before, it submits its successor, for a batch system may be away then; null: 600, or a tenth of it."""
    memory_gb: Count | None = None
    """Null: not asked for. Snakemake and the small rules need 1 GB for a thousand runs."""
    extra: list[Word] = []
    """Further words for its bsub or sbatch; the site's own `extra` are those of runs."""


class Share(Strict):
    """What a job gets of each of its nodes."""

    cores: int
    gpus: int
    slots: int
    memory_gb: int | None
    whole: bool
    """All of the node."""


class Site(Strict):
    """Where studies are carried out; without a site file: this machine."""

    scheduler: Literal["local", "lsf", "slurm"] = "local"
    """What jobs are submitted to; local: nothing, runs are started here."""
    style: Literal["plain", "easy"] = "plain"
    """LSF: plain asks for slots (-n, -R span, -gpu); easy for whole nodes beside a launch node (-nnodes), as Summit."""
    launcher: Literal["local", "mpirun", "srun", "jsrun", "blaunch"] = "local"
    """What starts the ranks of a job; local: this program, on one node only."""
    launcher_options: list[Word] = []
    """Further words for the launcher; of blaunch: for the torchrun that it starts."""
    project: Word | None = None
    """LSF's project (-P), Slurm's account."""
    queue: Word | None = None
    """LSF's queue (-q), Slurm's partition; null: the default one."""
    qos: Word | None = None
    """Slurm's quality of service."""
    constraint: Word | None = None
    """Slurm's features of nodes."""
    alloc_flags: Word | None = None
    """LSF, style easy: -alloc_flags."""
    extra: list[Word] = []
    """Further words for bsub or sbatch."""
    node: Node = Node()
    """A node as a job gets it."""
    walltime: list[Walltime] = []
    """Limits by number of nodes, ascending; a job gets the first entry that it fits in."""
    margin_sec: Annotated[int, Field(ge=0)] = 120
    """A run pauses so long before its walltime: it writes a checkpoint then."""
    eligible_jobs: Count | None = None
    """Jobs of one user that the scheduler considers at a time: a plan starts no more together; null: no limit."""
    hardware: HardwareName | None = None
    """What its nodes are, for a plan's predictions until something is measured; null: as the study says, else cpu."""
    setup: list[Word] = []
    """Lines of shell before each launcher and each rank, as `module load cuda`; one that fails ends the attempt."""
    environment: dict[str, str | int] = {}
    """Variables of the ranks."""
    container: SiteContainer | None = None
    """What the ranks run in; null: the interpreter below, as it is."""
    python: Word | None = None
    """Interpreter of the ranks; null: the one that runs Snakemake, in a container python3."""
    node_local: Word | None = None
    """Folder on a disk of each node, for copies of data; may have variables, as $USER."""
    results: Word = "results"
    """Folder of all studies, on a file system that all nodes share."""
    placement: Placement = Placement()
    """Instead of what studies say under placement; the command line has the last word."""
    master: MasterJob = MasterJob()
    """The job in which `warmscale submit` runs Snakemake itself."""

    @model_validator(mode="after")
    def _facts_fit(self) -> Site:
        if lines := list(site_errors(self)):
            raise ValueError("\n".join(lines))
        return self

    @property
    def gpus(self) -> int:
        """GPUs of a node."""
        if self.node.gpus is not None:
            return self.node.gpus
        return _gpus_here() if self.scheduler == "local" else 0

    @property
    def cores(self) -> int:
        """Cores of a node that jobs may use."""
        return self.node.cores or os.cpu_count() or 1

    @property
    def master_walltime_min(self) -> int | None:
        """Minutes that a job in which Snakemake runs asks for."""
        return self.master.walltime_min or self.walltime_min(1)

    @property
    def master_margin_sec(self) -> float:
        """How long before its walltime such a job submits the next one."""
        return self.master.margin_sec or min(600.0, 6.0 * (self.master_walltime_min or 100))

    def walltime_min(self, nodes: int) -> int | None:
        """Minutes that a job on so many nodes may run, None without limit; raises SiteError where none may."""
        if not self.walltime:
            return None
        for limit in self.walltime:
            if nodes <= limit.up_to_nodes:
                return limit.minutes
        raise SiteError([f"{nodes} nodes are too many: walltime in site.yaml ends at up_to_nodes {limit.up_to_nodes}"])

    def share(self, where: Where, *, alone: bool = False) -> Share:
        """What a job gets of each of its nodes: all of it, unless it is one node of which it leaves GPUs to others.

        alone: nothing may run beside it, so that it gets GPUs too that it leaves idle.
        """
        gpus = min(self.gpus if alone else where.ranks_per_node, self.gpus) if self.placement.device != "cpu" else 0
        whole = where.nodes > 1 or self.style == "easy" or gpus in {0, self.gpus}

        def part(amount: int) -> int:
            return amount if whole else max(1, amount * gpus // self.gpus)

        slots = part(self.node.slots or self.cores)
        memory_gb = self.node.memory_gb and part(self.node.memory_gb)
        return Share(cores=part(self.cores), gpus=gpus, slots=slots, memory_gb=memory_gb, whole=whole)


def load_site(path: str | Path | None) -> Site:
    """The site of a file, or this machine where there is none; raises SiteError with all that is wrong, a line each."""
    if path is None:
        return Site()
    try:
        return Site.model_validate(read_config(Path(path)))
    except StudyError as error:
        raise SiteError(f"{path}: {line}" for line in error.lines) from error
    except ValidationError as error:
        found = [(join_path(*place), message) for place, message in explain(error, Site)]
        lines = [f"{place}: {line}" if place else line for place, lines in found for line in lines.splitlines()]
        raise SiteError(f"{path}: {line}" for line in lines) from error


def site_of_profile(name: str) -> Path:
    """The site.yaml of a profile, in the folders where Snakemake and we keep them; raises SiteError."""
    home = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    folders = [Path(name), Path("profiles") / name, home / "snakemake" / name]
    for folder in folders:
        if (folder / "site.yaml").is_file():
            return folder / "site.yaml"
    raise SiteError([f"profile {name}: no site.yaml in {', '.join(map(str, folders))}"])


def placement_of(study: Any, site: Site, command: Mapping[str, Any] | None = None) -> Any:
    """A study's placement section with what the site and then the command line have instead, and the ranks of a node.

    `nodes` decides wherever it stands, max_nodes being a bound for choosing; but max_nodes on the command line sets
    aside the `nodes` of the others. A section that is no mapping is returned as it is: the study's validation refuses.
    """
    study, command = ({} if section is None else section for section in (study, command))
    for section in (command, study):
        if not isinstance(section, Mapping):
            return section
    merged = {**study, **site.placement.model_dump(exclude_unset=True)}
    if "max_nodes" in command:
        merged.pop("nodes", None)
    merged |= command
    if merged.get("ranks_per_node") is None:
        merged["ranks_per_node"] = (site.gpus if merged.get("device") != "cpu" else 0) or 1
    return merged


@cache
def _gpus_here() -> int:
    return len(visible_gpus(os.environ))
