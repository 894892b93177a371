"""A real Slurm for the tests: two nodes of two CPUs on this machine, without systemd, cgroups or accounting."""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import shutil
import signal
import socket
import string
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo", "squeue", "setpriv")
NODES = ("node01", "node02")
CLIENTS = ("sbatch", "srun", "scancel", "scontrol", "sinfo", "squeue", "sacct", "sacctmgr", "sshare")
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
"""Debian keeps the daemons where the PATH of ordinary users does not lead."""
START_SEC = 60
"""Two seconds on a quiet machine."""
CONFIG = string.Template(
    """\
ClusterName=warmscale
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller_port
SlurmUser=$user
SlurmdUser=$user
AuthInfo=socket=$folder/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldTimeout=30
SlurmdTimeout=30
ReturnToService=2
# nothing that needs cgroups, and no database; pgid makes a step 3 s longer, but linuxproc loses what a shell leaves
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
# both nodes have 2 CPUs, whatever the machine has
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
# a job of `urgent` takes the nodes from those of `main`, which go back into the queue
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=30
MinJobAge=300
# as most sites: what no partition can ever run is refused
EnforcePartLimits=ALL
NodeName=node01 NodeHostname=$host NodeAddr=127.0.0.1 Port=$port1 CPUs=2 RealMemory=4000 Feature=fast
NodeName=node02 NodeHostname=$host NodeAddr=127.0.0.1 Port=$port2 CPUs=2 RealMemory=4000 Feature=fast
PartitionName=main Nodes=ALL PriorityTier=1 DefaultTime=5 MaxTime=60 Default=YES
PartitionName=urgent Nodes=ALL PriorityTier=10 DefaultTime=5 MaxTime=60
"""
)


class SlurmError(RuntimeError):
    """Slurm is installed, but does not do what was asked for."""


def missing() -> str | None:
    """Return why no cluster can be started here, or None."""
    absent = [program for program in PROGRAMS if not shutil.which(program, path=PATH)]
    return f"Slurm's tests need {', '.join(absent)}: apt-get install slurm-wlm munge" if absent else None


class SlurmCluster:
    """Daemons and jobs of one cluster, in a folder of its own and on ports of its own: several run at once."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> SlurmCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, folder: Path | None = None) -> SlurmCluster:
        """Start the daemons and wait for both nodes. Raises SlurmError, with the last lines of the logs."""
        # a socket's path has at most 107 characters: pytest's folders can be too deep
        self.folder = folder or Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.write_clients()
            self.start_munge()
            self.start_controller()
            for node in NODES:
                self.start_node(node)
            self.wait(lambda: self.idle_nodes() == set(NODES), "both nodes", START_SEC)
        except BaseException:
            self.close()
            raise
        return self

    def write_clients(self) -> None:
        """Put commands first on the PATH that know this cluster even without SLURM_CONF, as those of a site do."""
        (self.folder / "bin").mkdir(exist_ok=True)
        # Snakemake's plugin hides SLURM_CONF from the srun of a rule
        for program in filter(lambda name: shutil.which(name, path=PATH), CLIENTS):
            client = self.folder / "bin" / program
            client.write_text(
                f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which(program, path=PATH)} "$@"\n'
            )
            client.chmod(0o755)

    def start_munge(self) -> None:
        """Start the daemon that signs messages, with a key of its own."""
        self.folder.chmod(0o755)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(random.randbytes(128))
        paths = {"socket": "munge", "key-file": "munge.key", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in paths.items()]
        # --force: warns of folders that others may write to, instead of refusing them
        self.start_daemon("munged", "--foreground", "--force", f"--log-file={self.folder}/munge.log", *options)
        self.wait((self.folder / "munge").is_socket, "munged", START_SEC)

    def start_controller(self) -> None:
        """Start slurmctld on the state that is there, if any."""
        state, config = self.folder / "state", self.folder / "slurm.conf"
        state.mkdir(exist_ok=True)
        if not config.exists():
            config.write_text(slurm_config(self.folder))
            # slurmd starts a cgroup plugin even where nothing uses it; v1 alone asks for no mount and no systemd
            (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        # -i: an empty state is no reason to give up
        self.start_daemon("slurmctld", "-D", "-i")
        # the other commands do not return for 9 s and more while it is away
        self.wait(lambda: self.run("scontrol", "ping").returncode == 0, "slurmctld", START_SEC)

    def stop_controller(self) -> None:
        """End slurmctld; jobs and nodes go on, and start_controller() finds them again."""
        end(self.daemons.pop("slurmctld"))

    def start_node(self, node: str) -> None:
        """Start slurmd for one of the nodes."""
        (self.folder / node).mkdir(exist_ok=True)
        self.start_daemon("slurmd", "-D", "-N", node, name=node)

    def start_daemon(self, program: str, *options: str, name: str = "") -> None:
        """Start a daemon that does not outlive this process, not even one killed by SIGKILL."""
        command = ["setpriv", "--pdeathsig", "KILL", program, *options]
        with (self.folder / f"{name or program}.log").open("a") as log:
            self.daemons[name or program] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=self.environment()
            )

    def close(self) -> None:
        """Cancel all jobs, end the daemons, nodes first, and delete the folder. Can be called twice."""
        if not self.folder:
            return
        if {"slurmctld", *NODES} <= self.daemons.keys() - self.dead_daemons():
            self.cancel_all()
        for name in reversed(list(self.daemons)):
            end(self.daemons.pop(name))
        self.kill_leftovers()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = None

    def cancel_all(self) -> None:
        """Cancel every job and wait for the end of its processes: KillWait, 30 s, where they ignore SIGTERM."""
        self.run("scancel", f"--user={getpass.getuser()}")
        deadline = time.monotonic() + 60
        while self.run("squeue", "--noheader").stdout.strip() and time.monotonic() < deadline:
            time.sleep(0.1)

    def kill_leftovers(self) -> None:
        """Kill what is left of jobs and steps: processes in sessions of their own, which only cgroups would find."""
        mark = f"{self.folder}/bin:".encode()
        for environment in Path("/proc").glob("[0-9]*/environ"):
            # the process may be gone, or somebody else's
            with contextlib.suppress(OSError):
                if mark in environment.read_bytes():
                    os.kill(int(environment.parent.name), signal.SIGKILL)

    def environment(self) -> dict[str, str]:
        """Variables of this process for a child that is to use this cluster, and not the one that runs the tests."""
        others = ("SLURM", "SBATCH_", "SRUN_", "SQUEUE_", "SCANCEL_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        return kept | {"SLURM_CONF": f"{self.folder}/slurm.conf", "PATH": f"{self.folder}/bin:{PATH}"}

    def run(self, *command: str, stdin: str = "", timeout_sec: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm, such as `scontrol show job 1`."""
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout_sec, env=self.environment()
        )

    def ask(self, *command: str, stdin: str = "") -> str:
        """Standard output of a command of Slurm; raises SlurmError where it fails."""
        answer = self.run(*command, stdin=stdin)
        if answer.returncode:
            raise SlurmError(f"{' '.join(command)}: {answer.stderr.strip()}\n{self.logs()}")
        return answer.stdout.strip()

    def submit(self, script: str, *options: str) -> str:
        """Submit lines of bash as a job and return its id; what it prints goes to output(job)."""
        log = f"--output={self.folder}/job-%j.txt"
        return self.ask("sbatch", "--parsable", log, *options, stdin=f"#!/bin/bash\n{script}\n")

    def output(self, job: str) -> str:
        """What a submitted job printed so far."""
        log = self.folder / f"job-{job}.txt"
        return log.read_text() if log.exists() else ""

    def state(self, job: str) -> str:
        """State of a job, such as RUNNING or COMPLETED; also of one that ended less than MinJobAge ago."""
        return self.ask("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")

    def wait_for(self, job: str, *states: str, timeout_sec: float = 60) -> str:
        """Wait until a job is in one of the states and return that."""
        self.wait(lambda: self.state(job) in states, f"job {job} to be {' or '.join(states)}", timeout_sec)
        return self.state(job)

    def wait(self, ready: Callable[[], bool], what: str, timeout_sec: float = 60) -> None:
        """Wait until something is true. Raises SlurmError where it takes too long or a daemon died."""
        deadline = time.monotonic() + timeout_sec
        while not ready():
            died = self.dead_daemons()
            if died or time.monotonic() > deadline:
                reason = f"{', '.join(died)} ended" if died else f"not within {timeout_sec:.0f} s"
                raise SlurmError(f"waiting for {what}: {reason}\n{self.logs()}")
            time.sleep(0.05)

    def dead_daemons(self) -> set[str]:
        """Names of the daemons that ended without being asked to."""
        return {name for name, daemon in self.daemons.items() if daemon.poll() is not None}

    def idle_nodes(self) -> set[str]:
        """Names of the nodes that wait for work; none as long as slurmctld does not answer."""
        answer = self.run("sinfo", "--noheader", "--Node", "--states=idle", "--partition=main", "--format=%N")
        return set(answer.stdout.split())

    def logs(self, lines: int = 15) -> str:
        """Last lines of the daemons' logs."""
        ends = [(log.name, log.read_text().splitlines()[-lines:]) for log in sorted(self.folder.glob("*.log"))]
        return "\n".join(f"{name}: {line}" for name, tail in ends for line in tail)


def slurm_config(folder: Path) -> str:
    """Text of slurm.conf for a cluster in this folder, on ports that are free now."""
    controller_port, port1, port2 = free_ports(3)
    return CONFIG.substitute(
        folder=folder,
        host=socket.gethostname().partition(".")[0],
        user=getpass.getuser(),
        controller_port=controller_port,
        port1=port1,
        port2=port2,
    )


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on, below those that the kernel gives to outgoing connections (32768 and up)."""
    ports: list[int] = []
    # not random: hypothesis gives every process the same seed
    for port in random.SystemRandom().sample(range(20_000, 32_000), 200):
        with socket.socket() as probe:
            if len(ports) < number and probe.connect_ex(("127.0.0.1", port)):
                ports.append(port)
    return ports


def end(daemon: subprocess.Popen) -> None:
    """End a process: SIGTERM, SIGKILL after 10 s."""
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(timeout=10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
