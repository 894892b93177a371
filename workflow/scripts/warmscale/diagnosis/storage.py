"""The folder of results: can it be written, is it shared, has it room for the study. Standard library only.

What a study needs, for `Need`: a run that trains has up to three checkpoints at a time (the newest, its predecessor,
and one that is being written), each with the weights, what the optimizer remembers of them, and a file a rank; a
finished run that keeps its weights has two of them. Rows, logs and records are about a MiB a run.
"""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .findings import Lines, fail, ok, size, warn

MOUNTS = Path("/proc/self/mountinfo")
PROBE_BYTES = 4 * 2**20
IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")
SHARED = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "afs", "panfs", "wekafs", "9p", "pvfs2")
CHECKPOINTS_TRAINING = 3
CHECKPOINTS_KEPT = 2
FILES_OF_RUN = 25
"""Published files, records, lease and log of its job."""
FILES_OF_CHECKPOINT = 6
ROWS_BYTES = 2**20
WHAT_TO_DO = {
    errno.ENOSPC: "delete something (`df` and `df -i` tell what is full), or set `results` in site.yaml",
    errno.EDQUOT: "your quota is used up: delete something, or set `results` in site.yaml",
    errno.EROFS: "login nodes may write elsewhere only: set `results` in site.yaml",
}


@dataclass(frozen=True)
class Need:
    """What a study takes up at its height."""

    bytes: int
    files: int


def need_of(*, runs: int, at_a_time: int, ranks: int, checkpoint_bytes: int, keep_weights: bool) -> Need:
    """Estimate, see above; `ranks` of the largest run, `at_a_time` runs that train together."""
    training = min(runs, at_a_time)
    checkpoints = CHECKPOINTS_TRAINING * training + (CHECKPOINTS_KEPT * (runs - training) if keep_weights else 0)
    return Need(
        bytes=checkpoints * checkpoint_bytes + runs * ROWS_BYTES,
        files=checkpoints * (FILES_OF_CHECKPOINT + ranks) + runs * (FILES_OF_RUN + ranks),
    )


def writable(folder: Path) -> Lines:
    """Write, read back and delete a file of some MiB."""
    what = "results folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as probe:
            probe.write(os.urandom(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
        os.listdir(folder)
    except OSError as error:
        asked = WHAT_TO_DO.get(error.errno, "give yourself the right to write there, or set `results` in site.yaml")
        yield fail(what, f"{folder.absolute()}: {error.strerror} ({size(PROBE_BYTES)} were tried); {asked}")
    else:
        yield ok(what, f"{folder.absolute()} can be written")


def why_not_writable(folder: Path) -> str | None:
    """What the system says against a file in this folder, which is made if it is not there; None where nothing."""
    probe = folder / f".warmscale-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        return error.strerror
    return None


def shared(folder: Path, several_hosts: bool, mounts: str | None = None) -> Lines:
    """Whether other hosts can see a folder, from the kind of its file system."""
    what = "file system"
    kind, mount = mount_of(folder.resolve(), mounts or MOUNTS.read_text())
    where = f"{folder}: {kind}, mounted at {mount}"
    if not several_hosts:
        is_lost = kind in IN_MEMORY
        yield warn(what, f"{where}: lost when this machine restarts") if is_lost else ok(what, where)
    elif kind in SHARED or kind.startswith("fuse"):
        yield ok(what, where)
    elif kind in IN_MEMORY or folder.resolve().is_relative_to("/tmp"):
        yield warn(what, f"{where}: hosts have such folders for themselves; set `results` in site.yaml to a shared one")
    else:
        yield warn(what, f"{where}: looks like a disk of this host; the job below tells whether nodes see it")


def mount_of(folder: Path, mountinfo: str) -> tuple[str, str]:
    """(type, mount point) of the file system that a folder is on, from /proc/self/mountinfo."""
    found = ("unknown", "/")
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        if folder.is_relative_to(point) and len(point) >= len(found[1]):
            found = (after.split()[0], point)
    return found


def room(folder: Path, need: Need) -> Lines:
    """Free bytes and inodes against what the study needs."""
    facts = os.statvfs(folder)
    free = facts.f_bavail * facts.f_frsize
    yield _enough("space", f"{size(free)} free, the study needs about {size(need.bytes)}", free, need.bytes, folder)
    if not facts.f_files:
        yield ok("inodes", f"this file system does not count them; the study makes about {need.files:,} files")
    else:
        text = f"{facts.f_favail:,} free, the study makes about {need.files:,} files"
        yield _enough("inodes", text, facts.f_favail, need.files, folder)


def _enough(what: str, text: str, free: float, needed: float, folder: Path):
    if free < needed:
        return fail(what, f"{folder}: {text}; delete something there, or set `results` in site.yaml to another folder")
    if free < 2 * needed:
        return warn(what, f"{folder}: {text}, more than half of it")
    return ok(what, text)
