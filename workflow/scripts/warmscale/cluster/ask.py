"""Asking a scheduler's commands, and reading the logs of its jobs. Standard library only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

COMMAND_TIMEOUT_SEC = 300.0
IDS_A_CALL = 200
TAIL_BYTES = 20_000
MISSING, CANNOT_START, HANGS = 127, 126, 124
"""Exit codes of commands that gave no answer of their own."""
SNAKEMAKE_ENDS_WITH = ("Exiting because", "Complete log", "Elapsed time", "Shutting down", "Job stats", "At least")


class SchedulerSilentError(Exception):
    """The scheduler gave no usable answer."""


class RefusedError(RuntimeError):
    """A submission that gave no job, with what the scheduler said."""


def answer(
    words: Sequence[str], *, timeout_sec: float = COMMAND_TIMEOUT_SEC, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Exit code of a command and all that it says; 127: it is missing, 126: it cannot start, 124: it hangs."""
    try:
        done = subprocess.run(
            words,
            env=environment,
            start_new_session=True,  # a terminal's Ctrl-C must not end a submission that is under way
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_sec,
            check=False,
        )
    except FileNotFoundError:
        return MISSING, f"{words[0]} is not on the PATH"
    except OSError as error:  # no memory or no process id left on a busy login node
        return CANNOT_START, f"{words[0]} cannot be started: {error.strerror}; try again"
    except subprocess.TimeoutExpired:
        return HANGS, f"{words[0]} did not answer in {timeout_sec:.0f} s"
    return done.returncode, done.stdout


def chunks(job_ids: Sequence[str]) -> list[Sequence[str]]:
    """As many ids as a command line takes."""
    return [job_ids[start : start + IDS_A_CALL] for start in range(0, len(job_ids), IDS_A_CALL)]


def silence(words: Sequence[str], code: int, said: str) -> SchedulerSilentError:
    """What to raise for an answer that cannot be used."""
    return SchedulerSilentError(f"{words[0]}: {' '.join(said.split()) or f'exit code {code}'}")


def tail(log: str | Path) -> str:
    """The end of a log, empty where there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def last_line(text: str) -> str:
    """The last line that is not how Snakemake always ends."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(SNAKEMAKE_ENDS_WITH)]
    return lines[-1] if lines else "its log is empty"
