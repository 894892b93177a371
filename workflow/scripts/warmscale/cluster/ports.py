"""A port of this host that is one run's alone. Standard library only."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

PORTS = range(20_000, 32_000)
"""Below those that Linux gives away by itself a moment later."""


class PortError(RuntimeError):
    """A host without a free port, said in one line."""


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A port that nobody uses, and that no other run gets, whosever it is, as long as the block lasts.

    The kernel gives the name that goes with a port to one process of the host, and takes it back when that ends. So a
    port is a run's own before a program listens there.
    """
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket(socket.AF_UNIX) as claim:
            try:
                claim.bind(f"\0warmscale-port-{port}")
                with socket.socket() as probe:
                    probe.bind(("", port))
            except OSError:
                continue
            yield port
            return
    raise PortError(f"{socket.gethostname()} has no free port from {PORTS.start} to {PORTS.stop - 1}")
