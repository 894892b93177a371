"""jsrun of easy mode: tasks in resource sets on the compute hosts, with jsrun's and Spectrum MPI's rank variables."""

from __future__ import annotations

import re

from .launch import Task, allocation, compute_hosts, run_tasks
from .store import LsfError, Store

LONG = {
    "nrs": "n",
    "rs_per_host": "r",
    "tasks_per_rs": "a",
    "cpu_per_rs": "c",
    "gpu_per_rs": "g",
    "np": "p",
    "launch_distribution": "d",
    "bind": "b",
    "latency_priority": "l",
    "env": "E",
    "smpiargs": "smpiargs",
}
NUMBERS = "nracgp"


def main(store: Store, words: list[str]) -> int:
    """n resource sets of a tasks, r a host; the first task that fails ends all."""
    values, extra, command = _read(list(words))
    free = compute_hosts(store, allocation(store, "jsrun"))
    sets = _resource_sets(values, free, store.settings.gpus_per_host)
    if not command:
        raise LsfError("Error: no command was given to jsrun")
    places = [host for host in sets for _ in range(values.get("a", 1))]
    tasks = [
        Task(tuple(command), host, {**extra, **_ranks(places, rank), "LSF_DOUBLE_RS": str(rank // values.get("a", 1))})
        for rank, host in enumerate(places)
    ]
    return run_tasks(tasks, end_all_on_failure=True)


def _resource_sets(values: dict[str, int], slots: dict[str, int], gpus: int) -> list[str]:
    """The host of each resource set. LsfError if the job's hosts have no room for them."""
    cpus = values.get("c", values.get("a", 1))
    fits = min([count // cpus for count in slots.values()], default=0)
    if values.get("g"):
        fits = min(fits, gpus // values["g"])
    per_host = values.get("r", fits)
    total = values.get("n") or (per_host * len(slots) if "r" in values else values.get("p", 1))
    if per_host > fits or total > per_host * len(slots):
        raise LsfError("Error: It is not possible to schedule the requested resource sets on the job's hosts")
    return [host for host in slots for _ in range(per_host)][:total]


def _ranks(places: list[str], rank: int) -> dict[str, str]:
    local = places[:rank].count(places[rank])
    size, local_size = len(places), places.count(places[rank])
    return {
        "JSM_NAMESPACE_RANK": str(rank),
        "JSM_NAMESPACE_SIZE": str(size),
        "JSM_NAMESPACE_LOCAL_RANK": str(local),
        "JSM_NAMESPACE_LOCAL_SIZE": str(local_size),
        "OMPI_COMM_WORLD_RANK": str(rank),
        "OMPI_COMM_WORLD_SIZE": str(size),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(local),
        "OMPI_COMM_WORLD_LOCAL_SIZE": str(local_size),
        "PMIX_RANK": str(rank),
    }


def _read(words: list[str]) -> tuple[dict[str, int], dict[str, str], list[str]]:
    """(numbers by short option, variables of -E, command)."""
    numbers: dict[str, int] = {}
    extra: dict[str, str] = {}
    while words and words[0].startswith("-"):
        word = words.pop(0)
        # -n4, -n 4, --nrs 4, --nrs=4
        match = re.fullmatch(r"--(\w+)(?:=(.*))?|-(\w)(.*)", word, re.DOTALL)
        name = (LONG.get(match[1], "") if match[1] else match[3]) if match else ""
        if name not in LONG.values():
            raise LsfError(f"jsrun: unrecognized option '{word}'")
        value = (match[2] if match[1] else match[4] or None) if match else None
        if value is None:
            if not words:
                raise LsfError(f"jsrun: option '{word}' requires an argument")
            value = words.pop(0)
        if name in NUMBERS:
            if not value.isdigit() or (name != "g" and not int(value)):
                raise LsfError(f"jsrun: invalid value '{value}' for option '{word}'")
            numbers[name] = int(value)
        elif name == "E" and "=" in value:
            variable, _, content = value.partition("=")
            extra[variable] = content
    return numbers, extra, words
