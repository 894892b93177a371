"""The training of one run on one rank, from its content to an outcome."""

from __future__ import annotations

import dataclasses
import math
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch.nn import functional

from ..records import EPOCH_COLUMNS, STEP_COLUMNS, append_rows
from .audit import Expected
from .evaluate import evaluate
from .loader import MicroBatch, train_batches
from .order import model_seed
from .setup import Training


@dataclass
class Totals:
    """What is summed up since the start of an epoch, and of the run: saved with every checkpoint."""

    step: int = 0
    """Updates done."""
    images_seen: int = 0
    steps_above_bound: int = 0
    """In a row, up to now."""
    loss: float = 0.0
    """Sum over the images of this epoch so far, as `correct` and `images`."""
    correct: float = 0.0
    images: float = 0.0
    train_sec: float = 0.0
    data_wait_sec: float = 0.0

    def end_epoch(self) -> None:
        """Start summing up anew."""
        self.loss = self.correct = self.images = self.train_sec = self.data_wait_sec = 0.0


@dataclass
class Stop:
    """Whether somebody asked this rank to stop; set by signal handlers."""

    requested: bool = False


@dataclass(frozen=True)
class Ending:
    """How training ended on this rank."""

    state: str
    """finished, diverged or paused."""
    totals: Totals
    diverged_step: int | None = None


@dataclass(frozen=True)
class Vitals:
    """A step as all ranks see it."""

    loss: float
    """Sum over the images of the mini-batch."""
    correct: float
    images: float
    stop: bool
    """Some rank was asked to stop."""


@dataclass
class Loop:
    """Trains from where `totals` stand."""

    training: Training
    totals: Totals = field(default_factory=Totals)
    stop: Stop = field(default_factory=Stop)
    step_rows: list[dict[str, Any]] = field(default_factory=list)
    """Rows of steps.csv not yet written; rows after the last checkpoint would be dropped on resuming anyway."""

    def run(self) -> Ending:
        """Train to the end, to divergence, or to the next step after a request to stop; a collective."""
        ending = self._run()
        self._write_steps()
        return ending

    def _run(self) -> Ending:
        training, totals = self.training, self.totals
        first_step, batches = totals.step, self._batches()
        last_checkpoint = time.monotonic()
        epoch = training.epoch_at(totals.step)
        for step in range(first_step, training.schedule.total_steps):
            started = time.monotonic()
            measure = step == first_step or step in training.epoch_starts
            vitals = self._micro_batches(step, batches, measure)
            if self._diverges(vitals):
                return Ending("diverged", totals, diverged_step=step)
            self._record(training.audit.finish(), vitals)
            totals.train_sec += time.monotonic() - started
            epoch = training.epoch_at(step)
            ends_epoch = step + 1 == training.epoch_ends[epoch - 1]
            if ends_epoch:
                self._end_epoch(epoch)
            training.report_progress(totals.step, epoch)
            is_last = totals.step == training.schedule.total_steps
            due = training.checkpoint_is_due(ends_epoch, time.monotonic() - last_checkpoint)
            if (due or vitals.stop) and not is_last:
                self._write_steps()
                training.save(dataclasses.asdict(totals))
                last_checkpoint = time.monotonic()
            if vitals.stop and not is_last:
                return Ending("paused", totals)
        return Ending("finished", totals)

    def _batches(self) -> Iterator[MicroBatch]:
        """The micro-batches of this rank from here to the end of training."""
        training = self.training
        first = training.rank.rank * training.micro_batches
        starts = (
            step * training.mini_batch_size + (first + index) * training.micro_batch_size
            for step in range(self.totals.step, training.schedule.total_steps)
            for index in range(training.micro_batches)
        )
        return train_batches(
            training.train_images,
            starts,
            training.micro_batch_size,
            images_per_epoch=training.clock.images_per_epoch,
            data_seed=training.content["data_seed"],
            threads=training.settings["loader_threads"],
        )

    def _micro_batches(self, step: int, batches: Iterator[MicroBatch], measure: bool) -> Vitals:
        """One step: the micro-batches of this rank, and with the last of them the update of the weights."""
        training, device = self.training, self.training.device
        expected = self._expected(step, measure)
        training.audit.begin(expected, training.engine.loss_scale)
        training.engine.set_learning_rate(expected.learning_rate)
        sums = torch.zeros(4, dtype=torch.float64, device=device)  # loss, correct, images, requests to stop
        sums[3] = float(self.stop.requested)
        vitals = None
        for index in range(training.micro_batches):
            waited = time.monotonic()
            batch = next(batches)
            self.totals.data_wait_sec += time.monotonic() - waited
            training.audit.consumed(batch.sample_keys)
            sums[:3] += self._forward_backward(step, index, batch)
            if index + 1 == training.micro_batches:
                vitals = _over_ranks(sums)
                if not math.isfinite(vitals.loss):
                    return vitals  # these gradients must not reach the weights
            training.engine.end_micro_batch()
        self.totals.step, self.totals.images_seen = step + 1, self.totals.images_seen + int(vitals.images)
        self.totals.loss += vitals.loss
        self.totals.correct += vitals.correct
        self.totals.images += vitals.images
        return vitals

    def _forward_backward(self, step: int, index: int, batch: MicroBatch) -> torch.Tensor:
        """Gradient of one micro-batch.  # -> (3,) float64: loss summed, correct, images"""
        training = self.training
        number = training.rank.rank * training.micro_batches + index  # of the mini-batch, whichever rank has it
        training.generator.manual_seed(model_seed(training.content["init_seed"], step, number))
        training.statistics.before_forward(index, training.micro_batches)
        labels = batch.labels.to(training.device, non_blocking=True)
        logits = training.engine.forward(training.normalise(batch.images))  # (n, C)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        loss = functional.cross_entropy(wide, labels, label_smoothing=training.recipe["label_smoothing"])
        training.engine.backward(loss)
        correct = (logits.detach().argmax(dim=1) == labels).sum()
        return torch.stack(
            [loss.detach().double() * len(labels), correct.double(), correct.new_tensor(len(labels)).double()]
        )

    def _expected(self, step: int, measure: bool) -> Expected:
        training = self.training
        # at stage 1 momentum and clipped gradients are in pieces on all ranks: only where there is neither yet
        visible = training.settings["zero_stage"] == 0 or (step == 0 and not training.recipe["gradient_clipping"])
        return Expected(
            step=step,
            learning_rate=training.schedule.learning_rate(step),
            mini_batch_size=training.mini_batch_size,
            images_of_rank=training.micro_batches * training.micro_batch_size,
            count_ids=measure or training.is_audited(step),
            measure_update=measure and visible,
        )

    def _diverges(self, vitals: Vitals) -> bool:
        rule, mean = self.training.recipe["divergence"], vitals.loss / vitals.images
        if not math.isfinite(mean):
            return True
        above = rule["loss_above"] is not None and mean > rule["loss_above"]
        self.totals.steps_above_bound = self.totals.steps_above_bound + 1 if above else 0
        return self.totals.steps_above_bound >= rule["for_steps"]

    def _record(self, row: dict[str, Any], vitals: Vitals) -> None:
        """Keep the audit's row of every Nth step, of an epoch's first and of skipped ones.

        What is audited only because training was resumed there is not kept: records do not tell of interruptions.
        """
        training, step = self.training, row["step"]
        starts_epoch = step in training.epoch_starts
        if not starts_epoch:
            row.pop("update_error", None)
        if training.rank.is_first and (starts_epoch or row["skipped"] or training.is_audited(step)):
            row |= {"run_id": training.run_id, "loss": vitals.loss / vitals.images}
            append_rows(training.state.steps, [row], STEP_COLUMNS)

    def _write_steps(self) -> None:
        if self.step_rows:
            append_rows(self.training.state.steps, self.step_rows, STEP_COLUMNS)
            self.step_rows = []

    def _end_epoch(self, epoch: int) -> None:
        """Validate, and write the row of an epoch; a collective."""
        training, totals = self.training, self.totals
        started = time.monotonic()
        training.statistics.average_over_ranks()
        accuracy = evaluate(
            training.engine,
            training.val_images,
            training.normalise,
            training.rank,
            threads=training.settings["loader_threads"],
        )
        if training.rank.is_first:
            row = {
                "run_id": training.run_id,
                "epoch": epoch,
                "step": totals.step,
                "images_seen": totals.images_seen,
                "learning_rate": training.schedule.learning_rate(totals.step - 1),
                "train_loss": totals.loss / totals.images,
                "train_top1": 100 * totals.correct / totals.images,
                "val_loss": accuracy.loss,
                "top1": accuracy.top1,
                "top5": accuracy.top5,
                "images_per_sec": totals.images / totals.train_sec,
                "train_sec": totals.train_sec,
                "eval_sec": time.monotonic() - started,
                "data_wait_sec": totals.data_wait_sec,
                "peak_memory_mib": _peak_memory_mib(training.device),
            }
            append_rows(training.state.epochs, [row], EPOCH_COLUMNS)
            training.say(f"epoch {epoch}: top-1 {accuracy.top1:.2f} %, training loss {row['train_loss']:.4f}")
        totals.end_epoch()


def _over_ranks(sums: torch.Tensor) -> Vitals:
    """Sum over ranks; a collective."""
    if dist.get_world_size() > 1:
        dist.all_reduce(sums)
    loss, correct, images, requests = sums.tolist()
    return Vitals(loss, correct, images, requests > 0)


def _peak_memory_mib(device: torch.device) -> float:
    """Peak of the device's memory, or of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
