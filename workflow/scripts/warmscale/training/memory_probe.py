"""What would fit where a run did not: passes tried in the process that ran out of memory.

No collective in here: the other ranks hang in one, or have failed too. The model is called with parameters of our own
that share the memory of the real ones, so that no gradient reaches DeepSpeed's hooks.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.func import functional_call
from torch.nn import functional

from ..study.config import ZERO_1_ONLY
from .batchnorm import keep_workers_apart
from .engine import AUTOCAST, evaluating
from .evaluate import VAL_BATCH_SIZE
from .forward import as_written
from .memory import is_out_of_memory
from .memory_advice import HEADROOM, Point, Situation, between, ladder, share_filled, situation_of
from .memory_meter import let_go, not_resident_mib, peak_meter
from .training import Training

STATES = {"sgd": 1, "lars": 1, "lamb": 2}
"""Numbers that an optimizer keeps of each parameter, with momentum."""
UPPER_RUNGS = 3
"""Halvings of the batch that are tried first, the smallest of them first: the smaller, the less like the asked one."""


def situations(training: Training, facts: Mapping[str, Any], deadline: float) -> Iterator[Situation]:
    """What the run is, and more and more of what can be tried of it until time.monotonic() reaches the deadline."""
    probe = _Probe(training, deadline, not_resident_mib=not_resident_mib())
    state_mib = probe.hold_state()
    world_size, others = training.rank.world_size, facts["others_mib"]
    limit = facts["limit_mib"] and facts["limit_mib"] - others
    is_shared = facts["on_host"] and not facts["limit_what"].startswith("address space")
    known = situation_of(
        training.content,
        training.settings,
        world_size,
        on_host=facts["on_host"],
        limit_what=facts["limit_what"],
        limit_mib=limit,
        others_mib=others,
        refused_mib=(facts["peak_mib"] or 0.0) + (facts["asked_mib"] or 0.0),
        is_shared=is_shared,
        workers_per_pass=training.speed.workers_per_pass,
        zero_saves_mib=_zero_saves(training, state_mib, probe.parameters_mib),
    )
    is_elsewhere = facts["on_host"] and training.device.type == "cuda"
    if probe.held is None or is_elsewhere:
        yield known  # not even the optimizer's state fits, or passes on the device tell nothing of the host
        return
    probe.limit_mib, probe.may_be_killed = limit, is_shared
    yield from probe.try_all(known, validation_first=facts["during"] == "validation")


def _zero_saves(training: Training, state_mib: float, parameters_mib: float) -> float | None:
    """What ZeRO stage 1 would save on each rank; None where it would train something else, or is on already.

    It keeps 1 / world_size of the state, and for that part of the parameters a second copy.
    """
    world_size = training.rank.world_size
    chosen = (training.recipe["optimizer"]["name"], training.recipe["precision"])
    if chosen != ZERO_1_ONLY or world_size == 1 or training.settings["zero_stage"]:
        return None
    saves = state_mib * (1 - 1 / world_size) - parameters_mib / world_size
    return saves if saves > 0 else None


@dataclass
class _Probe:
    """Tries passes and measures them."""

    training: Training
    deadline: float
    limit_mib: float | None = None
    may_be_killed: bool = False
    not_resident_mib: float = 0.0
    """Mapped beside what is resident, where the limit counts what is mapped."""
    seconds_an_image: float = 0.0
    held: torch.Tensor | None = None
    parameters: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        model = self.training.engine.model
        as_written(model)  # compiled or captured it is for one number of images
        keep_workers_apart(model, 1)
        for parameter in model.parameters():
            parameter.grad = None
        self.parameters = {
            name: parameter.detach().requires_grad_(parameter.requires_grad)
            for name, parameter in model.named_parameters()
        }

    @property
    def parameters_mib(self) -> float:
        """Size of what is trained."""
        return sum(each.nbytes for each in self.parameters.values() if each.requires_grad) / 2**20

    def hold_state(self) -> float:
        """Take as much memory as the optimizer will, where it has not yet; the size of its state in MiB."""
        settings = self.training.recipe["optimizer"]
        copies = STATES[settings["name"]] if settings["name"] == "lamb" or settings["momentum"] else 0
        wanted = copies * self.parameters_mib
        if self.training.settings["zero_stage"]:
            wanted /= self.training.rank.world_size
        states = self.training.engine.optimizer.state.values()
        there = sum(value.nbytes for state in states for value in state.values() if torch.is_tensor(value)) / 2**20
        with contextlib.suppress(RuntimeError, MemoryError):
            missing = int(max(0.0, wanted - there) * 2**20)
            self.held = torch.zeros(missing, dtype=torch.uint8, device=self.training.device)
        return wanted

    def try_all(self, known: Situation, *, validation_first: bool) -> Iterator[Situation]:
        """Growing batches, or shrinking ones where none of those fits; validation; another precision."""
        if validation_first:
            known = replace(known, validation=self._validate())
        for point in self._try_batches(known):
            known = replace(known, points=(*known.points, point))
            yield known
        if not known.on_host:  # there a process that failed may lack what a new one would have
            known = replace(known, validation=known.validation or self._validate())
        yield replace(known, **self._other_precision(known))

    def _try_batches(self, known: Situation) -> Iterator[Point]:
        """Points at the run's precision."""
        rungs, points = ladder(known.candidates, known.images), []
        upper, lower = rungs[-UPPER_RUNGS:], rungs[:-UPPER_RUNGS][::-1]
        if upper:
            self._train(upper[0], known.precision)  # fills caches, makes the gradients that the next ones add to
        for size in upper:
            yield from self._try_batch(size, known, points)
            if not points or points[-1].images != size or not points[-1].fits:
                break
        if len(points) == len(upper) and all(point.fits for point in points):
            yield from self._try_batch(known.images, known, points)
        for size in lower:
            if not any(point.fits for point in points):
                yield from self._try_batch(size, known, points)
        if (size := between(known.candidates, points, known.images, self.limit_mib)) is not None:
            yield from self._try_batch(size, known, points)

    def _try_batch(self, size: int, known: Situation, points: list[Point]) -> Iterator[Point]:
        """The pass, unless it lacks time, or memory by the line: on a host that may end the process."""
        most = HEADROOM if known.on_host else 1 / HEADROOM
        if (share_filled(points, size, self.limit_mib) or 0.0) <= most and (
            point := self._train(size, known.precision)
        ):
            points.append(point)
            yield point

    def _other_precision(self, known: Situation) -> dict[str, Any]:
        if known.precision != "fp32":
            return {}
        device = self.training.device
        native = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
        name = "bf16" if native else "fp16"  # V100: bf16 is emulated
        self._train(max(1, known.images // 2**2), name)  # for the time that it takes
        return {"other_precision": name, "other_point": self._train(known.images, name)}

    def _train(self, images: int, precision: str) -> Point | None:
        """One forward and backward pass."""

        def pass_through() -> None:
            with self._autocast(precision):
                logits = functional_call(self.training.engine.model, self.parameters, (self._images(images),))
            labels = torch.zeros(images, dtype=torch.int64, device=self.training.device)
            wide = logits if logits.dtype == torch.float64 else logits.float()
            functional.cross_entropy(wide, labels).backward()

        return self._measured(images, images, pass_through)

    def _validate(self) -> Point | None:
        """One batch of validation."""
        training = self.training
        if training.val_images is None:
            return None
        images = min(VAL_BATCH_SIZE, math.ceil(len(training.val_images.split) / training.rank.world_size))

        def validate() -> None:
            with evaluating(training.engine.model), training.engine.autocast():
                training.engine.model(self._images(images))

        return self._measured(images, images / 3, validate)  # no backward pass, which takes twice as long

    def _images(self, count: int) -> torch.Tensor:  # -> (count, 3, H, W), as the loader hands them on
        size = self.training.recipe["dataset"]["image_size"]
        pixels = torch.zeros(count, size, size, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
        return self.training.normalise(pixels)

    def _autocast(self, precision: str) -> contextlib.AbstractContextManager:
        if precision not in AUTOCAST:
            return contextlib.nullcontext()
        return torch.autocast(self.training.device.type, dtype=AUTOCAST[precision])

    def _measured(self, images: int, work: float, action: Callable[[], None]) -> Point | None:
        """What an action takes; None where there is no time for it, or it fails for another reason."""
        started = time.monotonic()
        if started + work * self.seconds_an_image > self.deadline:
            return None
        peak = peak_meter(self.training.device, self.not_resident_mib)
        try:
            action()
            used = peak()
        except Exception as error:
            if not is_out_of_memory(error):
                return None
            let_go(error)
            return Point(images, False, None)
        self.seconds_an_image = (time.monotonic() - started) / work
        is_too_much = self.may_be_killed and used is not None and used > (self.limit_mib or math.inf)
        return Point(images, not is_too_much, used)
