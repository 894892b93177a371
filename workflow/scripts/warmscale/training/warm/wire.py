"""What a client and the fork that carries its run out say to each other, on this machine. Standard library only.

The name of the socket is in the abstract space of Linux: no file that could be stale, too long or another user's, and
it is gone with the last process that listens. Only the same user may connect, whoever knows the name.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import select
import signal
import socket
import struct
from typing import Any

ADDRESS = "WARMSCALE_WARM_PROCESS"
"""Variable with the name of the socket."""
STARTED, REFUSED, ENDED = "started", "refused", "ended"
"""First words of what the fork says."""
_LENGTH = struct.Struct("<Q")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_F_SETSIG = 10  # of Linux; module fcntl does not name it
MOST_BYTES = 64 * 2**20


def is_ours(connection: socket.socket) -> bool:
    """Whether the process at the other end is of the same user."""
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(told)[1] == os.getuid()


def send_request(connection: socket.socket, request: Any, files: list[int]) -> None:
    """Send JSON, and open files with its first bytes."""
    text = json.dumps(request).encode()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))
    connection.sendmsg([_LENGTH.pack(len(text))], [rights])
    connection.sendall(text)


def receive_request(connection: socket.socket, files: int) -> tuple[Any, list[int]]:
    """What `send_request` sent with so many files; raises OSError or ValueError where it is something else."""
    head, received, _, _ = socket.recv_fds(connection, _LENGTH.size, files)
    if len(head) != _LENGTH.size or len(received) != files or _LENGTH.unpack(head)[0] > MOST_BYTES:
        raise ValueError("not a request")
    left, parts = _LENGTH.unpack(head)[0], []
    while left:
        part = connection.recv(min(left, 2**20))
        if not part:
            raise ValueError("a request that was cut off")
        parts.append(part)
        left -= len(part)
    return json.loads(b"".join(parts)), received


def signal_when_heard_of(file: int, number: signal.Signals) -> bool:
    """Have the kernel send this process a signal when something comes, or the other end is closed; True if it was.

    What a parent's death is to its child (PR_SET_PDEATHSIG), whatever this process is doing then.
    """
    fcntl.fcntl(file, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(file, _F_SETSIG, number)
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(file, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))
