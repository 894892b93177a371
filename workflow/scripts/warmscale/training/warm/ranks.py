"""Ranks that are forked from the warm process: waiting until they are told what to be. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..exits import exit_as
from ..signals import die_with_parent
from .forked import become, close_all_but, fork
from .origin import Origin


class WarmRanks:
    """The ranks of a run, forked before this process has threads of its own."""

    def __init__(self, origin: Origin, ranks: int):
        self._origin = origin
        self._waiting = [WarmRank(origin) for _ in range(ranks)]

    def start(self, rank: int, environment: Mapping[str, str], command: Sequence[str], log: Path) -> WarmRank:
        """Let a rank begin with the command and variables that its script would be started with."""
        self._waiting[rank].begin(self._origin.of_rank(environment), command, log)
        return self._waiting[rank]


class WarmRank:
    """A child of this process that becomes a rank; to be looked at as a subprocess.Popen is."""

    def __init__(self, origin: Origin):
        told, self._tell = os.pipe()
        parent = os.getpid()
        self.pid = fork(lambda: _wait(told, parent, origin))
        self.returncode: int | None = None
        self._asking = threading.Lock()
        os.close(told)

    def begin(self, environment: Mapping[str, str], command: Sequence[str], log: Path) -> None:
        """Tell it what to be."""
        request = {"environment": dict(environment), "command": list(command), "log": str(log)}
        with contextlib.suppress(BrokenPipeError), os.fdopen(self._tell, "w") as pipe:  # it was killed meanwhile
            json.dump(request, pipe)

    def poll(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        if self._asking.acquire(blocking=False):  # else this is a signal handler, and who asks already will know
            try:
                self._ask(os.WNOHANG)
            finally:
                self._asking.release()
        return self.returncode

    def wait(self) -> int:
        """The same, once it has ended."""
        with self._asking:
            self._ask(0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Signal it if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _ask(self, options: int) -> None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)


def _wait(told: int, parent: int, origin: Origin) -> NoReturn:
    """Become a rank when told; end when the parent does."""
    die_with_parent(parent)
    close_all_but({0, 1, 2, told, *origin.files})
    with os.fdopen(told) as pipe:
        text = pipe.read()
    if not text:  # there was nothing to train
        os._exit(0)
    _train(json.loads(text))


def _train(request: Mapping[str, Any]) -> NoReturn:
    """What a rank's script does after its interpreter has started."""
    with open(os.devnull) as nothing, open(request["log"], "a") as log:
        for file, number in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(file.fileno(), number)
    become(request["command"], request["environment"])
    import train  # the program that launchers start; the warm process has imported it

    exit_as(train.main)
