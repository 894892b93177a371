"""Which rank this process is, from what its launcher left in the environment. Standard library only.

Torchrun also says where the ranks meet (MASTER_ADDR, MASTER_PORT). The other launchers do not: `master` is None then,
rank 0 opens a port that the system chooses and publishes it in a file of the attempt in the run's state folder. So no
two runs on a host can take each other's port.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Environment = Mapping[str, str]


class DiscoveryError(ValueError):
    """Variables of launchers that are incomplete or contradict each other, said in one line."""


@dataclass(frozen=True)
class Rank:
    """A process with one device."""

    rank: int
    world_size: int
    local_rank: int
    """Number on its node, from 0."""
    master: tuple[str, int] | None = None
    """Address and port where the ranks meet, where the launcher says so. Torchrun listens there, not a rank."""

    @property
    def is_first(self) -> bool:
        """The rank that writes what is written once."""
        return self.rank == 0


def discover(environment: Environment) -> Rank:
    """The rank that this process is; one that nobody launched is the only one. Raises DiscoveryError.

    The innermost launcher decides: torchrun runs inside blaunch or srun, and Open MPI's mpirun starts its daemons by
    srun inside a job of Slurm.
    """
    found = _found(environment)
    if not found:
        return Rank(0, 1, 0)
    name, rank = found[0]
    if name == "RANK" and "TORCHELASTIC_RUN_ID" not in environment:
        # a RANK that was exported in a shell would make every process of a launcher the same rank
        for other_name, other in found[1:]:
            if other.world_size > 1 and (other.rank, other.world_size) != (rank.rank, rank.world_size):
                raise DiscoveryError(
                    f"RANK={rank.rank} of WORLD_SIZE={rank.world_size} contradicts {other_name}, which says rank "
                    f"{other.rank} of {other.world_size}: unset RANK, WORLD_SIZE and LOCAL_RANK before launching"
                )
    return rank


def is_launched(environment: Environment) -> bool:
    """Whether a launcher, or our own parent, started this process. Raises DiscoveryError."""
    return bool(_found(environment))


def _found(environment: Environment) -> list[tuple[str, Rank]]:
    """What each launcher says that left anything, inner ones before outer ones."""
    return [(launcher, rank) for launcher, read in _LAUNCHERS if (rank := read(environment))]


def _of_torch(environment: Environment) -> Rank | None:
    """Torchrun, and our own parent on one node, which sets no MASTER_ADDR."""
    rank = _rank(environment, "RANK", "WORLD_SIZE", "LOCAL_RANK")
    address = environment.get("MASTER_ADDR")
    if not rank or not address or "TORCHELASTIC_RUN_ID" not in environment:
        return rank
    return Rank(rank.rank, rank.world_size, rank.local_rank, (address, _number(environment, "MASTER_PORT")))


def _of_jsrun(environment: Environment) -> Rank | None:
    return _rank(environment, "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK")


def _of_mpirun(environment: Environment) -> Rank | None:
    return _rank(environment, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")


def _of_srun(environment: Environment) -> Rank | None:
    """A task of a step: the batch script of a job has SLURM_PROCID and the job's SLURM_NTASKS too, but no step."""
    if "SLURM_STEP_ID" not in environment or "SLURM_STEP_NUM_TASKS" not in environment:
        return None
    return _rank(environment, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")


_LAUNCHERS: tuple[tuple[str, Callable[[Environment], Rank | None]], ...] = (
    ("RANK", _of_torch),
    ("JSM_NAMESPACE_RANK", _of_jsrun),
    ("OMPI_COMM_WORLD_RANK", _of_mpirun),
    ("SLURM_PROCID", _of_srun),
)
"""The variable that shows a launcher, and its reader; inner launchers before outer ones."""


def _rank(environment: Environment, rank: str, world_size: str, local_rank: str) -> Rank | None:
    """What three variables say, or None where the first one is not set."""
    if rank not in environment:
        return None
    found = Rank(*(_number(environment, name, because=rank) for name in (rank, world_size, local_rank)))
    if not 0 <= found.local_rank <= found.rank < found.world_size:
        raise DiscoveryError(
            f"{rank}={found.rank}, {world_size}={found.world_size} and {local_rank}={found.local_rank} contradict "
            f"each other: must be 0 <= {local_rank} <= {rank} < {world_size}"
        )
    return found


def _number(environment: Environment, name: str, because: str = "MASTER_ADDR") -> int:
    value = environment.get(name)
    if value is None:
        raise DiscoveryError(f"{because} is set, but {name} is not: a launcher sets both")
    try:
        return int(value)
    except ValueError:
        raise DiscoveryError(f"{name} is {value!r}, must be a whole number") from None
