"""Quotas, where a program can be asked for them: as far as that goes. Standard library only."""

from __future__ import annotations

import getpass
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .findings import Lines, ask, fail, ok, size, warn
from .storage import MOUNTS, Need, mount_of


@dataclass(frozen=True)
class Quota:
    """What is used and allowed on a file system; a limit of 0 is none."""

    where: str
    used_bytes: int
    limit_bytes: int
    used_files: int
    limit_files: int


def quotas_on(folder: Path) -> list[Quota]:
    """Quotas of this user on the file system of a folder, as far as this host can be asked for them."""
    kind, mount = mount_of(folder.resolve(), MOUNTS.read_text())
    return [quota for quota in _asked(folder, kind) if mount.startswith(quota.where) or kind in ("lustre", "gpfs")]


def quota_lines(found: Sequence[Quota], need: Need, what: str = "quota") -> Lines:
    """Lines about quotas; one where there are none."""
    if not found:
        yield ok(what, "none is told on this host")
    for quota in found:
        yield _judged(quota, need, what)


def _asked(folder: Path, kind: str) -> list[Quota]:
    if kind == "lustre" and shutil.which("lfs"):
        return rows_of_quota(ask(["lfs", "quota", "-q", "-u", getpass.getuser(), str(folder)]).text)
    if kind == "gpfs" and shutil.which("mmlsquota"):
        return rows_of_mmlsquota(ask(["mmlsquota", "-Y"]).text)
    if shutil.which("quota"):  # -w: a line a file system, -p: every column
        return rows_of_quota(ask(["quota", "-w", "-p"]).text)
    return []


def rows_of_quota(text: str) -> list[Quota]:
    """Of `quota -w -p` and `lfs quota -q`: place, KiB, quota, limit, grace, files, quota, limit, grace."""
    found = []
    for line in text.splitlines():
        cells = [cell.rstrip("*") for cell in line.split()]
        if len(cells) == 9 and all(re.fullmatch(r"\d+", cells[column]) for column in (1, 2, 3, 5, 6, 7)):
            used, soft, hard, files, soft_files, hard_files = (int(cells[column]) for column in (1, 2, 3, 5, 6, 7))
            found.append(Quota(cells[0], 1024 * used, 1024 * (soft or hard), files, soft_files or hard_files))
    return found


def rows_of_mmlsquota(text: str) -> list[Quota]:
    """Of `mmlsquota -Y`: cells between colons, named by the line that says HEADER; blocks are KiB."""
    found, header = [], []
    for cells in (line.split(":") for line in text.splitlines()):
        if "HEADER" in cells:
            header = cells
        elif len(cells) == len(header):
            row = dict(zip(header, cells, strict=True))
            block, files = row.get("blockQuota") or "0", row.get("filesQuota") or "0"
            used = (row.get("blockUsage") or "0", row.get("filesUsage") or "0")
            if all(cell.isdigit() for cell in (block, files, *used)):
                where = row.get("filesystemName", "")
                found.append(Quota(where, 1024 * int(used[0]), 1024 * int(block), int(used[1]), int(files)))
    return found


def _judged(quota: Quota, need: Need, what: str):
    bytes_left = quota.limit_bytes - quota.used_bytes if quota.limit_bytes else None
    files_left = quota.limit_files - quota.used_files if quota.limit_files else None
    left = [
        f"{size(bytes_left)} left of {size(quota.limit_bytes)}" if bytes_left is not None else "no limit on bytes",
        f"{files_left:,} files left" if files_left is not None else "no limit on files",
    ]
    text = f"{quota.where}: {', '.join(left)}"
    short = (bytes_left is not None and bytes_left < need.bytes) or (files_left is not None and files_left < need.files)
    if short:
        needs = f"the study needs about {size(need.bytes)} in {need.files:,} files"
        return fail(what, f"{text}; {needs}: delete something, or ask for more")
    tight = bytes_left is not None and bytes_left < 2 * need.bytes
    return warn(what, f"{text}; the study needs more than half of it") if tight else ok(what, text)
