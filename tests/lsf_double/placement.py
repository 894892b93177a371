"""Which hosts a job gets: its slots on what is free now, or nothing."""

from __future__ import annotations

from .job import STARTED, Job, Request, host_counts
from .store import Settings


def free_slots(jobs: list[Job], settings: Settings, down: tuple[str, ...]) -> dict[str, int]:
    """Free slots by host; none on a host that is down or has an exclusive job."""
    free = {host: settings.slots_per_host for host in settings.hosts if host not in down}
    for job in jobs:
        if job.true_state not in STARTED:
            continue
        for host, count in host_counts(job.hosts).items():
            if host in free:
                free[host] = 0 if job.request.exclusive else free[host] - count
    return free


def eligible(request: Request, settings: Settings) -> list[str]:
    """Hosts that a job may have at all."""
    of_queue = settings.queue_hosts.get(request.queue, settings.hosts)
    return [host for host in of_queue if host not in request.but and (not request.hosts or host in request.hosts)]


def place(request: Request, free: dict[str, int], settings: Settings) -> tuple[str, ...] | None:
    """One host a slot, as many slots as there are between least and most; None if the job has to wait."""
    if request.gpus > settings.gpus_per_host:
        return None
    usable = {host: slots for host, slots in free.items() if host in eligible(request, settings)}
    if request.exclusive:
        usable = {host: slots for host, slots in usable.items() if slots == settings.slots_per_host}
    if request.nodes:
        chosen = list(usable)[: request.nodes]
        slots = tuple(host for host in chosen for _ in range(usable[host]))
        return (settings.launch_host, *slots) if len(chosen) == request.nodes else None
    for count in range(request.slots_max, request.slots_min - 1, -1):
        if hosts := _slots(request, count, usable):
            return hosts
    return None


def _slots(request: Request, count: int, usable: dict[str, int]) -> tuple[str, ...] | None:
    most = count if request.one_host else request.ptile or max(usable.values(), default=0)
    hosts: list[str] = []
    for host, slots in usable.items():
        wanted = min(most, count - len(hosts))
        # with a span a host is good for its whole share or for nothing
        if (request.one_host or request.ptile) and slots < wanted:
            continue
        hosts += [host] * min(slots, wanted)
    return tuple(hosts) if len(hosts) == count else None
