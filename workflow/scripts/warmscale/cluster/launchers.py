"""How the ranks of a run are started: the script of a rank, and the words of its launcher. Standard library only.

The parent, on the first host of a job, writes `rank_script` into the run's state folder and starts it: with launcher
`local` once a rank, with RANK, WORLD_SIZE and LOCAL_RANK set; with any other one through `launch_commands`.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .job_shell import FIND_CACHES, UNWARNED
from .lsf import hosts_of_job

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Snakemake sets all of them to the threads of a rule."""
MEETING_SEC = 900
"""For torchrun's agents to meet: the first host may be the last to get its modules."""
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME", "USER")
"""Variables that mpirun hands to ranks on other hosts, beside our own; CUDA_VISIBLE_DEVICES is each host's own."""


class LaunchError(RuntimeError):
    """An allocation in which a plan cannot be carried out, said in one line."""


@dataclass(frozen=True)
class Container:
    """What the ranks run in."""

    image: str
    runtime: str = "apptainer"
    """Name of the program."""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class LaunchPlan:
    """What has to be known to start the ranks of a run."""

    launcher: str = "local"
    """local, mpirun, srun, jsrun or blaunch."""
    nodes: int = 1
    ranks_per_node: int = 1
    cores_per_node: int = 1
    """Cores of a node that the run has for itself."""
    gpus_per_node: int = 0
    """Likewise."""
    shares_node: bool = False
    """No scheduler keeps other runs from the same GPUs."""
    bind: bool = False
    """The run has whole nodes, so its ranks may be bound to cores: two runs on a node would be bound to the same."""
    setup: tuple[str, ...] = ()
    """Lines of shell before the launcher and before each rank."""
    environment: tuple[tuple[str, str], ...] = ()
    """(name, value) of variables of the ranks."""
    container: Container | None = None
    python: str = "python3"
    """Interpreter of the ranks, inside the container where there is one."""
    options: tuple[str, ...] = ()
    """Further words for the launcher."""
    node_local: str | None = None
    """Folder on a disk of the node; variables of the shell are expanded on the node."""

    @property
    def ranks(self) -> int:
        """Processes, each with one device."""
        return self.nodes * self.ranks_per_node

    @property
    def cores_per_rank(self) -> int:
        """Cores that a rank has for itself."""
        return max(1, self.cores_per_node // self.ranks_per_node)

    @property
    def threads_per_rank(self) -> int:
        """Threads of a rank's arithmetic: one on a CPU, where more sum in another order and change last digits."""
        return self.cores_per_rank if self.gpus_per_node else 1

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> LaunchPlan:
        """The plan whose plain values these are."""
        values = {field.name: plain[field.name] for field in fields(cls) if field.name in plain}
        values |= {name: tuple(values[name]) for name in ("setup", "options") if name in values}
        values["environment"] = tuple((name, value) for name, value in values.get("environment", ()))
        if container := values.get("container"):
            values["container"] = Container(container["image"], container["runtime"], tuple(container["options"]))
        return cls(**values)


def rank_script(plan: LaunchPlan, command: Sequence[str], cwd: Path | None = None) -> str:
    """Bash that becomes one rank: `command` is what follows the interpreter; cwd is this process's unless given.

    With launcher blaunch the script is started once a node, with the node's number and where the ranks meet: it becomes
    torchrun there, which starts the same script again for each rank. Torch is then found where the ranks find it.
    """
    cwd = cwd or Path.cwd()
    lines = ["#!/usr/bin/env bash", "# made by warmscale for one attempt at one run", "set -e"]
    start, setup = shlex.join([plan.python, *command]), [f"cd {shlex.quote(str(cwd))}", *plan.setup, *_exports(plan)]
    enter = _container_words(plan, command, cwd)
    if plan.launcher == "blaunch":
        stage = ['if [ "$#" -eq 3 ]; then', *(f"  {line}" for line in [*setup, f"exec {enter}{_torchrun(plan)}"]), "fi"]
        return "\n".join([*lines, *stage, *_exports(plan), f"exec {start}", ""])
    return "\n".join([*lines, *setup, f"exec {enter}{start}", ""])


def _exports(plan: LaunchPlan) -> list[str]:
    """Variables of a rank; the user's last, so that they win."""
    # MKL's too: Snakemake sets it to the threads of the rule, and PyTorch heeds it more
    lines = [FIND_CACHES, *(f"export {name}={plan.threads_per_rank}" for name in THREADS)]
    lines.append(f"export WARMSCALE_CORES={plan.cores_per_rank}")  # threads that decode images, beside arithmetic
    if plan.node_local:
        lines.append(f'export WARMSCALE_NODE_LOCAL="{plan.node_local}"')
    return lines + [f"export {name}={shlex.quote(value)}" for name, value in plan.environment]


def _container_words(plan: LaunchPlan, command: Sequence[str], cwd: Path) -> str:
    """The container as a prefix; folders that the command names are bound, variables are passed on by default."""
    if not plan.container:
        return ""
    folders = [cwd]
    for path in (Path(word) for word in command if word.startswith("/")):
        if not any(path.is_relative_to(folder) for folder in folders):
            folders.append(path.parent if path.suffix else path)
    words = [plan.container.runtime, "exec", *(["--nv"] if plan.gpus_per_node else []), "--pwd", str(cwd)]
    words += [word for folder in folders for word in ("--bind", str(folder))]
    local = f'--bind "{plan.node_local}" ' if plan.node_local else ""
    return f"{shlex.join(words)} {local}{shlex.join([*plan.container.options, plan.container.image])} "


def _torchrun(plan: LaunchPlan) -> str:
    """Its own node 0 is the first host, by number: the c10d way of meeting would choose one by its name."""
    words = [*UNWARNED, plan.python, "-m", "torch.distributed.run", "--nnodes", str(plan.nodes)]
    words += ["--nproc-per-node", str(plan.ranks_per_node), "--max-restarts", "0"]
    words += ["--rdzv-backend", "static", "--rdzv-conf", f"timeout={MEETING_SEC}", *plan.options]
    return f'{shlex.join(words)} --node-rank "$1" --master-addr "$2" --master-port "$3" --no-python bash "$0"'


def launch_commands(
    plan: LaunchPlan, script: Path, environment: Mapping[str, str], port: int | str | None = None
) -> list[list[str]]:
    """Commands that together start all ranks, each with the site's setup before it; raises LaunchError.

    It is one, but with blaunch one a host, the first host first; `port` is where torchrun listens on that one. There is
    none for launcher `local`: the parent starts the script itself, once a rank.
    """
    if plan.launcher == "local":
        raise LaunchError("launcher local has no command: each rank is started by itself")
    if plan.launcher == "blaunch":
        commands = _blaunch(plan, script, environment, port)
    else:
        commands = [_WORDS[plan.launcher](plan, script, environment)]
    if not plan.setup:
        return commands
    # exec: the launcher has the process id that the parent knows, so it gets the parent's signals
    return [["bash", "-c", "\n".join(["set -e", *plan.setup, f"exec {shlex.join(words)}"])] for words in commands]


def _mpirun(plan: LaunchPlan, script: Path, environment: Mapping[str, str]) -> list[str]:
    """Open MPI from 3 and Spectrum MPI, which know the hosts of an allocation. Nothing of MPI itself is used."""
    words = ["mpirun", "-np", str(plan.ranks)]
    if not {"--map-by", "--bind-to"} & set(plan.options):
        pe = f":PE={plan.cores_per_rank}" if plan.bind else ""
        words += ["--map-by", f"ppr:{plan.ranks_per_node}:node{pe}", "--bind-to", "core" if plan.bind else "none"]
    if plan.ranks_per_node > plan.cores_per_node:
        words.append("--oversubscribe")
    if os.geteuid() == 0:
        words.append("--allow-run-as-root")
    passed = [name for name in sorted(environment) if name in PASSED_ON or name.startswith("WARMSCALE_")]
    return [*words, *(word for name in passed for word in ("-x", name)), *plan.options, "bash", str(script)]


def _srun(plan: LaunchPlan, script: Path, environment: Mapping[str, str]) -> list[str]:
    words = ["srun", "--nodes", str(plan.nodes), "--ntasks", str(plan.ranks)]
    words += ["--ntasks-per-node", str(plan.ranks_per_node), "--cpus-per-task", str(plan.cores_per_rank)]
    words += ["--gres", f"gpu:{plan.gpus_per_node}"] if plan.gpus_per_node else []
    words += ["--mpi=none", "--kill-on-bad-exit=1", "--export=ALL"]
    return [*words, *plan.options, "bash", str(script)]


def _jsrun(plan: LaunchPlan, script: Path, environment: Mapping[str, str]) -> list[str]:
    """One resource set a node, in which each rank sees all GPUs."""
    cores = plan.cores_per_rank
    words = ["jsrun", "-n", str(plan.nodes), "-r", "1", "-a", str(plan.ranks_per_node)]
    words += ["-g", str(plan.gpus_per_node), "-c", str(cores * plan.ranks_per_node)]
    return [*words, "-d", "packed", "-b", f"packed:{cores}", *plan.options, "bash", str(script)]


def _blaunch(plan: LaunchPlan, script: Path, environment: Mapping[str, str], port: int | str | None) -> list[list[str]]:
    """Torchrun on each host. One blaunch for all would start the same words on each, and number nothing.

    They meet on the first host, which is this one, by the name that LSF has for it: what the host calls itself may mean
    nothing to others, or 127.0.1.1.
    """
    hosts = hosts_of_job(environment)
    if len(hosts) < plan.nodes:
        raise LaunchError(f"LSF gave this job {len(hosts)} hosts, {plan.nodes} are needed: {' '.join(hosts) or 'none'}")
    # quoted: a shell on each host takes the words apart again
    start = ["bash", shlex.quote(str(script))]
    return [
        ["blaunch", "-z", host, *start, str(number), hosts[0], str(port)]
        for number, host in enumerate(hosts[: plan.nodes])
    ]


_WORDS = {"mpirun": _mpirun, "srun": _srun, "jsrun": _jsrun}
