"""Start the ranks of a run, survive them, and leave an outcome or a failure with its class. Standard library only."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..records import StateFolder, append_line, read_json, read_lines, write_json
from ..study.run import canonical_json
from .publish import publish
from .signals import LAUNCHER_PID, PAUSED_EXIT_CODE, Stop, forwarding_stops, stop_all

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
GRACE_SEC = 10.0
"""For ranks to end by themselves after another one failed: the reason that they leave is worth waiting for."""
POLL_SEC = 0.05


@dataclass(frozen=True)
class Launch:
    """What to start."""

    run_id: str
    content: Mapping[str, Any]
    state: StateFolder
    published: Path
    """Folder of the run's published files."""
    index: Path
    root: Path
    ranks: int
    threads: int
    """Threads of each rank."""
    settings: Mapping[str, Any]
    """Placement, handed to the trainer."""


def carry_out(launch: Launch) -> int:
    """Train unless there is an outcome, then publish; exit code 0 with an outcome or a recorded failure, else 75."""
    _claim(launch)
    _record_lost_attempt(launch.state)
    if not launch.state.outcome.exists():
        attempt = _attempt(launch)
        if attempt["state"] == "paused":
            print(f"{launch.run_id}: paused at step {attempt['steps_done']}; the same command goes on", file=sys.stderr)
            return PAUSED_EXIT_CODE
    publish(launch.run_id, launch.content, launch.state, launch.published)
    return 0


def _claim(launch: Launch) -> None:
    """Make the state folder this content's; raises RuntimeError where it is another's."""
    owner = read_json(launch.state.content)
    if owner is None:
        write_json(launch.state.content, launch.content)
    elif canonical_json(owner) != canonical_json(launch.content):
        raise RuntimeError(
            f"{launch.state.path} holds the training of another content; its run id should not be {launch.run_id}: "
            f"move that folder away"
        )


def _attempt(launch: Launch) -> dict[str, Any]:
    """Start all ranks, wait for them, and record how it ended."""
    launch.state.failure.unlink(missing_ok=True)
    started = {
        "number": len(read_lines(launch.state.attempts)) + 1,
        "started": time.time(),
        "host": socket.gethostname(),
        "world_size": launch.ranks,
        "steps_before": _steps_done(launch.state),
    }
    write_json(launch.state.attempt, started)
    with tempfile.TemporaryDirectory(prefix="warmscale-") as folder:
        processes: list[subprocess.Popen] = []
        with forwarding_stops(processes) as stop:
            for rank in range(launch.ranks):
                processes.append(_start_rank(launch, rank, Path(folder) / "meeting"))
            if stop.requested:  # in between: some ranks have not heard of it
                stop_all(processes)
            died_first = _wait(processes)
    record = {
        **started,
        "ended": time.time(),
        "steps_done": _steps_done(launch.state),
        **_ending(launch.state, [process.returncode for process in processes], died_first, stop),
    }
    append_line(launch.state.attempts, record)
    launch.state.attempt.unlink()
    if record["state"] == "failed":
        print(
            f"{launch.run_id}: {record['failure_class']}: {record['failure']}; see {launch.state.log(0)}",
            file=sys.stderr,
        )
    return record


def _record_lost_attempt(state: StateFolder) -> None:
    """Give an attempt whose launcher was killed its line: it ended when it was last heard of."""
    lost = read_json(state.attempt)
    if lost is None:
        return
    heard = (read_json(state.progress) or {}).get("time", 0.0)
    ending = {"state": "killed", "failure_class": None, "failure": None}
    ended = {"ended": max(heard, lost["started"]), "steps_done": _steps_done(state)}
    if lost["number"] > len(read_lines(state.attempts)):
        append_line(state.attempts, {**lost, **ended, **ending})
    state.attempt.unlink()


def _start_rank(launch: Launch, rank: int, meeting: Path) -> subprocess.Popen:
    log = launch.state.log(rank)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(launch.ranks),
        "WARMSCALE_MEETING_FILE": str(meeting),
        "OMP_NUM_THREADS": str(launch.threads),
        LAUNCHER_PID: str(os.getpid()),
    }
    if rank == 0 and sys.stderr.isatty():
        environment["WARMSCALE_PROGRESS_BAR"] = "1"
    with log.open("a") as file:
        return subprocess.Popen(_command(launch), stdout=file, stderr=subprocess.STDOUT, env=environment)


def _command(launch: Launch) -> list[str]:
    """Command line of one rank."""
    paths = {"state": launch.state.path, "index": launch.index, "root": launch.root}
    options = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    return [
        sys.executable,
        str(TRAIN),
        "--run",
        launch.run_id,
        *options,
        "--settings",
        json.dumps(dict(launch.settings)),
    ]


def _wait(processes: Sequence[subprocess.Popen]) -> list[int]:
    """Wait for all ranks, and return those that died by a signal before any was killed from here.

    When one fails, the others get a while to end before they are killed.
    """
    deadline = None
    while any(process.poll() is None for process in processes):
        failed = any(process.returncode not in (None, 0, PAUSED_EXIT_CODE) for process in processes)
        deadline = deadline or (time.monotonic() + GRACE_SEC if failed else None)
        if deadline and time.monotonic() > deadline:
            died = _died(processes)
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()
            return died
        time.sleep(POLL_SEC)
    return _died(processes)


def _died(processes: Sequence[subprocess.Popen]) -> list[int]:
    return [rank for rank, process in enumerate(processes) if (process.poll() or 0) < 0]


def _ending(state: StateFolder, codes: Sequence[int], died: Sequence[int], stop: Stop) -> dict[str, Any]:
    """State of the run after an attempt, with class and reason of a failure."""
    if outcome := read_json(state.outcome):
        return {"state": outcome["state"], "failure_class": None, "failure": None}
    reason = read_json(state.failure)
    if all(code == PAUSED_EXIT_CODE for code in codes) or (stop.requested and not reason):
        return {"state": "paused", "failure_class": None, "failure": None}
    if died:  # what the other ranks say then, follows from it
        killed = ", ".join(f"rank {rank} by {signal.Signals(-codes[rank]).name}" for rank in died)
        return {"state": "failed", "failure_class": "unknown", "failure": f"killed: {killed}"}
    if reason:
        return {"state": "failed", **reason}
    return {"state": "failed", "failure_class": "unknown", "failure": f"ranks ended with exit codes {list(codes)}"}


def _steps_done(state: StateFolder) -> int:
    """Updates in the newest checkpoint or in the outcome."""
    latest = read_json(state.outcome) or read_json(state.checkpoints / "latest.json") or {}
    return latest.get("steps_done", latest.get("step", 0))
