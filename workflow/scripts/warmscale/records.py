"""Files and rows: columns of all records, atomic writes, reading back what was written. Standard library only."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRADIENT_COLUMNS = (
    "gradient_norm",  # of the mini-batch's mean loss, averaged over ranks, before clipping; without weight decay
    "gradient_cosine",  # between it and that of the step before
    "update_to_weight",  # length of the update over that of the weights, all trained parameters together
    "gradient_sq",  # unbiased estimate of the squared length of the expected gradient; may be negative
    "gradient_noise",  # likewise of the trace of the covariance of one image's gradient
)
"""Of measured steps, or their means over an epoch; empty where there is nothing to compute one from."""
EPOCH_COLUMNS = (
    "run_id",
    "epoch",  # from 1
    "step",  # updates done
    "images_seen",  # training images consumed since the start of the run
    "learning_rate",  # of the epoch's last update
    "train_loss",
    "train_top1",  # percent, under the weights of the moment
    "val_loss",
    "top1",  # percent
    "top5",  # percent
    "images_per_sec",
    "train_sec",
    "eval_sec",
    "data_wait_sec",
    "peak_memory_mib",
    *GRADIENT_COLUMNS,  # from here on files of before have none
    "noise_scale",  # images: gradient_noise / gradient_sq, both of this row; empty where that is not above 0
)
STEP_COLUMNS = (
    "run_id",
    "step",  # number of the update, from 0
    "learning_rate",  # realised: in the parameter groups at optimizer.step(), the same on all ranks
    "expected_learning_rate",  # closed form of the schedule
    "distinct_images",  # ids that all ranks consumed since the last update
    "loss",  # mean over the mini-batch
    "update_error",  # of one parameter against rate times direction, relative; empty where not measured
    "skipped",  # 1 where the fp16 scaler skipped the update
    *GRADIENT_COLUMNS,  # likewise
)
MEASURED_COLUMNS = (
    "kind",  # step, computation: without averaging gradients over ranks, or communication: that averaging alone
    "number",  # of its kind, from 1
    "sec",  # by the first rank's clock
    "data_wait_sec",  # of which it waited for images
)
TIMING_COLUMNS = ("images_per_sec", "train_sec", "eval_sec", "data_wait_sec", "peak_memory_mib")
"""Columns that differ between two runs of the same content."""

STATES = ("pending", "running", "paused", "finished", "diverged", "failed")
FAILURE_CLASSES = (
    "walltime",
    "out_of_memory",
    "communication",
    "node",
    "data",
    "config",
    "audit",
    "duplicate",
    "bug",
    "unknown",
)
OUTCOMES = ("finished", "diverged")
"""States that are a result: such a run is never trained again."""


@dataclass(frozen=True)
class StateFolder:
    """The private folder of a run, state/<run_id>/: what training leaves while it goes on."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the newest checkpoint and its predecessor."""
        return self.path / "checkpoint"

    @property
    def epochs(self) -> Path:
        """Rows so far, EPOCH_COLUMNS."""
        return self.path / "epochs.csv"

    @property
    def steps(self) -> Path:
        """Rows so far, STEP_COLUMNS."""
        return self.path / "steps.csv"

    @property
    def progress(self) -> Path:
        """Where the training is: epoch, step, time."""
        return self.path / "progress.json"

    @property
    def attempts(self) -> Path:
        """One line of JSON an attempt that ended."""
        return self.path / "attempts.jsonl"

    @property
    def attempt(self) -> Path:
        """The attempt that goes on, or whose launcher was killed."""
        return self.path / "attempt.json"

    @property
    def lease(self) -> Path:
        """Folder of the lease: who carries the run out, with a heartbeat."""
        return self.path / "lease"

    @property
    def job(self) -> Path:
        """The batch job that the run was last submitted as."""
        return self.path / "job.json"

    @property
    def task(self) -> Path:
        """What the Snakemake in the batch job is told of the run."""
        return self.path / "task.json"

    @property
    def stop(self) -> Path:
        """There when the attempt that goes on is to pause."""
        return self.path / "stop"

    @property
    def rank_script(self) -> Path:
        """What the launcher starts on each rank."""
        return self.path / "rank.sh"

    @property
    def outcome(self) -> Path:
        """The result, once there is one."""
        return self.path / "outcome.json"

    @property
    def failure(self) -> Path:
        """What a rank wrote before it gave up: class and message."""
        return self.path / "failure.json"

    @property
    def environment(self) -> Path:
        """What the last attempt ran on: hosts, device, versions."""
        return self.path / "environment.json"

    @property
    def content(self) -> Path:
        """The content that this folder belongs to."""
        return self.path / "content.json"

    def meeting(self, attempt: int) -> Path:
        """Where the ranks of an attempt learn how to reach the first one."""
        return self.path / f"meeting-{attempt}.json"

    def log(self, rank: int) -> Path:
        """Standard output and error of a rank."""
        return self.path / "logs" / f"rank{rank}.log"

    @property
    def launcher_log(self) -> Path:
        """What the launcher of the ranks printed, and ranks that did not come to know their number."""
        return self.path / "logs" / "launcher.log"


def write_atomic(path: Path, text: str) -> None:
    """Replace a file so that a reader, or a crash, meets the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_first(path: Path, value: Any) -> bool:
    """Write JSON whole, unless the file is there: what other ranks say later follows from what the first one said."""
    own = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    write_json(own, value)
    try:
        os.link(own, path)  # atomic, on network file systems too
    except FileExistsError:
        own.unlink()
        return False
    except OSError:  # a file system without links: the last of two at the same moment wins
        if path.exists():
            own.unlink()
            return False
        os.replace(own, path)
        return True
    own.unlink()
    return True


def read_json(path: Path) -> Any | None:
    """Read JSON; None where there is no file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def rows_to_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """CSV with a header; floats keep every bit, None is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in columns} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Add rows to a CSV, with a header if it is new; flushed to disk."""
    text = rows_to_csv(rows, columns)
    _append(path, text, text.partition("\n")[2])


def _append(path: Path, first: str, further: str) -> None:
    """Add text, `first` to a file without a whole line, else `further`, behind its last whole line, to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0)
        end = file.read().rfind(b"\n") + 1
        file.truncate(end)  # a line that a crash cut off would swallow the next one
        file.write((further if end else first).encode())
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV as text; none where there is no file. A last line that a crash cut off is left out."""
    if not path.exists():
        return []
    text = path.read_text()
    return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))


def keep_rows(path: Path, columns: Sequence[str], column: str, limit: int) -> None:
    """Drop the rows whose `column` is above `limit`: what came after the checkpoint that training resumes from."""
    if path.exists():
        kept = [row for row in read_rows(path) if int(row[column]) <= limit]
        write_atomic(path, rows_to_csv(kept, columns))


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add one line of JSON to a file of lines."""
    line = json.dumps(value, sort_keys=True) + "\n"
    _append(path, line, line)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a file of JSON lines; none where there is no file."""
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def published_files(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of what is published of a run, or of a measurement: its record, then its rows."""
    if "throughput" in content:
        return ("measurement.json", "steps.csv")
    return ("run.json", "epochs.csv", "steps.csv")


def count_failures(state: StateFolder) -> int:
    """Attempts of a run that failed, 0 for a run that was never started."""
    return sum(attempt["state"] == "failed" for attempt in read_lines(state.attempts))
