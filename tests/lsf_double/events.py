"""LSF's own files: lsb.events, which only grows, lsb.params, and what `badmin showconf` says of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from .environment import user
from .job import EVENT_CODES, SUBMIT_HOST, Job
from .store import Settings, Store


def write_configuration(store: Store, settings: Settings) -> None:
    """lsb.params and an empty lsb.events, where LSF has them."""
    params = store.folder / "conf/lsbatch" / settings.cluster / "configdir/lsb.params"
    params.parent.mkdir(parents=True)
    params.write_text(
        "Begin Parameters\n"
        f"DEFAULT_QUEUE = {next(iter(settings.queues))}   #default job queue name\n"
        "MBD_SLEEP_TIME = 10\n"
        f"JOB_TERMINATE_INTERVAL = {settings.kill_interval_sec:g}\n"
        f"CLEAN_PERIOD = {settings.clean_period_sec:g}\n"
        "End Parameters\n"
    )
    events = _events(store, settings)
    events.parent.mkdir(parents=True)
    events.write_text("")


def configuration(store: Store) -> str:
    """Of mbatchd, as `badmin showconf mbd` prints it."""
    values = {
        "LSB_SHAREDIR": str(store.folder / "work"),
        "LSF_CONFDIR": str(store.folder / "conf"),
        "LSF_ENVDIR": str(store.folder / "conf"),
        "LSF_BINDIR": str(store.folder / "bin"),
        "LSF_UNIT_FOR_LIMITS": "MB",
        "LSB_STDOUT_DIRECT": "Y",
    }
    lines = "".join(f"\t{name} = {value}\n" for name, value in values.items())
    return f"MBD configuration at {time.strftime('%a %b %e %H:%M:%S %Y')}\n{lines}"


def log_new(store: Store, job: Job) -> None:
    """JOB_NEW: the user is field 5, the job's name field 42, also for an awk that does not know quotes."""
    request = job.request
    now = int(job.submitted)
    # event, version, time, job, user id, options, slots, submitted, begin, deadline, signal, checkpoints, restart
    fields: list = ['"JOB_NEW"', '"10.1"', now, job.id, os.geteuid(), 0, request.slots_min, now, 0, 0, 0, 0, 0]
    # user, 11 limits, host specification, host factor, umask, queue, requirements, submission host, folder
    fields += [_quoted(user()), *[-1] * 11, '""', "1.0", 18, _quoted(request.queue)]
    fields += [_quoted("".join(request.requirements)), _quoted(SUBMIT_HOST), _quoted(request.cwd)]
    # checkpoint folder, input, output, error, home, job file, asked hosts, dependency, pre-exec, name, command
    fields += ['""', _quoted(request.stdin), _quoted(request.out), _quoted(request.err), '""', '""', 0]
    fields += [_quoted(request.depends), '""', _quoted(request.name), _quoted(request.command), request.slots_max]
    _append(store, fields)


def log_state(store: Store, job: Job) -> None:
    """JOB_STATUS: the new state is field 5."""
    now = int(time.time())
    ended = int(job.ended or 0)
    state = EVENT_CODES[job.state]
    _append(store, ['"JOB_STATUS"', '"10.1"', now, job.id, state, 0, 0, "0.0000", ended, 0, 0, 0, job.exit_code or 0])


def _quoted(text: str) -> str:
    # mawk splits quoted fields at spaces; only the job name and what follows it may have them
    return '"' + text.replace('"', '""').replace(" ", "_").replace("\n", ";") + '"'


def _events(store: Store, settings: Settings) -> Path:
    return store.folder / "work" / settings.cluster / "logdir/lsb.events"


def _append(store: Store, fields: list) -> None:
    with store.lock(), _events(store, store.settings).open("a") as file:
        file.write(" ".join(map(str, fields)) + "\n")
