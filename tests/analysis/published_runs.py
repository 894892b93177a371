"""Writes published runs without training them, as the contract of the records has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from warmscale.records import EPOCH_COLUMNS, STEP_COLUMNS, rows_to_csv, write_atomic, write_json
from warmscale.study import Run, Schedule, Study

AUDIT_EVERY = 7


def run_at(study: Study, experiment: str, seed: int = 1, **levels: object) -> Run:
    """The run of an experiment at these levels; a dot in a name is written as two underscores."""
    wanted = {name.replace("__", "."): level for name, level in levels.items()}
    points = (point for point in study.points if point.experiment == experiment and point.seed == seed)
    return next(study.runs[point.run_id] for point in points if wanted.items() <= dict(point.factors).items())


def publish(
    results: Path,
    run: Run,
    state: str = "finished",
    top1: Sequence[float] = (),
    *,
    rate_factor: float = 1.0,
    audit_every: int = AUDIT_EVERY,
    **changed: object,
) -> None:
    """Publish a run with these accuracies, an epoch each; `changed` are fields of run.json."""
    folder = results / "runs" / run.run_id
    epochs, steps = epoch_rows(run, top1), step_rows(run, len(top1), rate_factor, audit_every)
    write_atomic(folder / "epochs.csv", rows_to_csv(epochs, EPOCH_COLUMNS))
    write_atomic(folder / "steps.csv", rows_to_csv(steps, STEP_COLUMNS))
    write_json(folder / "run.json", outcome(run, state, len(top1)) | changed)


def epoch_rows(run: Run, top1: Sequence[float]) -> list[dict]:
    schedule, steps_an_epoch = Schedule.from_json(run.content["schedule"]), run.total_steps // run.content["epochs"]
    return [
        {
            "run_id": run.run_id,
            "epoch": epoch,
            "step": epoch * steps_an_epoch,
            "images_seen": epoch * steps_an_epoch * run.content["mini_batch_size"],
            "learning_rate": schedule.learning_rate(epoch * steps_an_epoch - 1),
            "train_loss": 2.3 - 0.02 * value,
            "train_top1": value,
            "val_loss": 2.3 - 0.02 * value,
            "top1": value,
            "top5": 50 + value / 2,
            "images_per_sec": 1000.0 + epoch,
            "train_sec": 1.5,
            "eval_sec": 0.5,
            "data_wait_sec": 0.1,
            "peak_memory_mib": 512.0,
            **gradients(run, epoch),
        }
        for epoch, value in enumerate(top1, start=1)
    ]


def step_rows(run: Run, epochs: int, rate_factor: float, audit_every: int) -> list[dict]:
    schedule, total = Schedule.from_json(run.content["schedule"]), run.total_steps
    return [
        {
            "run_id": run.run_id,
            "step": step,
            "learning_rate": schedule.learning_rate(step) * rate_factor,
            "expected_learning_rate": schedule.learning_rate(step),
            "distinct_images": run.content["mini_batch_size"],
            "loss": 2.0,
            "update_error": 1e-7,
            "skipped": 0,
            **gradients(run, 1 + step * run.content["epochs"] // total),
        }
        for step in range(0, total * epochs // run.content["epochs"], audit_every)
    ]


def gradients(run: Run, epoch: int) -> dict[str, float]:
    """What a synthetic run measures in an epoch: ever shorter gradients, and a noise scale above 1,000."""
    sq, noise = 0.01 / epoch, 10.0 + run.seed
    measured = {"gradient_norm": (1 + run.seed) / epoch, "gradient_cosine": 0.8 - 0.1 * epoch}
    measured |= {"update_to_weight": 0.01 * run.recipe.mini_batch_size / epoch}
    return measured | {"gradient_sq": sq, "gradient_noise": noise, "noise_scale": noise / sq}


def outcome(run: Run, state: str, epochs_done: int) -> dict:
    attempt = {"number": 1, "started": 1767323045.5, "ended": 1767326645.5}
    attempt |= {"state": state, "failure_class": None, "host": "node1", "world_size": 1, "steps_done": 10}
    return {
        "run_id": run.run_id,
        "content": dict(run.content),
        "state": state,
        "failure_class": "node" if state == "failed" else None,
        "failure": "the node went away" if state == "failed" else None,
        "diverged_step": 12 if state == "diverged" else None,
        "epochs_done": epochs_done,
        "steps_done": 10,
        "images_seen": 320,
        "world_size": 1,
        "zero_stage": 0,
        "deterministic": True,
        "device": "cpu",
        "device_name": "A processor, 2 cores",
        "versions": {"torch": "2.14.1", "deepspeed": "0.19.8"},
        "commit": {"hash": "0123abc", "dirty": False},
        "attempts": [attempt],
        "node_hours": 0.25,
    }
