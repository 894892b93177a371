"""The bundle: a zip that is the same, byte by byte, for the same files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

FIRST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every member: the time of bundling says nothing about a study."""


def write_bundle(path: Path, members: Mapping[str, Path | str]) -> None:
    """Write a zip of {name in it: file, or text}, sorted by name."""
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in sorted(members.items()):
            data = content.encode() if isinstance(content, str) else content.read_bytes()
            info = zipfile.ZipInfo(name, FIRST_ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            bundle.writestr(info, data)
