"""By which address other hosts reach this one. Standard library only."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from contextlib import suppress
from pathlib import Path

SIOCGIFFLAGS, SIOCGIFADDR = 0x8913, 0x8915
UP, LOOPBACK = 0x1, 0x8
"""Flags of a network interface (Linux)."""


def leads_away(name: str) -> bool:
    """Whether a host's name is known here, and not as this host itself: Debian calls its own name 127.0.1.1."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    address = found[0][4][0].partition("%")[0]
    return not ipaddress.ip_address(address).is_loopback


def networks() -> dict[str, str]:
    """{interface: IPv4 address of this host there}, that of the default route first, then those of devices.

    Without loopback, and without addresses that lead to the next hop only, as those of a management controller.
    """
    found: dict[str, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for name in sorted((name for _, name in socket.if_nameindex()), key=_rank):
            with suppress(OSError):  # it has no address
                request = struct.pack("256s", name.encode())
                flags = struct.unpack_from("H", fcntl.ioctl(probe, SIOCGIFFLAGS, request), 16)[0]
                if flags & UP and not flags & LOOPBACK:
                    found[name] = socket.inet_ntoa(fcntl.ioctl(probe, SIOCGIFADDR, request)[20:24])
    return {name: address for name, address in found.items() if not ipaddress.ip_address(address).is_link_local}


def _rank(interface: str) -> tuple[bool, bool]:
    """The smaller, the likelier that other hosts are there: bridges of containers have no device."""
    return interface != _of_default_route(), not Path(f"/sys/class/net/{interface}/device").exists()


def _of_default_route() -> str | None:
    """Interface of what goes anywhere; None where nothing does."""
    with suppress(OSError):
        rows = (line.split() for line in Path("/proc/net/route").read_text().splitlines())
        return next((row[0] for row in rows if row[1] == "00000000"), None)
    return None
