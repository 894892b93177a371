"""Machines, shapes and measurements for the tests of the cost model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from warmscale.planning.calibration import CostModel, Prediction, calibrate
from warmscale.planning.hardware import Hardware, Value
from warmscale.planning.measured import Measured
from warmscale.planning.step_time import StepShape, step_time
from warmscale.planning.workload import Workload, workload

RESNET50 = workload("resnet50", 224, 1000, "fp32")


def changed(machine: Hardware, precision: str = "fp32", **numbers: float) -> Hardware:
    """A machine with other numbers, as sure as before."""
    values: dict[str, Value] = {
        name: replace(machine.value(name, precision), of=number) for name, number in numbers.items()
    }
    return machine.with_values(values, precision)


def weak(nodes: int, ranks_per_node: int = 6, worker_batch_size: int = 32) -> StepShape:
    """One worker a rank."""
    return StepShape(nodes, ranks_per_node, nodes * ranks_per_node, worker_batch_size)


def measured_on(
    machine: Hardware,
    shape: StepShape,
    work: Workload = RESNET50,
    noise: float = 1.0,
    apart: bool = True,
    has_input: bool = False,
) -> Measured:
    """What would be measured, times some noise; apart: computation and communication too; without input: synthetic."""
    step = step_time(shape, work, machine, has_input)
    computing_sec = step.computation_sec + step.exposed_sec + step.straggler_sec
    return Measured(
        shape=shape,
        step_sec=step.step_sec * noise,
        computation_sec=step.alone_sec * noise if apart else None,
        communication_sec=(step.communication_sec * noise or None) if apart else None,
        source=f"n{shape.nodes}x{shape.ranks_per_node}-b{shape.worker_batch_size}",
        model=work.model,
        image_size=work.image_size,
        precision=work.precision,
        device=f"Tesla {machine.device}-SXM2-16GB" if machine.device != "cpu" else "AMD EPYC",
        has_input=has_input,
        data_wait_sec=(step.step_sec - computing_sec) * noise,
    )


@dataclass(frozen=True)
class Comparison:
    """A measured step time beside what was predicted for it."""

    measured: Measured
    predicted: Prediction

    @property
    def ratio(self) -> float:
        """Measured by predicted."""
        return self.measured.step_sec / self.predicted.step_sec

    @property
    def is_inside(self) -> bool:
        """Whether the interval holds the measurement."""
        return self.predicted.low_sec <= self.measured.step_sec <= self.predicted.high_sec


def compared(model: CostModel, measured: Sequence[Measured]) -> list[Comparison]:
    """Measurements beside their predictions."""
    return [Comparison(each, model.predict(each.shape, each.has_input)) for each in measured]


def predict_larger(work: Workload, hardware: Hardware, measured: Sequence[Measured]) -> list[Comparison]:
    """Predict measurements from those on fewer ranks, one number of ranks after the other; none for the fewest."""
    found = []
    for ranks in sorted({each.shape.ranks for each in measured})[1:]:
        smaller = calibrate(work, hardware, [each for each in measured if each.shape.ranks < ranks])
        found += compared(smaller, [each for each in measured if each.shape.ranks == ranks])
    return found
