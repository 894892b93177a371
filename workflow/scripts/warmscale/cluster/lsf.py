"""LSF: the words of bsub, what bsub and bjobs answer, the hosts of a job. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from .ask import COMMAND_TIMEOUT_SEC, RefusedError, answer, chunks, silence
from .job_shell import enter

if TYPE_CHECKING:
    from .placement import Where
    from .site import Site

ALIVE = frozenset({"PEND", "FWD_PEND", "PSUSP", "PROV", "WAIT", "RUN", "SSUSP", "USUSP", "UNKWN", "RUNKWN", "ZOMBI"})
"""States of a job that may still write, now or later.

PEND, FWD_PEND, PROV (its host is being woken) and WAIT (in a chunk) have not begun; PSUSP, USUSP and SSUSP are
suspended by a user or by the system, and are resumed. UNKWN and RUNKWN: contact with the host is lost, while the job
goes on there or will be found dead when the host comes back. ZOMBI: killed while the host could not be reached, so
perhaps not dead. A state that is in neither set is to be taken for one of these: only OVER says that a job ended.
"""
OVER = frozenset({"DONE", "EXIT", "PDONE", "PERR", "POST_DONE", "POST_ERR"})
"""States from which a job does not come back under its id (a requeued one is PEND again); P...: after its epilogue."""

DONE = frozenset({"DONE", "PDONE", "POST_DONE"})
"""Those of them that tell of success."""
WAITING = frozenset({"PEND"})
"""States of a job that has not begun, and waits for hosts."""
UNREACHED = frozenset({"UNKWN", "RUNKWN", "ZOMBI"})
"""States of a job whose host LSF cannot reach."""
CANCEL = "bkill"

TRANSIENT = re.compile(
    r"(LSF|LIM|mbatchd|batch daemon|batch system|sbatchd)\b.*\b(down|not ready|busy|unavailable)"
    r"|please wait|did not answer|still trying|try again|retry|not respond"
    r"|cannot connect|connection (refused|reset|timed out|closed)|communication (time ?out|error)|timed out|time ?out"
    r"|resource temporarily unavailable|no route to host|network is unreachable|host is unreachable"
    r"|failed in (sending|receiving|opening)|broken pipe|cannot fork|unable to fork"
    r"|pending job (slot )?threshold|job (limit|threshold).*reached|limit of pending|too many (pending|active|open)",
    re.IGNORECASE,
)
"""What bsub says when the same call may succeed later: daemons that restart, the network, a bound on pending jobs."""

LOST = re.compile(
    r"did not answer|tim(ed|e) ?-?out|connection (reset|closed)|failed in (sending|receiving)|broken pipe",
    re.IGNORECASE,
)
"""What it says when the job may have been taken all the same."""

LIMIT = re.compile(
    r"pending job threshold|job (limit|threshold).*reached|limit of pending|too many (pending|active)", re.IGNORECASE
)
"""What it says when so many jobs wait that it takes no more: it will, when one of them has ended."""
REFUSED = re.compile(
    r"no such|illegal|bad |cannot use|cannot exceed|not permitted|denied|invalid|too many processors|unknown",
    re.IGNORECASE,
)
"""What it says when the same call will never succeed."""
LATE_SEC = 30.0
"""A new job may be known so much later: bjobs answers from a copy that LSF renews."""
NO_JOB = re.compile(r"is not found|no (\w+ )?job found", re.IGNORECASE)
"""What bjobs says of jobs that are not there."""
ASKING_FORMS = (["bjobs", "-a", "-noheader", "-o", "jobid stat"], ["bjobs", "-a", "-w"])
"""The second one for LSF's older relatives, whose bjobs has no -o: JOBID USER STAT and more."""


def bsub_words(
    site: Site,
    *,
    where: Where,
    name: str,
    log: str | Path,
    cwd: str | Path,
    walltime_min: int,
    command: str,
    avoid: Sequence[str] = (),
    alone: bool = False,
) -> list[str]:
    """The words of a submission, for a call without a shell; `command` is one word for the shell of the first host.

    `avoid`: hosts that the job must not get; `alone`: it gets whole nodes. What LSF does by default, as passing the
    environment on, is not asked for: its relatives have no such options.
    """
    words = ["bsub", "-J", name, "-o", str(log), "-e", str(log)]
    words += ["-P", site.project] if site.project else []
    words += ["-q", site.queue] if site.queue else []
    words += ["-W", str(walltime_min)]
    words += _easy_words(site, where) if site.style == "easy" else _plain_words(site, where, alone)
    others = " && ".join(f"hname!='{host}'" for host in avoid)
    words += ["-R", f"select[{others}]"] if avoid else []
    return [*words, *site.extra, f"{enter(cwd)}; {command}"]


def lifting_words(job_id: str, words: Sequence[str]) -> list[str]:
    """The words that let a job that waits get any host; `words` are those of its submission, with no host to avoid."""
    kept = [word for option, value in pairwise(words) if option == "-R" for word in (option, value)]
    kept += [word for word in words if re.match("-R.", word)]  # of the site's: option and value in one word
    return ["bmod", *(kept or ["-Rn"]), job_id]


def _plain_words(site: Site, where: Where, alone: bool) -> list[str]:
    share = site.share(where, alone=alone)
    words = ["-n", str(where.nodes * share.slots), "-R", f"span[ptile={share.slots}]"]
    if share.memory_gb:
        words += ["-R", f"rusage[mem={share.memory_gb}GB]"]
    if share.gpus and "-gpu" not in site.extra:
        words += ["-gpu", f"num={share.gpus}:mode=exclusive_process"]
    return words


def _easy_words(site: Site, where: Where) -> list[str]:
    """Summit's kind: whole nodes, and a launch node beside them on which the command runs."""
    return ["-nnodes", str(where.nodes), *(["-alloc_flags", site.alloc_flags] if site.alloc_flags else [])]


def job_id_in(said: str) -> str:
    """Id of the job that bsub says it submitted; raises RefusedError with what it said instead."""
    found = re.search(r"Job <(\d+)> is submitted", said)
    if not found:
        raise RefusedError(f"bsub names no job: {' '.join(said.split()) or 'it said nothing'}")
    return found[1]


def states(job_ids: Sequence[str], timeout_sec: float = COMMAND_TIMEOUT_SEC) -> dict[str, str]:
    """{job id: state} of the jobs that LSF knows, also of those that ended lately; raises SchedulerSilentError."""
    return {job_id: state for chunk in chunks(job_ids) for job_id, state in _states(chunk, timeout_sec).items()}


def own_states(timeout_sec: float) -> dict[str, str]:
    """The same of all jobs of this user."""
    return _states([], timeout_sec)


def _states(job_ids: Sequence[str], timeout_sec: float) -> dict[str, str]:
    complaint = None
    for form in ASKING_FORMS:
        code, said = answer([*form, *job_ids], timeout_sec=timeout_sec)
        if (known := states_in(said)) or NO_JOB.search(said):
            return known
        complaint = complaint or silence(form, code, said)
    raise complaint


def states_in(said: str) -> dict[str, str]:
    """{job id: state} from what `ASKING_FORMS` answer; a job that LSF does not know any more is left out."""
    rows = [line.split() for line in said.splitlines()]
    rows = [row for row in rows if len(row) > 1 and row[0].isdigit()]
    return {row[0]: row[1] if len(row) == 2 else row[2] for row in rows}


def is_transient(message: str) -> bool:
    """Whether the same bsub may succeed later. What is not recognised is not transient."""
    return bool(TRANSIENT.search(message))


def is_lost(message: str) -> bool:
    """Whether bsub may have submitted the job without hearing of it."""
    return bool(LOST.search(message))


def is_limit(message: str) -> bool:
    """Whether the same bsub will succeed when other jobs of this user have ended."""
    return bool(LIMIT.search(message))


def is_refused(message: str) -> bool:
    """Whether the same bsub will never succeed."""
    return bool(REFUSED.search(message)) and not is_transient(message) and not is_limit(message)


def refusal_in(said: str) -> str:
    """What bsub says, in one line."""
    return f"bsub: {' '.join(said.split())}"


def hosts_of_job(environment: Mapping[str, str], *, launch_node: bool = False) -> list[str]:
    """Hosts that LSF gave to this job, each once, in its order; none outside of a job.

    With launch_node (style easy) the first one is left out: it is not the run's.
    """
    file = Path(environment.get("LSB_DJOB_HOSTFILE", ""))
    if file.is_file():
        names = file.read_text().split()
    elif counted := environment.get("LSB_MCPU_HOSTS"):  # host slots host slots ...
        names = counted.split()[::2]
    else:
        names = environment.get("LSB_HOSTS", "").split()
    return list(dict.fromkeys(names))[1 if launch_node else 0 :]
