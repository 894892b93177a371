"""A job: what bsub was asked for, and what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

PENDING = ("PEND", "PSUSP")
SUSPENDED = ("USUSP", "SSUSP")
STARTED = ("RUN", *SUSPENDED)
FINISHED = ("DONE", "EXIT")
EVENT_CODES = {"PEND": 1, "PSUSP": 2, "RUN": 4, "SSUSP": 8, "USUSP": 16, "EXIT": 32, "DONE": 64, "UNKWN": 65536}
"""States as lsb.events writes them."""

SUBMIT_HOST = "localhost"
"""Where bsub runs."""
REASONS = {
    "TERM_RUNLIMIT": "job killed after reaching LSF run time limit",
    "TERM_OWNER": "job killed by owner",
    "TERM_FORCE_OWNER": "job killed by owner without time for cleanup",
    "TERM_MEMLIMIT": "job killed after reaching LSF memory usage limit",
    "TERM_ZOMBIE": "job exited while LSF is not available (host failure)",
}


@dataclass(frozen=True)
class Request:
    """What bsub was asked for."""

    command: str = ""
    """Shell text."""
    name: str = ""
    queue: str = ""
    project: str = "default"
    cwd: str = ""
    """Absolute; where the job runs."""
    submitted_from: str = ""
    """Absolute; where bsub was called."""
    out: str = ""
    """File for standard output as given, with %J; empty: mail, which the double keeps in the job's folder."""
    err: str = ""
    stdin: str = "/dev/null"
    overwrite: bool = False
    """-oo: the output file starts anew."""
    mail_report: bool = False
    """-N: the closing report goes to the mail."""
    slots_min: int = 1
    slots_max: int = 1
    ptile: int = 0
    """Slots a host; 0: no matter."""
    one_host: bool = False
    exclusive: bool = False
    nodes: int = 0
    """Whole hosts (-nnodes, easy mode); 0: slots count."""
    gpus: int = 0
    """A host."""
    hosts: tuple[str, ...] = ()
    """-m: only on these; empty: on all."""
    run_limit_min: int | None = None
    warning_min: int = 0
    """-wt: before the run limit."""
    warning_signal: str = ""
    """-wa, without SIG."""
    requeue: str = ""
    """-Q as given."""
    rerunnable: bool = False
    depends: str = ""
    """-w as given."""
    held: bool = False
    """-H: begins in PSUSP."""
    priority: int = 0
    environment: str = "all"
    """-env as given."""
    shell: str = ""
    """-L: a login shell instead of /bin/sh."""
    requirements: tuple[str, ...] = ()
    """-R as given."""
    but: tuple[str, ...] = ()
    """select[hname!=...]: not on these."""


@dataclass(frozen=True)
class Job:
    """A job and what became of it. Times are seconds since 1970."""

    id: int
    words: tuple[str, ...]
    """The bsub command line without `bsub`, exactly as given."""
    request: Request
    true_state: str = "PEND"
    """PEND PSUSP RUN USUSP SSUSP DONE EXIT."""
    unreachable: bool = False
    """LSF lost contact: reported as UNKWN whatever the processes do."""
    hosts: tuple[str, ...] = ()
    """One entry a slot."""
    exit_code: int | None = None
    """As LSF counts: 128 + number for a signal."""
    reason: str = ""
    """Why LSF ended it: a key of REASONS."""
    kill: str = ""
    """What the supervisor is asked to do: owner, host, lsf."""
    submitted: float = 0.0
    started: float | None = None
    """Of the last run."""
    ended: float | None = None
    times_run: int = 0
    session: int | None = None
    """Of the processes of the last run."""
    log: str = ""
    """File of the standard output, %J resolved."""

    @property
    def name(self) -> str:
        """As bjobs shows it."""
        return self.request.name

    @property
    def state(self) -> str:
        """As bjobs reports it."""
        return "UNKWN" if self.unreachable else self.true_state

    @property
    def finished(self) -> bool:
        """DONE or EXIT, whatever is reported."""
        return self.true_state in FINISHED

    def to_json(self) -> dict[str, Any]:
        """Plain built-ins."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Job:
        """The inverse of to_json."""
        return Job(**{**_tuples(Job, values), "request": Request(**_tuples(Request, values["request"]))})


def _tuples(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(kind)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name in known}


def host_counts(hosts: tuple[str, ...]) -> dict[str, int]:
    """Slots by host, in order of first appearance."""
    counts: dict[str, int] = {}
    for host in hosts:
        counts[host] = counts.get(host, 0) + 1
    return counts


def exec_host(hosts: tuple[str, ...]) -> str:
    """As bjobs writes it: 2*hostA:hostB."""
    return ":".join(f"{count}*{host}" if count > 1 else host for host, count in host_counts(hosts).items())
