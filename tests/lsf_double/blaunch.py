"""blaunch: a command on hosts of the job. It sets no variable that tells the tasks apart."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from .launch import Task, allocation, run_tasks
from .store import LsfError, Store

SHELL = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
"""As /bin/sh of the systems LSF runs on: it replaces itself by a single command, which then gets the signals alone."""


def main(store: Store, words: list[str]) -> int:
    """`-z "A B"`, `-u FILE` or `A` in front of the command: once a host; else once a slot."""
    slots = allocation(store, "blaunch")
    hosts, command, shell, no_input = _read(list(words), store)
    for host in hosts or ():
        if host not in slots:
            raise LsfError(f"blaunch: host <{host}> is not in the job's allocation")
    if not command:
        raise LsfError("Usage: blaunch [-n] [-u host_file | -z host_name ... | host_name] command [argument ...]")
    argv = (SHELL, "-c", " ".join(command)) if shell else tuple(command)
    tasks = [Task(argv, host, {}) for host in hosts or slots]
    return run_tasks(tasks, end_all_on_failure=False, keep_input=len(tasks) == 1 and not no_input)


def _read(words: list[str], store: Store) -> tuple[list[str] | None, list[str], bool, bool]:
    """(hosts, command, through a shell, without input)."""
    hosts: list[str] | None = None
    shell, no_input = True, False
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("-z", "-u") and words and hosts is None:
            value = words.pop(0)
            hosts = shlex.split(value if option == "-z" else Path(value).read_text())
        elif option == "-n":
            no_input = True
        elif option in ("-no-shell", "-use-login-shell"):
            shell = option != "-no-shell"
        else:
            raise LsfError(f"blaunch: illegal option -- {option.lstrip('-')}")
    if hosts is None and words and words[0] in (*store.settings.hosts, store.settings.launch_host):
        hosts = [words.pop(0)]
    return hosts, words, shell, no_input
