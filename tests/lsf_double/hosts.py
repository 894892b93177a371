"""bhosts and bqueues, as IBM LSF 10.1 prints them."""

from __future__ import annotations

import sys

from .job import PENDING, STARTED, SUSPENDED, Job
from .store import LsfError, Settings, Store

HEAD = "HOST_NAME          STATUS          JL/U    MAX  NJOBS    RUN  SSUSP  USUSP    RSV "


def bhosts(store: Store, words: list[str]) -> int:
    """Of all hosts or of those named; -w tells why a host is closed."""
    wide, names = words[:1] == ["-w"], [word for word in words if word != "-w"]
    if any(word.startswith("-") for word in names):
        raise LsfError(f"bhosts: illegal option -- {names[0].lstrip('-')}")
    settings = store.settings
    unknown = [name for name in names if name not in settings.hosts]
    print(HEAD if wide else HEAD.replace("STATUS   ", "STATUS"))
    jobs, down = [job for job in store.jobs() if job.true_state in STARTED], store.down_hosts()
    for host in names or settings.hosts:
        if host not in unknown:
            print(_row(host, jobs, settings, is_down=host in down, wide=wide))
    sys.stdout.flush()
    for name in unknown:
        print(f"{name}: Bad host name, host group name or cluster name", file=sys.stderr)
    return 255 if unknown else 0


def _row(host: str, jobs: list[Job], settings: Settings, *, is_down: bool, wide: bool) -> str:
    slots = {job.true_state: 0 for job in jobs}
    for job in jobs:
        slots[job.true_state] += job.hosts.count(host)
    used = sum(slots.values())
    exclusive = any(job.request.exclusive and host in job.hosts for job in jobs)
    detail = "Excl" if exclusive else "Full" if used >= settings.slots_per_host else ""
    state = "unavail" if is_down else f"closed{'_' + detail if wide else ''}" if detail else "ok"
    numbers = [settings.slots_per_host, used, slots.get("RUN", 0), slots.get("SSUSP", 0), slots.get("USUSP", 0), 0]
    cells = "".join(f"{number:>7}" for number in numbers)
    return f"{host:<18} {state:<{15 if wide else 12}}    -{cells} "


def bqueues(store: Store, words: list[str]) -> int:
    """With -l the hosts of queues, and their run limits."""
    settings = store.settings
    if words[:1] != ["-l"]:
        raise LsfError("the double of LSF models no other option of bqueues than -l")
    for name in words[1:] or settings.queues:
        if name not in settings.queues:
            raise LsfError(f"{name}: No such queue")
        print(_queue(name, settings, [job for job in store.jobs() if job.request.queue == name]), flush=True)
    return 0


def _queue(name: str, settings: Settings, jobs: list[Job]) -> str:
    count = {
        "NJOBS": [job for job in jobs if not job.finished],
        "PEND": [job for job in jobs if job.true_state in PENDING],
        "RUN": [job for job in jobs if job.true_state == "RUN"],
        "SUSP": [job for job in jobs if job.true_state in SUSPENDED],
    }
    limit = settings.queues[name]
    run_limit = f" RUNLIMIT\n {limit:.1f} min\n" if limit else ""
    hosts = settings.queue_hosts.get(name)
    cells = "".join(f"{len(found):>6}" for found in count.values())
    return f"""
QUEUE: {name}
  -- No description provided.

PARAMETERS/STATISTICS
PRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN  SUSP
 30    0  Open:Active       -    -    -    -{cells}
{run_limit}SCHEDULING PARAMETERS
           r15s   r1m  r15m   ut      pg    io   ls    it    tmp    swp    mem
 loadSched   -     -     -     -       -     -    -     -     -      -      -
 loadStop    -     -     -     -       -     -    -     -     -      -      -

USERS: all
HOSTS:  {" ".join(hosts) if hosts else "all"}
"""
