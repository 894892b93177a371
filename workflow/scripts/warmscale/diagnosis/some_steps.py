"""Some training steps of a run on one rank of the check, by the code that trains runs."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from ..cluster.discovery import Rank
from ..records import StateFolder, read_json, read_rows, write_json
from ..training.signals import Stop
from .on_nodes import CheckFolder


@dataclass
class SomeSteps(Stop):
    """Asks to stop after some steps, or some time: the loop asks once a step, so it is also where steps are timed."""

    steps: int = 20
    seconds: float = 300.0
    file: Path | None = None
    """There when the launcher was asked to stop."""
    begun: list[float] = field(default_factory=list)
    """Monotonic time at which each step began."""

    def is_due(self) -> bool:
        """Whether the step that begins is the last one."""
        self.begun.append(time.monotonic())
        late = self.begun[-1] - self.begun[0] > self.seconds
        asked = self.file is not None and self.file.exists()
        return len(self.begun) >= self.steps or late or asked or super().is_due()

    @property
    def step_sec(self) -> float | None:
        """Median of the steps behind the first one, which warms up; validation and checkpoints lie between some."""
        times = [later - earlier for earlier, later in zip(self.begun, self.begun[1:], strict=False)]
        return median(times[1:] or times) if times else None


def train(
    folder: CheckFolder,
    rank: Rank,
    stop: SomeSteps,
    *,
    run_id: str,
    settings: Mapping[str, Any],
    index: Path,
    root: Path,
) -> int:
    """Train some steps of a run, by the code that trains runs, in a state folder of the check."""
    from ..training.rank_main import train_rank
    from ..training.signals import PAUSED_EXIT_CODE

    state = folder.state("train")
    code = train_rank(run_id, settings, stop, rank=rank, attempt=0, state=state, lease=None, index=index, root=root)
    if code not in (0, PAUSED_EXIT_CODE):
        return code
    facts = {"steps": len(stop.begun), "step_sec": stop.step_sec, "peak_memory_mib": _peak_memory_mib()}
    write_json(folder.path / "steps" / f"{rank.rank}.json", facts | (_sums(state) if rank.is_first else {}))
    return 0


def _sums(state: StateFolder) -> dict[str, float]:
    """Seconds that the first rank trained, and waited for images: of whole epochs, and since then in the checkpoint."""
    rows, names = read_rows(state.epochs), ("train_sec", "data_wait_sec")
    sums = {name: sum(float(row[name]) for row in rows) for name in names}
    if latest := read_json(state.checkpoints / "latest.json"):
        sums = {name: sums[name] + latest["totals"][name] for name in names}
    return sums


def _peak_memory_mib() -> float:
    import torch

    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
