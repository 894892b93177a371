"""The fork of the warm process that carries one run out: what train_run.py is where nothing is warm."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import NoReturn

from ...cluster.launchers import LaunchPlan
from ..exits import exit_code_of
from ..signals import Stop, stop_on_signals
from .forked import become, close_all_but
from .origin import Origin
from .ranks import WarmRanks
from .wire import ENDED, REFUSED, STARTED, is_ours, receive_request, signal_when_heard_of

REQUEST_SEC = 10.0
"""For a client to say what it wants."""


def answer(connection: socket.socket, origin: Origin) -> NoReturn:
    """Carry out the run that a client asks for as its own process would, tell it how that ended, and end."""
    connection.settimeout(REQUEST_SEC)
    if not is_ours(connection):
        os._exit(1)
    request, (folder, *streams, lifeline) = receive_request(connection, 5)
    if different := origin.differences(request["surroundings"], request["environment"]):
        _say_cold(1, request["words"], different)
        connection.sendall(f"{REFUSED}\n".encode())
        os._exit(0)
    connection.settimeout(None)
    os.setpgid(0, request["group"])  # what a terminal sends to the client comes here as well
    os.fchdir(folder)
    log = os.dup(1)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    close_all_but({0, 1, 2, log, lifeline, connection.fileno(), *origin.files})
    become(request["words"], request["environment"])
    stop = stop_on_signals()
    if signal_when_heard_of(lifeline, signal.SIGKILL):
        os._exit(1)  # the client did not wait
    signal_when_heard_of(connection.fileno(), signal.SIGTERM)
    connection.sendall(f"{STARTED}\n".encode())
    code = exit_code_of(lambda: _carry_out(stop, origin, log))
    connection.sendall(f"{ENDED} {code}\n".encode())
    os._exit(code)


def _say_cold(log: int, words: list[str], different: list[str]) -> None:
    run = words[words.index("--run") + 1] if "--run" in words else "a run"
    os.write(log, f"{run} starts cold: other {', '.join(different)}\n".encode())


def _carry_out(stop: Stop, origin: Origin, log: int) -> int:
    from ..run_command import carry_out_as_told

    def ranks_of(plan: LaunchPlan) -> WarmRanks | None:
        if different := origin.misfits(plan):
            _say_cold(log, sys.argv, different)
            return None
        return WarmRanks(origin, plan.ranks)

    return carry_out_as_told(stop, ranks_of)
