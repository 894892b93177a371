"""Handing a run over to the warm process, where there is one. Standard library only: this is all that a job starts."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..signals import Stop
from .wire import ADDRESS, ENDED, STARTED, is_ours, send_request

PATIENCE_SEC = 120.0
"""For the warm process to have imported everything: a cold start would import the same."""


def hand_over(words: Sequence[str], stop: Stop, surroundings: Mapping[str, Any] | None) -> int | None:
    """Have a run carried out by a fork of the warm process; the exit code, None where it has to be done here.

    This process stands for the fork: what it is asked is passed on, and the fork is killed when it ends.
    """
    name = os.environ.pop(ADDRESS, None)
    if not name or surroundings is None:
        return None
    environment = dict(os.environ)
    request = {"words": list(words), "environment": environment, "group": os.getpgrp(), "surroundings": surroundings}
    folder, (held, lifeline) = os.open(".", os.O_RDONLY), os.pipe()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_SEC)
            connection.connect(f"\0{name}")
            if not is_ours(connection):
                return None
            send_request(connection, request, [folder, 0, 1, 2, held])
            return _follow(connection, stop)
    except OSError:  # it has ended, or hangs
        return None
    finally:
        for file in (folder, held, lifeline):  # the last one at the end: the fork does not outlive it
            os.close(file)


def _follow(connection: socket.socket, stop: Stop) -> int | None:
    """Wait for the fork to start, then to end; None where it did not start."""

    def pass_on() -> None:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            connection.send(b"\n")

    with connection.makefile("r") as told:
        if not told.readline().startswith(STARTED):
            return None
        connection.settimeout(None)
        stop.pass_on = pass_on
        if stop.requested:
            pass_on()
        try:
            last = told.readline().split()
        except OSError:  # it was killed after it had been asked something
            last = []
        stop.pass_on = None
    if last and last[0] == ENDED:
        return int(last[1])
    print("the process that carried the run out was killed; the next start goes on", file=sys.stderr)
    return 1
