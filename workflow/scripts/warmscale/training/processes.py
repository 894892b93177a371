"""The processes of an attempt: started here or through a launcher, asked to stop, waited for. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from ..cluster.gpus import NoGpuError, reserved
from ..cluster.launchers import LaunchError, LaunchPlan, launch_commands, rank_script
from ..cluster.lsf import hosts_of_job
from ..cluster.ports import PortError, reserved_port
from ..records import StateFolder, write_atomic, write_json
from .attempts import Exit
from .memory import killed_for_memory, oom_kills, tells_of_memory
from .signals import LAUNCHER_PID, PAUSED_EXIT_CODE, Stop, end_with_parent, send_to_all

GRACE_SEC = 10.0
"""For ranks to end by themselves after another one failed: the reason that they leave is worth waiting for."""
LAUNCHER_GRACE_SEC = 60.0
"""For launchers to end after one of them failed, or after a rank left a reason to give up."""
END_SEC = 3.0
"""From being asked to end to being killed."""
POLL_SEC = 0.05


class Process(Protocol):
    """What is known of a process: that much of a subprocess.Popen."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self) -> int: ...
    def send_signal(self, number: signal.Signals) -> None: ...


class Ranks(Protocol):
    """Ranks of launcher `local` that need not be started cold."""

    def start(self, rank: int, environment: Mapping[str, str], command: Sequence[str], log: Path) -> Process:
        """Let a rank begin; its script would be started with these variables, and run this command in the end."""


def run_ranks(
    plan: LaunchPlan,
    command: Sequence[str],
    state: StateFolder,
    *,
    stop: Stop,
    kill_at: float | None,
    ranks: Ranks | None = None,
) -> Exit:
    """Start all ranks, pass requests to stop on, and wait; what still runs at `kill_at` (Unix time) is killed."""
    devices, port = {}, None
    try:
        with contextlib.ExitStack() as held:
            if plan.shares_node and plan.gpus_per_node:
                gpus = held.enter_context(reserved(plan.gpus_per_node, os.environ, give_up=lambda: stop.requested))
                devices = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
            if plan.launcher == "blaunch":
                port = held.enter_context(reserved_port())
            return _run(plan, command, state, stop, kill_at, ranks, devices, port)
    except (NoGpuError, PortError) as error:
        write_json(state.failure, {"failure_class": "config", "failure": str(error), "rank": None})
        return Exit([], {}, stop.requested, timed_out=False, lacked_memory=False, lost_host=None, last_words="")


def _run(
    plan: LaunchPlan,
    command: Sequence[str],
    state: StateFolder,
    stop: Stop,
    kill_at: float | None,
    ranks: Ranks | None,
    devices: dict[str, str],
    port: int | None,
) -> Exit:
    write_atomic(state.rank_script, rank_script(plan, command))
    kills_before = oom_kills()
    state.launcher_log.parent.mkdir(parents=True, exist_ok=True)
    log_before = state.launcher_log.stat().st_size if state.launcher_log.exists() else 0
    processes: list[Process] = []

    def pass_on() -> None:
        with contextlib.suppress(OSError):  # of a signal handler nobody would know what to do
            state.stop.touch()  # reaches the ranks through any launcher
        if plan.launcher == "local":
            send_to_all(processes, signal.SIGTERM)

    stop.pass_on = pass_on
    try:
        for start in _starts(plan, command, state, ranks, devices, port):
            processes.append(start())
    except (LaunchError, FileNotFoundError) as error:
        write_json(state.failure, {"failure_class": "config", "failure": _why_not(error), "rank": None})
    if stop.requested:  # before, or in between: some have not heard of it
        pass_on()
    local = plan.launcher == "local"
    died, timed_out, first = _wait(processes, kill_at, state.failure, GRACE_SEC if local else LAUNCHER_GRACE_SEC)
    stop.pass_on = None
    said = _added(state.launcher_log, log_before)
    # the counter may be the whole machine's: only a rank that was killed so can have been meant
    killed = signal.SIGKILL in died.values() and killed_for_memory(kills_before, oom_kills())
    return Exit(
        codes=[process.returncode for process in processes],
        died=died if local else {},
        stop_requested=stop.requested or state.stop.exists(),  # the shell of a job leaves word there too
        timed_out=timed_out,
        lacked_memory=killed if local else tells_of_memory(said) and any(process.returncode for process in processes),
        lost_host=hosts_of_job(os.environ)[first] if plan.launcher == "blaunch" and first is not None else None,
        last_words=(said.strip().splitlines() or ["nothing was said"])[-1].strip(),
    )


def _starts(
    plan: LaunchPlan,
    command: Sequence[str],
    state: StateFolder,
    ranks: Ranks | None,
    devices: dict[str, str],
    port: int | None,
) -> Iterator[Callable[[], Process]]:
    """What starts each process: one a rank, or a launcher, with blaunch one a host."""
    if plan.launcher != "local":
        # a session of its own: what a terminal sends goes to the parent, which asks for a pause in its own way
        for words in launch_commands(plan, state.rank_script.resolve(), os.environ, port):
            yield partial(_start, words, state, dict(os.environ), session=True)
        return
    for rank in range(plan.ranks):
        environment = {
            **os.environ,
            **devices,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(plan.ranks),
            **({} if plan.container else {LAUNCHER_PID: str(os.getpid())}),
            **({"WARMSCALE_PROGRESS_BAR": "1"} if rank == 0 and sys.stderr.isatty() else {}),
        }
        if ranks:
            yield partial(ranks.start, rank, environment, command, state.launcher_log)
        else:
            yield partial(_start, ["bash", str(state.rank_script)], state, environment)


def _why_not(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} is not on the PATH of {socket.gethostname()}: `setup` in the site file may load it"
    return str(error)


def _start(
    words: list[str], state: StateFolder, environment: dict[str, str], *, session: bool = False
) -> subprocess.Popen:
    with state.launcher_log.open("a") as log:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=session,
            preexec_fn=end_with_parent,
        )


def _wait(
    processes: Sequence[Process], kill_at: float | None, failure: Path, grace_sec: float
) -> tuple[dict[int, int], bool, int | None]:
    """Wait for all; return {rank: signal} of those that were killed, not from here, whether time ran out, and which one
    failed before all others, None where that cannot be told.

    When one fails, the others get `grace_sec` to end before they are killed. Behind a launcher the reason that a rank
    leaves may be all that tells of that, and the launcher's own part on another host may wait for the rest for long.
    """
    deadline, failed = None, []
    while None in [process.poll() for process in processes]:
        failed = failed or _failed(processes)
        if deadline is None and (failed or failure.exists()):
            deadline = time.monotonic() + (grace_sec if failed else LAUNCHER_GRACE_SEC)
        timed_out = kill_at is not None and time.time() > kill_at
        if timed_out or (deadline and time.monotonic() > deadline):
            died = _died(processes)
            _end(processes)
            return died, timed_out, _only(failed)
        time.sleep(POLL_SEC)
    return _died(processes), False, _only(failed or _failed(processes))


def _failed(processes: Sequence[Process]) -> list[int]:
    """Places of those that have ended, and neither well nor paused."""
    return [place for place, process in enumerate(processes) if process.returncode not in (None, 0, PAUSED_EXIT_CODE)]


def _only(places: Sequence[int]) -> int | None:
    return places[0] if len(places) == 1 else None


def _end(processes: Sequence[Process]) -> None:
    """End what still runs: politely first, because a launcher that is killed leaves its ranks behind."""
    send_to_all(list(processes), signal.SIGTERM)
    deadline = time.monotonic() + END_SEC
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL_SEC)
    send_to_all(list(processes), signal.SIGKILL)
    for process in processes:
        process.wait()


def _added(log: Path, before: int) -> str:
    """What was added to a log since it had a size."""
    with log.open("rb") as file:
        file.seek(before)
        return file.read().decode(errors="replace")


def _died(processes: Sequence[Process]) -> dict[int, int]:
    return {rank: -process.returncode for rank, process in enumerate(processes) if (process.poll() or 0) < 0}
