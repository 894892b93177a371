"""Out of memory: recognised in every disguise, and what the machine has to say about it. Standard library only."""

from __future__ import annotations

import errno
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SAYS_OUT_OF_MEMORY = re.compile(
    r"out of memory"  # CUDA, its driver, NCCL ("Cuda failure 2 'out of memory'")
    r"|_ALLOC(ATION)?_FAILED"  # CUBLAS_STATUS_ALLOC_FAILED, CUDNN_..._DEVICE_ALLOCATION_FAILED
    r"|Failed to CUDA (host)?[mc]?alloc"  # NCCL
    r"|DefaultCPUAllocator: (can't allocate|not enough) memory"
    r"|not enough memory: you tried to allocate"
    r"|Cannot allocate memory"  # ENOMEM in words
    r"|std::bad_alloc",
    re.IGNORECASE,
)
SAYS_HOST = re.compile(r"DefaultCPUAllocator|you tried to allocate|Cannot allocate memory|bad_alloc", re.IGNORECASE)
SAYS_KILLED = re.compile(r"oom[-_ ]kill|out[-_ ]of[-_ ]memory|TERM_MEMLIMIT", re.IGNORECASE)
"""slurmstepd, the kernel, LSF."""
ASKED = (
    (re.compile(r"[Tt]ried to allocate ([\d.]+) ([KMG]iB)"), {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}),
    (re.compile(r"you tried to allocate (\d+) (bytes)"), {"bytes": 1}),
    (re.compile(r"Unable to allocate ([\d.]+) ([KMGTP]iB)"), {f"{c}iB": 2 ** (10 * i) for i, c in enumerate(" KMGTP")}),
)
UNLIMITED = 2**60
"""cgroup v1 says so with a number near 2^63."""
PROC = Path("/proc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it came from, is a lack of memory on the host or on a device."""
    return any(_lacks_memory(each) for each in _chain(error))


def is_of_host(error: BaseException) -> bool:
    """Whether it is the host's memory that was lacking, not a device's."""
    kinds = (MemoryError, OSError)
    lacking = (each for each in _chain(error) if _lacks_memory(each))
    return any(isinstance(each, kinds) or SAYS_HOST.search(str(each)) for each in lacking)


def asked_mib(error: BaseException) -> float | None:
    """What could not be had, where a message tells."""
    for each in _chain(error):
        for pattern, units in ASKED:
            if found := pattern.search(str(each)):
                return float(found[1]) * units[found[2]] / 2**20
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came from or came up beside."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _lacks_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and bool(SAYS_OUT_OF_MEMORY.search(str(error)))


def tells_of_memory(log: str) -> bool:
    """Whether the last words of a process, its launcher or its batch system are of memory."""
    found = (pattern.search(log) for pattern in (SAYS_OUT_OF_MEMORY, SAYS_KILLED, re.compile("MemoryError")))
    return any(found)


def killed_for_memory(before: int | None, after: int | None) -> bool:
    """Whether the kernel killed for memory between two answers of `oom_kills`."""
    return before is not None and after is not None and after > before


def oom_kills() -> int | None:
    """Processes that the kernel killed for want of memory, so far.

    In this process's cgroup and those below it (v2) or in it alone (v1), whoever's limit it was; else on the whole
    machine; None where nothing tells. Two answers tell of processes that were killed in between.
    """
    for folder in _cgroups():
        for name in ("memory.events", "memory.oom_control"):
            if (count := _fields(folder / name).get("oom_kill")) is not None:
                return count
    return _fields(PROC / "vmstat").get("oom_kill")


@dataclass(frozen=True)
class HostLimit:
    """The tightest bound on the memory of this process."""

    mib: float
    what: str
    """Of what it is the size."""
    is_address_space: bool
    """It counts what is mapped, of this process alone; else what is resident, of all that share it."""
    used_mib: float | None
    """By all that share it; None where only this process counts."""


def host_limit() -> HostLimit | None:
    """RLIMIT_AS, or the cgroup's limit, or the machine's memory; None off Linux."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        return HostLimit(soft / 2**20, "address space under ulimit -v", True, None)
    machine = {name: kib / 2**10 for name, kib in _fields(PROC / "meminfo").items()}
    if "MemTotal:" not in machine:
        return None
    limits = [_cgroup_limit(folder) for folder in _cgroups()]
    used = machine["MemTotal:"] - machine.get("MemAvailable:", 0.0)
    limits.append(HostLimit(machine["MemTotal:"], "memory of the machine", False, used))
    return min((limit for limit in limits if limit), key=lambda limit: limit.mib)


def _cgroup_limit(folder: Path) -> HostLimit | None:
    names = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for limit_name, used_name in names:
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None and limit < UNLIMITED:
            counts = _fields(folder / "memory.stat")
            reclaimable = counts.get("total_inactive_file", counts.get("inactive_file", 0))
            used_mib = None if used is None else (used - reclaimable) / 2**20
            return HostLimit(limit / 2**20, f"memory of the cgroup ({folder})", False, used_mib)
    return None


def process_mib() -> dict[str, float]:
    """Memory of this process: VmSize, VmPeak (mapped), VmRSS, VmHWM (resident), as far as the system tells."""
    fields = _fields(PROC / "self/status")
    known = {
        name: fields[f"{name}:"] / 2**10 for name in ("VmSize", "VmPeak", "VmRSS", "VmHWM") if f"{name}:" in fields
    }
    return {"VmHWM": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10} | known


def reset_resident_peak() -> bool:
    """Let VmHWM start anew from VmRSS; False where the system cannot (man 5 proc, clear_refs)."""
    try:
        (PROC / "self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _cgroups() -> list[Path]:
    """Folders of this process's memory cgroup and of those around it, the innermost first."""
    own = [line.split(":", 2) for line in _lines(PROC / "self/cgroup")]
    folders = []
    for root, point, options in _cgroup_mounts():
        for _, controllers, path in own:
            if controllers and "memory" not in controllers.split(","):
                continue
            if ("memory" in options) != bool(controllers):
                continue
            below = path if root == "/" else path.removeprefix(root)
            folder = Path(point) / below.lstrip("/")
            folders += [each for each in (folder, *folder.parents) if each.is_relative_to(point) and each.is_dir()]
    return folders


def _cgroup_mounts() -> Iterator[tuple[str, str, list[str]]]:
    """(root within the hierarchy, mount point, options) of cgroup v2 and of v1's memory controller."""
    for line in _lines(PROC / "self/mountinfo"):
        words, _, rest = line.partition(" - ")
        kind, options = rest.partition(" ")[0], rest.rpartition(" ")[2].split(",")
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options):
            root, point = words.split(" ")[3:5]
            yield root, point, options if kind == "cgroup" else []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, ValueError):
        return []


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _fields(path: Path) -> dict[str, int]:
    """{first word: number behind it} of a file of such lines."""
    words = (line.split() for line in _lines(path))
    return {each[0]: int(each[1]) for each in words if len(each) > 1 and each[1].isdigit()}
