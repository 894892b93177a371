"""How often intervals hold what is measured on planted machines. `python -m tests.planning.coverage` makes the table
of docs/plan.md, in minutes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.planning.machines import RESNET50, changed, compared, measured_on, weak
from warmscale.analysis.page_text import counted
from warmscale.planning.calibration import calibrate
from warmscale.planning.hardware import PRESETS, SHARES, Hardware
from warmscale.planning.measured import Measured
from warmscale.planning.step_time import StepShape
from warmscale.planning.values import FITTED

SMALL = [weak(nodes, ranks, images) for nodes, ranks in ((1, 1), (1, 6), (2, 6), (4, 6)) for images in (8, 32, 128)]
LARGE = [weak(nodes, 6, images) for nodes in (8, 40) for images in (16, 64)]
OF_CPU = [weak(1, ranks, images) for ranks in (2, 4) for images in (16, 64)]
MACHINES = 150


@dataclass(frozen=True)
class Setting:
    """What is measured of planted machines, and how much of that the model cannot know."""

    calibrated: list[StepShape]
    predicted: list[StepShape]
    noise: float
    """Of a measurement."""
    model_error: float = 0.0
    """Common to all measurements of a shape."""
    repeats: int = 1
    apart: bool = True
    """Computation and communication are measured too."""
    preset: str = "summit-v100"

    def row(self) -> str:
        """Of the table."""
        inside, half_width = coverage(self, MACHINES)
        what = f"{len(self.calibrated)} on {_ranks(self.calibrated)}" if self.calibrated else "nothing"
        on = (self.preset, what, _ranks(self.predicted), self.repeats, "yes" if self.apart else "no")
        cells = (*on, f"{100 * self.model_error:.0f} %")
        numbers = (f"{100 * self.noise:.0f} %", f"{100 * inside:.1f} %", f"× {half_width:.2f}")
        return f"| {' | '.join(map(str, (*cells, *numbers)))} |"


SETTINGS = [
    Setting([], LARGE, 0.04),
    Setting(SMALL[:3], LARGE, 0.04),
    Setting(SMALL, LARGE, 0.01),
    Setting(SMALL, LARGE, 0.04),
    Setting(SMALL, LARGE, 0.04, apart=False),
    Setting(SMALL, LARGE, 0.08),
    Setting(SMALL, LARGE, 0.1),
    *(Setting(SMALL[-3:], LARGE, 0.01, 0.08, repeats, apart=False) for repeats in (1, 3, 30)),
    *(Setting(SMALL, LARGE, 0.01, 0.08, repeats) for repeats in (1, 3)),
    Setting(SMALL, LARGE, 0.1, 0.08, 3),
    Setting(SMALL[:3], OF_CPU, 0.04, preset="cpu"),
]


def coverage(setting: Setting, machines: int) -> tuple[float, float]:
    """Share of measurements that intervals hold, and the middle of their half widths, as a factor."""
    random = np.random.default_rng(20_261_120)
    found = []
    for _ in range(machines):
        planted = drawn(PRESETS[setting.preset], random)
        made = [
            each for shape in setting.calibrated for each in _measured(planted, shape, setting, setting.repeats, random)
        ]
        model = calibrate(RESNET50, PRESETS[setting.preset], made)
        found += compared(model, [_measured(planted, shape, setting, 1, random)[0] for shape in setting.predicted])
    half_widths = [each.predicted.high_sec / each.predicted.step_sec for each in found]
    return float(np.mean([each.is_inside for each in found])), float(np.median(half_widths))


def drawn(machine: Hardware, random: np.random.Generator) -> Hardware:
    """A machine like a preset, as far as the preset is sure."""
    numbers = {}
    for name in FITTED:
        value, step = machine.value(name, "fp32"), random.standard_normal()
        odds = value.of / (1 - value.of) if name in SHARES else value.of
        odds *= math.exp(value.sd * step)
        numbers[name] = odds / (1 + odds) if name in SHARES else odds
    return changed(machine, **numbers)


def _ranks(shapes: Sequence[StepShape]) -> str:
    counts = sorted({each.ranks for each in shapes})
    return counted(counts[0], "rank") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} ranks"


def _measured(
    planted: Hardware, shape: StepShape, setting: Setting, repeats: int, random: np.random.Generator
) -> list[Measured]:
    missed = math.exp(setting.model_error * random.standard_normal())
    noises = np.exp(setting.noise * random.standard_normal(repeats))
    return [measured_on(planted, shape, noise=missed * noise, apart=setting.apart) for noise in noises]


if __name__ == "__main__":
    for each in SETTINGS:
        print(each.row(), flush=True)
