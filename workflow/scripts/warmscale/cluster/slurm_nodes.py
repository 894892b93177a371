"""Slurm: keeping a job from nodes, where there are others. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .ask import answer


def lifting_words(job_id: str) -> list[str]:
    """The words that let a job that waits get any node."""
    return ["scontrol", "update", f"JobId={job_id}", "ExcNodeList="]


def excludes_nodes(words: Sequence[str]) -> bool:
    """Whether words for sbatch exclude nodes: it heeds the last such word alone."""
    return any(re.match(r"--exclude|-x", word) for word in words)


def nodes_of_partition(name: str | None) -> int:
    """How many nodes of a partition, of all where none is named, are not out of order; 0 where Slurm does not tell."""
    words = [
        "sinfo",
        "--noheader",
        "--responding",
        "--Node",
        "--format=%N %t",
        *([f"--partition={name}"] if name else []),
    ]
    code, said = answer(words)
    rows = {tuple(line.split()) for line in said.splitlines()} if code == 0 else set()
    return len({row[0] for row in rows if len(row) == 2 and not re.match(r"down|drain|drng|fail|maint|unk", row[1])})
