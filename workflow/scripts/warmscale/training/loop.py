"""The training of one run on one rank, from its content to an outcome."""

from __future__ import annotations

import dataclasses
import math
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..records import EPOCH_COLUMNS, STEP_COLUMNS, append_rows
from .audit import Expected
from .evaluate import evaluate
from .loader import threads_of_rank
from .signals import Stop
from .step import Vitals, batches_of, take_step
from .training import Training


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
    gradients: dict[str, list[float]] = field(default_factory=dict)
    """{column: sum and number} over this epoch's measured steps so far; checkpoints of before have none."""

    def add_gradients(self, columns: Mapping[str, float]) -> None:
        """Count a measured step."""
        for name, value in columns.items():
            total, number = self.gradients.get(name, (0.0, 0))
            self.gradients[name] = [total + value, number + 1]

    def mean_gradients(self) -> dict[str, float]:
        """Columns of the epoch. The noise scale: two unbiased estimates, each averaged before one divides the other."""
        means = {name: total / number for name, (total, number) in self.gradients.items()}
        if means.get("gradient_sq", 0.0) > 0:
            means["noise_scale"] = means["gradient_noise"] / means["gradient_sq"]
        return means

    def end_epoch(self) -> None:
        """Start summing up anew."""
        self.loss = self.correct = self.images = self.train_sec = self.data_wait_sec = 0.0
        self.gradients = {}


@dataclass(frozen=True)
class Ending:
    """How training ended on this rank."""

    state: str
    """finished, diverged or paused."""
    totals: Totals
    diverged_step: int | None = None


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
        try:
            return self._run()
        finally:
            self._write_steps()

    def _run(self) -> Ending:
        training, totals = self.training, self.totals
        first_step = totals.step
        batches = batches_of(training, range(first_step, training.schedule.total_steps))
        last_checkpoint = time.monotonic()
        for step in range(first_step, training.schedule.total_steps):
            started = time.monotonic()
            measure = step == first_step or step in training.epoch_starts
            vitals = take_step(training, self._expected(step, measure), batches, stop=self._is_to_stop())
            if math.isfinite(vitals.loss):
                self.end_step(step, vitals)
            if self._diverges(vitals):
                return Ending("diverged", totals, diverged_step=step)
            totals.train_sec += time.monotonic() - started
            epoch = training.epoch_at(step)
            ends_epoch = step + 1 == training.epoch_ends[epoch - 1]
            val_loss = self._end_epoch(epoch) if ends_epoch else 0.0
            training.report_progress(totals.step, epoch)
            is_last = totals.step == training.schedule.total_steps
            if is_last and not math.isfinite(val_loss):  # there is no further step whose loss would tell
                return Ending("diverged", totals, diverged_step=step)
            due = training.checkpoint_is_due(ends_epoch, time.monotonic() - last_checkpoint)
            if (due or vitals.stop) and not is_last:
                self._write_steps()
                training.save(dataclasses.asdict(totals))
                last_checkpoint = time.monotonic()
            if vitals.stop and not is_last:
                return Ending("paused", totals)
        return Ending("finished", totals)

    def _is_to_stop(self) -> bool:
        """Whether this rank has to stop; the first one keeps time for what it writes in the background."""
        checkpoints = self.training.checkpoints
        checkpoints.collect()
        self.stop.deadline.write_sec = checkpoints.longest_write_sec
        return self.stop.is_due()

    def end_step(self, step: int, vitals: Vitals) -> None:
        """Audit, measure, count and record a step after its update; a collective. Raises AuditError."""
        training = self.training
        self._count(vitals, step)
        row = training.audit.finish(training.engine.loss_scale)
        measured = training.gradients.finish(skipped=bool(row["skipped"]))
        self.totals.add_gradients(measured)
        self._record(row | measured, vitals, is_shown=bool(measured) and training.shows_gradients(step))

    def _count(self, vitals: Vitals, step: int) -> None:
        """Add a step to the totals."""
        totals = self.totals
        totals.step, totals.images_seen = step + 1, totals.images_seen + int(vitals.images)
        totals.loss += vitals.loss
        totals.correct += vitals.correct
        totals.images += vitals.images
        totals.data_wait_sec += vitals.data_wait_sec

    def _expected(self, step: int, measure: bool) -> Expected:
        training = self.training
        # at stage 1 momentum and clipped gradients are in pieces on all ranks: only where there is neither yet
        visible = training.settings["zero_stage"] == 0 or (step == 0 and not training.recipe["gradient_clipping"])
        return Expected(
            step=step,
            learning_rate=training.schedule.learning_rate(step),
            mini_batch_size=training.mini_batch_size,
            images_of_rank=training.passes * training.images_per_pass,
            count_ids=measure or training.is_audited(step),
            measure_update=measure and visible,
        )

    def _diverges(self, vitals: Vitals) -> bool:
        rule = self.training.recipe["divergence"]
        above = rule["loss_above"] is not None and vitals.mean_loss > rule["loss_above"]
        self.totals.steps_above_bound = self.totals.steps_above_bound + 1 if above else 0
        return not math.isfinite(vitals.loss) or self.totals.steps_above_bound >= rule["for_steps"]

    def _record(self, row: dict[str, Any], vitals: Vitals, *, is_shown: bool) -> None:
        """Keep the row of an audited step, of an epoch's first, of a skipped one, and of one that is to be shown.

        What is audited only because training was resumed there is not kept: records do not tell of interruptions.
        """
        training, step = self.training, row["step"]
        starts_epoch = step in training.epoch_starts
        is_audited = starts_epoch or training.is_audited(step)
        if not starts_epoch:
            row.pop("update_error", None)
        if not is_audited:
            row.pop("distinct_images", None)
        if training.rank.is_first and (is_audited or row["skipped"] or is_shown):
            row |= {"run_id": training.run_id, "loss": vitals.mean_loss}
            self.step_rows.append(row)

    def _write_steps(self) -> None:
        if self.step_rows and self.training.holds_lease():
            append_rows(self.training.state.steps, self.step_rows, STEP_COLUMNS)
            self.step_rows = []

    def _end_epoch(self, epoch: int) -> float:
        """Validate, write the row of an epoch, and return the validation loss; a collective."""
        training, totals = self.training, self.totals
        started = time.monotonic()
        training.statistics.average_over_ranks()
        accuracy = evaluate(
            training.engine,
            training.val_images,
            training.normalise,
            training.rank,
            threads=threads_of_rank(training.settings["loader_threads"], training.device.type == "cuda"),
        )
        training.check_lease()
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
                "peak_memory_mib": peak_memory_mib(training.device),
                **totals.mean_gradients(),
            }
            append_rows(training.state.epochs, [row], EPOCH_COLUMNS)
            training.say(f"epoch {epoch}: top-1 {accuracy.top1:.2f} %, training loss {row['train_loss']:.4f}")
        totals.end_epoch()
        return accuracy.loss


def peak_memory_mib(device: torch.device) -> float:
    """Peak of the device's memory, or of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
