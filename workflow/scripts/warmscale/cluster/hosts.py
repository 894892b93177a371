"""Which host this is, and which one an error tells of, in the scheduler's names. Standard library only."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .lsf import hosts_of_job

ADDRESS = re.compile(r"\[(?:\w*:)*(\d+\.\d+\.\d+\.\d+)\](?=:\d)|\b(\d+\.\d+\.\d+\.\d+)<\d+>")
"""IPv4 addresses as gloo and NCCL write those of peers: [10.0.0.7]:4242 and 10.0.0.7<4242>."""
NAMES_SEC = 10.0
"""For looking up the addresses of hosts."""


def own_host(environment: Mapping[str, str]) -> str:
    """What this host is called; LSF's tasks are not told its name, so it may have a domain too much or too little."""
    return environment.get("SLURMD_NODENAME") or socket.gethostname()


def addresses_in(message: str) -> list[str]:
    """Addresses of peers that a library's error names, each once."""
    return list(dict.fromkeys(bracketed or plain for bracketed, plain in ADDRESS.findall(message)))


def host_at_fault(reason: Mapping[str, Any], attempt: Mapping[str, Any], environment: Mapping[str, str]) -> str | None:
    """The host that an attempt of class node or communication failed by; None where that cannot be told.

    That is the only one; or the one on which a rank found its node at fault; or the one that a rank lost contact with,
    where its error names an address, of the rank's own host or of one other. A rank that only lost contact may be on
    any host. `reason` is what that rank left.
    """
    if reason["failure_class"] not in ("node", "communication"):
        return None
    if attempt["nodes"] == 1:
        return attempt.get("node")
    hosts = hosts_of_job(environment)
    reporter = named(reason["host"], hosts) if reason.get("host") else None
    if reason["failure_class"] == "node":
        return reporter
    others = {host for address in reason.get("peers", []) if (host := _host_with(address, hosts)) and host != reporter}
    return others.pop() if len(others) == 1 else None


def named(host: str, hosts: Sequence[str]) -> str:
    """A host as one of these calls it, with or without its domain."""
    return next((known for known in hosts if known == host or _label(known) == _label(host)), host)


def _label(host: str) -> str:
    """The name without its domain; an address has none."""
    return host if re.fullmatch(r"[\d.]+", host) else host.partition(".")[0]


def _host_with(address: str, hosts: Sequence[str]) -> str | None:
    """Which of some hosts has an address; that of a second network is often called as the host is, and -ib0.

    None where names are not told in time: whoever asks has an end to record.
    """
    give_up = time.monotonic() + NAMES_SEC
    for host in hosts:
        if time.monotonic() > give_up:
            return None
        with contextlib.suppress(OSError):
            if address in socket.gethostbyname_ex(host)[2]:
                return host
    with contextlib.suppress(OSError):
        name = _label(socket.gethostbyaddr(address)[0])
        return next((host for host in hosts if name == _label(host) or name.startswith(f"{_label(host)}-")), None)
    return None
