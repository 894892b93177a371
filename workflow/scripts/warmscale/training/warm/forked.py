"""Making a fork what a new process would be. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence

from ..signals import STOP_SIGNALS


def fork(child: Callable[[], None]) -> int:
    """Fork without threads; the child does what it is given and ends. Requests to stop wait until it can heed them."""
    sys.stdout.flush()
    sys.stderr.flush()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return pid


def close_all_but(files: Collection[int]) -> None:
    """Close all other files of this process, which are the parent's."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in files:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(int(name))


def become(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Take on the command line, variables and signals of a program of Python that starts."""
    sys.argv[:] = words
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # it depends on them
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if numpy := sys.modules.get("numpy"):  # Python's own generator is seeded anew by itself
        numpy.random.seed()
