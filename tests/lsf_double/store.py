"""The folder with all state: settings, jobs, calls, faults. Writes are atomic and happen under one lock."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .job import Job


class LsfError(Exception):
    """What a command says on standard error before it exits with 255."""


@dataclass(frozen=True)
class Settings:
    """The cluster."""

    hosts: tuple[str, ...]
    slots_per_host: int
    gpus_per_host: int = 8
    launch_host: str = "127.0.1.1"
    """Easy mode: where a job's command starts, with one slot, in front of the compute hosts."""
    queues: dict[str, int | None] = field(default_factory=lambda: {"normal": None})
    """Run limit in minutes by queue; the first is the default queue."""
    easy_mode: bool = False
    minute_sec: float = 60.0
    """Real seconds a minute of -W and -wt."""
    grace_sec: float = 2.0
    """Between SIGUSR2 at the run limit and SIGINT."""
    kill_interval_sec: float = 10.0
    """Between SIGINT, SIGTERM and SIGKILL."""
    report_late_sec: float = 0.0
    """From the end of a job to the report in its output file, as a slow file system shows it."""
    fields_lacking: tuple[str, ...] = ()
    """What this bjobs does not know after -o, as older ones do not."""
    queue_hosts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Hosts by queue, of those that do not have all."""
    clean_period_sec: float = 3600.0
    """How long bjobs still knows a job that ended."""
    cluster: str = "double"


class Store:
    """The folder and the one lock on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held = False
        self._thread = threading.RLock()

    @property
    def settings(self) -> Settings:
        """As the cluster was made."""
        values = read_json(self.folder / "settings.json")
        return Settings(
            **{**values, "hosts": tuple(values["hosts"]), "fields_lacking": tuple(values["fields_lacking"])}
        )

    def write_settings(self, settings: Settings) -> None:
        """Once, when the cluster is made."""
        write_json(self.folder / "settings.json", asdict(settings))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Serialise with all other processes; ends with its holder, however that ends. May be nested."""
        with self._thread:
            if self._held:
                yield
                return
            with (self.folder / "lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._held = True
                try:
                    yield
                finally:
                    self._held = False

    @property
    def closed(self) -> bool:
        """Whether nothing may start any more."""
        return (self.folder / "closed").exists()

    def job_folder(self, job_id: int) -> Path:
        """Everything of one job."""
        return self.folder / "jobs" / str(job_id)

    def job(self, job_id: int) -> Job | None:
        """None if there never was one."""
        values = read_json(self.job_folder(job_id) / "job.json")
        return None if values is None else Job.from_json(values)

    def jobs(self) -> list[Job]:
        """All, by id."""
        ids = sorted(int(path.name) for path in (self.folder / "jobs").iterdir())
        return [job for job in map(self.job, ids) if job]

    def new_id(self) -> int:
        """The next job's."""
        with self.lock():
            number = (read_json(self.folder / "last_id.json") or 100) + 1
            write_json(self.folder / "last_id.json", number)
            return number

    def write_job(self, job: Job) -> Job:
        """Create or replace; returns the job."""
        with self.lock():
            write_json(self.job_folder(job.id) / "job.json", job.to_json())
            return job

    def update(self, job_id: int, **changes: Any) -> Job:
        """Change fields of a job."""
        with self.lock():
            job = self.job(job_id)
            assert job is not None, f"job {job_id} is not in {self.folder}"
            return self.write_job(replace(job, **changes))

    def record_call(self, command: str, words: list[str]) -> None:
        """One line a call of a command."""
        with self.lock(), (self.folder / "calls.jsonl").open("a") as file:
            file.write(json.dumps({"command": command, "words": words, "time": time.time()}) + "\n")

    def calls(self, command: str) -> list[list[str]]:
        """Words of all calls, in order."""
        lines = (self.folder / "calls.jsonl").read_text().splitlines()
        return [call["words"] for call in map(json.loads, lines) if call["command"] == command]

    def down_hosts(self) -> tuple[str, ...]:
        """Hosts that take no jobs."""
        return tuple(read_json(self.folder / "down.json") or ())


def write_json(path: Path, value: Any) -> None:
    """Replace a file: a reader meets the old value or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value))
    os.replace(temporary, path)


def read_json(path: Path) -> Any | None:
    """None where there is no file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
