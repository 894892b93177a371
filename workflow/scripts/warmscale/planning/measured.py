"""Measured step times: of throughput experiments, and of every finished training."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..analysis.throughput_table import throughput_rows
from ..records import read_json, read_rows
from ..study import Study
from ..study.recipe import arithmetic
from ..training.passes import micro_batch_size
from .hardware import PRESETS, Hardware
from .step_time import StepShape
from .workload import PUBLISHED_SIZE, Workload

GPU_WORDS = ("nvidia", "tesla", "geforce", "quadro", "instinct", "radeon")
"""In names of devices that are no processors."""
COMPILERS = ("default", "reduce-overhead", "max-autotune")
"""Modes of placement.compile, without none."""
WAITING = 0.1
"""Share of a step: one that waits longer for images takes as long as they do. A loader that keeps up has them ready."""


@dataclass(frozen=True)
class Measured:
    """What was measured of the steps of one shape."""

    shape: StepShape
    step_sec: float
    computation_sec: float | None
    """A step without averaging over ranks, waiting included; None where it was not measured, as the next."""
    communication_sec: float | None
    """That averaging alone."""
    source: str
    """Id of the measurement or of the run."""
    model: str
    image_size: int
    """Pixels a side."""
    precision: str
    """fp64, fp32, tf32, bf16 or fp16."""
    device: str
    """Name of the GPU or of the processor."""
    has_input: bool = True
    """False: images were made up, so that none were waited for."""
    data_wait_sec: float | None = None
    """Of the step: waiting for images."""
    eval_images_per_sec: float | None = None
    """In validation, of a rank."""
    start_up_sec: float | None = None
    """Of an attempt, beside its steps and validations; its checkpoints are in it."""
    checkpoints: int = 0
    """As many."""

    @property
    def is_input_bound(self) -> bool:
        """Whether its steps took as long as their images: they say nothing of computation then.

        Not told of CPUs, where a rank with one core decodes between its passes, and every step waits.
        """
        return self.has_input and is_gpu(self.device) and (self.data_wait_sec or 0.0) > WAITING * self.step_sec

    @property
    def parts(self) -> dict[str, float]:
        """{field of StepTime: what was measured of it}; on one rank nothing is communicated."""
        step = {"step_sec": self.step_sec, "alone_sec": self.computation_sec}
        step = {"input_sec": self.step_sec} if self.is_input_bound else step
        communication = {"communication_sec": self.communication_sec if self.shape.ranks > 1 else None}
        return {part: sec for part, sec in (step | communication).items() if sec}

    def is_of(self, work: Workload, hardware: Hardware) -> bool:
        """Whether it is of this workload on this machine."""
        own = (self.model, self.image_size, self.precision)
        return own == (work.model, work.image_size, work.precision) and is_device_of(self.device, hardware)


def is_gpu(device: str) -> bool:
    """Whether a device is a GPU, by its name."""
    return any(word in device.lower() for word in GPU_WORDS)


def is_device_of(device: str, hardware: Hardware) -> bool:
    """Whether a machine has a device of this name; for GPUs that no preset is of, any preset of GPUs stands in."""
    named = [each.device for each in PRESETS.values() if each.device.lower() in device.lower()]
    return hardware.device in named or (not named and is_gpu(device) == (hardware.device != "cpu"))


def measured_steps(study: Study, results: Path) -> list[Measured]:
    """Step times of what is published under results/<study>: measurements of the study, and trainings.

    Whatever was aggregated before: a plan is fitted as soon as a measurement has ended. Left out: measurements that
    failed, trainings whose attempts were placed differently, and those of one epoch.
    """
    measurements = [measured_of(row) for row in throughput_rows(study, results) if row["state"] == "finished"]
    return measurements + list(_of_trainings(results / "runs"))


def measured_of(row: Mapping[str, Any]) -> Measured:
    """A row of the table of throughput, of a finished measurement; cells are text or numbers."""
    return Measured(
        shape=shape_of(row),
        step_sec=float(row["step_sec"]),
        computation_sec=_number(row, "computation_sec"),
        communication_sec=_number(row, "communication_sec"),
        source=row["measurement_id"],
        model=row["model"],
        image_size=int(row["image_size"]),
        precision=row["precision"],
        device=row["device_name"] or "",
        has_input=row["data"] == "dataset",
        data_wait_sec=_number(row, "data_wait_sec"),
    )


def shape_of(row: Mapping[str, Any]) -> StepShape:
    """The shape of such a row, finished or not; how many workers share a pass is not known before it is measured."""
    images = int(row["worker_batch_size"])
    of_batchnorm = int(_number(row, "batchnorm_batch_size") or images)
    return StepShape(
        nodes=int(row["nodes"]),
        ranks_per_node=int(row["ranks_per_node"]),
        workers=int(row["workers"]) * images // of_batchnorm,
        worker_batch_size=of_batchnorm,
        workers_per_pass=round(_number(row, "workers_per_pass") or 1),
        overlaps=has_overlap(
            compiled=row.get("compile"),
            captured=str(row.get("cuda_graphs")) == "True",
            zero_stage=int(_number(row, "zero_stage") or 0),
        ),
    )


def has_overlap(*, compiled: str | None, captured: bool, zero_stage: int) -> bool:
    """Whether gradients are averaged during the backward pass.

    Compiled and captured passes hand them over all at once (training/forward.py), and at ZeRO stage 1 averaging is a
    part of the update. compiled: mode of the compiler.
    """
    return compiled not in COMPILERS and not captured and not zero_stage


def _number(row: Mapping[str, Any], name: str) -> float | None:
    """None where nothing was measured, and for 0, which is no time; older tables lack some columns."""
    cell = row.get(name)
    return None if pd.isna(cell) or cell == "" else float(cell) or None


def _of_trainings(runs: Path) -> Iterator[Measured]:
    for record in sorted(runs.glob("*/run.json")):
        run = read_json(record)
        epochs = read_rows(record.parent / "epochs.csv")
        attempts = [each for each in run["attempts"] if each["world_size"]]  # 0: a job that never began
        places = {(each.get("nodes", 1), each["world_size"]) for each in attempts}
        if run["state"] == "finished" and len(places) == 1 and len(epochs) > 1:
            yield _of_training(run, epochs, attempts, *places.pop())


def _of_training(
    run: Mapping[str, Any],
    epochs: Sequence[Mapping[str, str]],
    attempts: Sequence[Mapping[str, Any]],
    nodes: int,
    ranks: int,
) -> Measured:
    """Of all epochs but the first, in which caches fill, graphs are captured and code is compiled."""
    content, dataset, speed = run["content"], run["content"]["dataset"], run.get("speed", {})
    steps, train_sec, eval_sec, wait_sec = (
        [_number(row, name) or 0.0 for row in epochs] for name in ("step", "train_sec", "eval_sec", "data_wait_sec")
    )
    counts = [after - before for before, after in itertools.pairwise(steps)]
    images = micro_batch_size(content)
    others_sec = attempts[0]["ended"] - attempts[0]["started"] - sum(train_sec) - sum(eval_sec)
    return Measured(
        shape=StepShape(
            nodes=nodes,
            ranks_per_node=ranks // nodes,
            workers=content["mini_batch_size"] // images,
            worker_batch_size=images,
            workers_per_pass=speed.get("workers_per_pass", 1),
            overlaps=has_overlap(
                compiled=speed.get("compile"),
                captured=speed.get("cuda_graphs", False),
                zero_stage=run.get("zero_stage", 0),
            ),
        ),
        step_sec=_median_each(train_sec[1:], counts),
        computation_sec=None,
        communication_sec=None,
        source=run["run_id"],
        model=content["model"],
        image_size=dataset.get("image_size", PUBLISHED_SIZE),
        precision=arithmetic(content.get("precision", "fp32"), bool(content.get("tf32"))),
        device=run.get("device_name") or run.get("device") or "",
        data_wait_sec=_median_each(wait_sec[1:], counts),
        eval_images_per_sec=dataset["num_val_images"] / ranks / statistics.median(eval_sec),
        start_up_sec=others_sec if len(attempts) == 1 and others_sec > 0 else None,
        checkpoints=len(epochs) - 1,
    )


def _median_each(totals: Sequence[float], counts: Sequence[float]) -> float:
    """Middle of totals by counts."""
    return statistics.median(total / count for total, count in zip(totals, counts, strict=True))
