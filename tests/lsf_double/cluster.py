"""The handle of a test on a double of LSF: make one, make it fail, read back what happened."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from . import events
from .faults import DOWN, Fault, fault, write_fault
from .job import PENDING, STARTED, Job
from .processes import LAUNCHER, end_all, own_processes, signal_job
from .scheduler import MAIN, heal
from .store import Settings, Store, write_json

COMMANDS = ("bsub", "bjobs", "bkill", "bmod", "bhosts", "bqueues", "badmin", "lsclusters", "bhist", "blaunch")
LAUNCHERS = ("blaunch", "jsrun")
ALWAYS = 10.0**12
NO_ANSWER = "Failed in an LSF library call: Communication time out. Job not submitted."
"""What bsub says when mbatchd took the job and answered too late."""


class Cluster:
    """An LSF cluster whose hosts are loopback addresses of this machine: 127.0.0.1, 127.0.0.2, ..."""

    def __init__(
        self,
        folder: Path,
        hosts: int | Sequence[str] = 4,
        slots_per_host: int = 2,
        minute_sec: float = 60.0,
        queues: Mapping[str, int | None] | None = None,
        **settings,
    ) -> None:
        """`queues`: run limit in minutes by name. `settings`: further fields of store.Settings."""
        names = [f"127.0.0.{number + 1}" for number in range(hosts)] if isinstance(hosts, int) else hosts
        self.store = Store(Path(folder).resolve())
        (self.store.folder / "jobs").mkdir(parents=True)
        (self.store.folder / "calls.jsonl").touch()
        self.settings = Settings(
            tuple(names), slots_per_host, queues=dict(queues or {"normal": None}), minute_sec=minute_sec, **settings
        )
        self.store.write_settings(self.settings)
        events.write_configuration(self.store, self.settings)
        for command in COMMANDS + (("jsrun",) if self.settings.easy_mode else ()):
            self._write_command(command)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Nothing starts any more, and every process that the double started ends."""
        (self.store.folder / "closed").touch()
        with self.store.lock():
            left = end_all(lambda: own_processes(self.store))
        assert not left, f"processes {left} of {self.store.folder} survive SIGKILL"

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """For processes that are to meet the double: its commands come first on the PATH."""
        base = os.environ if base is None else base
        path = f"{self.store.folder / 'bin'}:{base.get('PATH', os.defpath)}"
        conf = str(self.store.folder / "conf")
        return {**base, "PATH": path, "LSF_DOUBLE": str(self.store.folder), "LSF_ENVDIR": conf}

    def run(self, *words: str, **options) -> subprocess.CompletedProcess:
        """A command, `run("bjobs", "-a")`; options as of subprocess.run."""
        defaults = dict(env=self.environment(), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        if "input" in options:
            del defaults["stdin"]
        return subprocess.run([str(self.store.folder / "bin" / words[0]), *words[1:]], **{**defaults, **options})

    def submit(self, *words: str, **options) -> int:
        """bsub with these words; the new job's id. AssertionError with LSF's message if it is refused."""
        result = self.run("bsub", *words, **options)
        match = re.search(r"Job <(\d+)> is submitted", result.stdout)
        assert match, f"bsub {words}: exit code {result.returncode}: {result.stderr}"
        return int(match[1])

    def wait(self, job_id: int, *states: str, timeout_sec: float = 30.0) -> Job:
        """Until bjobs would report one of the states (without any: until the job is over)."""
        return self.wait_for(
            lambda: next(
                (job for job in [self.job(job_id)] if job.state in states or (not states and job.finished)), None
            ),
            f"job {job_id} in {states or 'DONE or EXIT'}",
            timeout_sec,
        )

    def wait_for(self, condition: Callable, what: str, timeout_sec: float = 30.0):
        """What the condition returns once it is true. AssertionError with all jobs after the time-out."""
        deadline = time.monotonic() + timeout_sec
        while not (value := condition()):
            assert time.monotonic() < deadline, f"no {what} in {timeout_sec} s: {self.jobs()}"
            time.sleep(0.02)
        return value

    def job(self, job_id: int) -> Job:
        """One job as it is now."""
        heal(self.store)
        job = self.store.job(job_id)
        assert job, f"job {job_id} is not in {self.store.folder}"
        return job

    def jobs(self) -> list[Job]:
        """All, by id, also those that bjobs has forgotten."""
        heal(self.store)
        return self.store.jobs()

    def calls(self, command: str) -> list[list[str]]:
        """The words of each call of a command, in order."""
        return self.store.calls(command)

    def log(self, job_id: int) -> str:
        """What is in the job's output file; nothing before there is one."""
        path = Path(self.job(job_id).log)
        return path.read_text() if path.exists() else ""

    def fail_next(self, command: str, times: int = 1, message: str = DOWN, code: int = 255) -> None:
        """The next calls print the message and exit with the code."""
        self._fault(command, fail_times=times, message=message, code=code)

    def outage(self, command: str, seconds: float | None = None, message: str = DOWN, code: int = 255) -> None:
        """All calls fail for some time; without one until `recover`."""
        self._fault(
            command, down_until=time.time() + (ALWAYS if seconds is None else seconds), message=message, code=code
        )

    def lose_answers(self, command: str, message: str = NO_ANSWER, after_sec: float = 0.0, times: int = 1) -> None:
        """The next calls do what they are asked for, and fail after some time as if they had not."""
        self._fault(command, lose_times=times, lose_after_sec=after_sec, lost_message=message)

    def slow(self, command: str, seconds: float) -> None:
        """Every call takes longer by so much, until `recover`."""
        self._fault(command, delay_sec=seconds)

    def recover(self, command: str) -> None:
        """Call all faults of a command off."""
        with self.store.lock():
            write_fault(self.store, command, Fault())

    def set_state(self, job_id: int, state: str | None) -> None:
        """UNKWN: contact is lost, processes run on. SSUSP, USUSP: they stop. PSUSP: a pending job waits. None: undo."""
        with self.store.lock():
            job = self.job(job_id)
            group = PENDING if state == "PSUSP" else STARTED
            if state and (state not in ("UNKWN", "SSUSP", "USUSP", "PSUSP") or job.true_state not in group):
                raise ValueError(f"job {job_id} is {job.true_state} and cannot become {state}")
            changes: dict = dict(unreachable=state == "UNKWN")
            if state in ("SSUSP", "USUSP"):
                signal_job(self.store, job_id, signal.SIGSTOP, job.session)
                changes["true_state"] = state
            elif job.true_state in ("SSUSP", "USUSP"):
                signal_job(self.store, job_id, signal.SIGCONT, job.session)
                changes["true_state"] = "RUN"
            elif job.true_state in PENDING:
                changes["true_state"] = state or "PEND"
            events.log_state(self.store, self.store.update(job_id, **changes))
        self._dispatch()

    def kill_host(self, host: str, stays_down: bool = False) -> None:
        """Power off: jobs with a slot on it are killed and EXIT (-r: run again). Usable again at once unless told."""
        with self.store.lock():
            if stays_down:
                write_json(self.store.folder / "down.json", [*self.store.down_hosts(), host])
            for job in self.jobs():
                if job.true_state in STARTED and host in job.hosts:
                    self.store.update(job.id, kill="host")

    def kill_job(self, job_id: int, reason: str) -> None:
        """LSF kills a job, for a reason that is a key of REASONS."""
        self.store.update(job_id, kill="lsf", reason=reason)

    def open_host(self, host: str) -> None:
        """A host that stayed down takes jobs again."""
        with self.store.lock():
            write_json(self.store.folder / "down.json", [other for other in self.store.down_hosts() if other != host])
        self._dispatch()

    def _fault(self, command: str, **changes) -> None:
        with self.store.lock():
            write_fault(self.store, command, replace(fault(self.store, command), **changes))

    def _dispatch(self) -> None:
        # in a process of its own: supervisors must not become children of the test
        command = [sys.executable, "-I", "-S", str(MAIN), "_dispatch"]
        subprocess.run(command, env={"LSF_DOUBLE": str(self.store.folder)}, check=True, timeout=60)

    def _write_command(self, name: str) -> None:
        path = self.store.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        mark = f"export {LAUNCHER}=1\n" if name in LAUNCHERS else ""
        folder, python, main = (shlex.quote(str(item)) for item in (self.store.folder, sys.executable, MAIN))
        # whose commands are on the PATH decides, also in a job that has an environment of its own
        path.write_text(f'#!/bin/sh\nexport LSF_DOUBLE={folder}\n{mark}exec {python} -I -S {main} {name} "$@"\n')
        path.chmod(0o755)
