"""Carry out a run: hold its lease, start its ranks, survive them, publish what came out. Standard library only."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import lease
from ..cluster.launchers import LaunchPlan
from ..cluster.walltime import job_id
from ..records import StateFolder, read_json, read_lines, write_json
from ..study.run import canonical_json
from . import attempts
from .last_word import await_word
from .memory_text import advice_lines
from .processes import Ranks, run_ranks
from .provenance import image_facts
from .publish import publish
from .signals import DUPLICATE_EXIT_CODE, PAUSED_EXIT_CODE, Stop

WAIT_SEC = 45.0
"""For a copy that an earlier Snakemake left behind."""
POLL_SEC = 0.5


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
    plan: LaunchPlan
    settings: Mapping[str, Any]
    """Placement, handed to the trainer."""
    ends: float | None
    """When the batch job that this is in will be killed, Unix time; None where nobody will."""
    margin_sec: float
    """The ranks have to have paused so long before that."""

    @property
    def margin(self) -> float:
        """Seconds before the end of the job at which the ranks have to have paused.

        What the site says, and four times more after each attempt in a row that lost its work to the walltime: its
        validation, or its way to a checkpoint, took longer. Never more than half of the time that is left.
        """
        lost = itertools.takewhile(attempts.lost_to_walltime, reversed(read_lines(self.state.attempts)))
        return min(self.margin_sec * 4 ** len([*lost]), max(self.margin_sec, (self.ends - time.time()) / 2))


def carry_out(launch: Launch, stop: Stop, ranks: Ranks | None = None) -> int:
    """Train unless there is an outcome, then publish; `ranks` need not be started cold.

    Returns the exit code: 0 with an outcome or a recorded failure, 75 when another attempt is to follow, 73 when
    another copy of the run is alive: nothing was touched then.
    """
    try:
        held = _hold(launch, stop)
    except lease.LeaseHeldError as error:
        job = f", job {error.holder['job_id']}" if error.holder.get("job_id") else ""
        _say(f"{launch.run_id}: duplicate: another copy trains it, {error}{job}; nothing was touched")
        return DUPLICATE_EXIT_CODE
    with held:
        _claim(launch)
        if _is_to_be_tried(launch.state):
            if (state := _attempt(launch, held, stop, ranks)) == "duplicate":
                return DUPLICATE_EXIT_CODE
            if state == "paused":
                return PAUSED_EXIT_CODE
        publish(launch.run_id, launch.content, launch.state, launch.published)
    return 0


def _hold(launch: Launch, stop: Stop) -> lease.Lease:
    """Take the run's lease; raises LeaseHeldError where another copy lives.

    On a machine of its own this waits a while for that copy to end; the nodes of a batch job are not kept waiting.
    """
    job = job_id(os.environ)
    give_up = time.monotonic() + (0 if job else WAIT_SEC)
    while True:
        try:
            return lease.acquire(launch.state.lease, {"run": launch.run_id, "job_id": job})
        except lease.LeaseHeldError:
            if time.monotonic() >= give_up or stop.requested:
                raise
        time.sleep(POLL_SEC)


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


def _is_to_be_tried(state: StateFolder) -> bool:
    """Whether the run has no outcome, and was not given up because of the attempt that was lost just now."""
    lost = attempts.record_lost(state)
    return not state.outcome.exists() and not (lost and lost["state"] == "failed")


def _attempt(launch: Launch, held: lease.Lease, stop: Stop, ranks: Ranks | None) -> str:
    """Start all ranks, wait for them, record how it ended, and return the state of the attempt."""
    state, plan = launch.state, launch.plan
    facts = {"image": _image(launch)} if plan.container else {}
    facts |= {"is_warm": True} if ranks else {}
    place = {"nodes": plan.nodes, "ranks": plan.ranks, "gpus": plan.gpus_per_node}
    deadline = launch.ends and launch.ends - launch.margin
    attempt = attempts.begin(state, **place, deadline=deadline, lease=held.path, **facts)
    kill_at = launch.ends and launch.ends - launch.margin_sec / 4
    exited = run_ranks(plan, _command(launch), state, stop=stop, kill_at=kill_at, ranks=ranks)
    if not lease.is_current(held.path):  # suspended for so long that another copy took over: the state is not ours now
        _say(f"{launch.run_id}: duplicate: another copy took over from this one")
        return "duplicate"
    if plan.launcher != "local":
        await_word(state)
    record = attempts.end(state, attempt, exited, launch.settings)
    if record["failure"]:
        _say(f"{launch.run_id}: {record['failure_class']}: {record['failure']}; see {state.log(record['rank'] or 0)}")
        for line in advice_lines(record.get("advice", [])):
            _say(f"  {line}")
    if record["state"] == "paused":
        _say(f"{launch.run_id}: paused at step {record['steps_done']}; the same command goes on")
    return record["state"]


def _image(launch: Launch) -> dict[str, Any]:
    """What the ranks run in; digests are kept for all runs of the study."""
    return image_facts(Path(launch.plan.container.image), launch.state.path.parents[1] / "images.json")


def _command(launch: Launch) -> list[str]:
    """Words of one rank behind the name of the interpreter."""
    train = Path(__file__).resolve().parents[2] / "train.py"
    paths = {"state": launch.state.path.resolve(), "index": launch.index.resolve(), "root": launch.root.resolve()}
    options = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    return [str(train), "--run", launch.run_id, *options, "--settings", json.dumps(dict(launch.settings))]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
