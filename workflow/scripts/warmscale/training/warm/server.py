"""The warm process: imports once what every rank imports, then forks for each client. It trains nothing itself."""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from .forked import fork
from .origin import Origin
from .runner import answer

LOOK_SEC = 1.0
"""Forks that have ended are left lying for so long."""


def serve(listener: socket.socket, lifeline: int, script: str, surroundings: Mapping[str, Any]) -> int:
    """Serve until the process at the other end of the lifeline ends; the exit code."""
    started_with, began_with, files = json.loads(_first_line(lifeline)), dict(os.environ), _open_files()
    import_all()
    if why := why_unsafe():
        print(f"cannot be forked safely: {why}; runs start cold", file=sys.stderr)
        return 1
    origin = Origin(
        script=script,
        started_with=started_with,
        began_with=began_with,
        environment=dict(os.environ),
        surroundings=surroundings,
        # DeepSpeed's question to the compiler leaves a copy of standard error behind
        files=frozenset(file for file in _open_files() - files if not os.path.sameopenfile(file, 2)),
    )
    gc.collect()
    gc.freeze()  # what is there now is garbage in no fork
    print("warm", flush=True)
    # nothing is ever said after the first line
    while lifeline not in (ready := select.select([listener, lifeline], [], [], LOOK_SEC)[0]):
        if ready:
            connection, _ = listener.accept()
            with connection:
                fork(partial(answer, connection, origin))
        _reap()
    return 0


def import_all() -> None:
    """Import what runs and ranks import, also what they do only when they build an engine and an optimizer."""
    import deepspeed.ops
    import torch._dynamo  # by the first optimizer: 1.6 s

    import train
    import train_run

    from .. import deepspeeds, rank_main, run_command

    # its first look, by the first engine, asks the compiler for libraries and imports setuptools
    _ = deepspeed.ops.__compatible_ops__, torch._dynamo, train, train_run, deepspeeds, rank_main, run_command


def why_unsafe() -> str | None:
    """What a fork would not have, or would share: nothing, unless an import has done what imports should not."""
    import torch

    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        return f"{threads} threads"
    if torch.cuda.is_initialized():
        return "CUDA is initialised"
    return "a process group is there" if torch.distributed.is_initialized() else None


def _first_line(file: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(file, 2**16)
        if not part:
            sys.exit("nobody is there")
        line += part
    return line


def _open_files() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
