"""Which rank a process is: from what launchers really set (environments/*.json), and from what contradicts itself.

jsrun.json and lsf.json are written after IBM's documentation, the others are recorded.
"""

import json
from pathlib import Path

import pytest

from warmscale.cluster.discovery import DiscoveryError, Rank, discover, is_launched
from warmscale.cluster.ports import PORTS

RECORDED = {path.stem: json.loads(path.read_text()) for path in Path(__file__).with_name("environments").glob("*.json")}
ONLY_ONE = Rank(0, 1, 0)
NOT_LAUNCHED = {"lsf", "sbatch"}
"""What a process sees that runs in a job, but was not started by a launcher."""
LAUNCHED = sorted(RECORDED.keys() - NOT_LAUNCHED)
TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "x"}
MEETING = {"MASTER_ADDR": "node01", "MASTER_PORT": "29500"}
OURS = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}


def test_all_launchers_are_recorded():
    assert RECORDED.keys() >= {"srun", "mpirun", "torchrun", "jsrun", "lsf", "blaunch_torchrun"}


@pytest.mark.parametrize("name", LAUNCHED)
def test_each_process_of_a_launcher_is_another_rank_of_one_world(name):
    found = {int(rank): discover(environment) for rank, environment in RECORDED[name].items()}
    assert len(found) > 1
    assert {number: rank.rank for number, rank in found.items()} == {number: number for number in range(len(found))}
    assert {rank.world_size for rank in found.values()} == {len(found)}


@pytest.mark.parametrize("name", LAUNCHED)
def test_local_ranks_count_from_zero_on_each_node(name):
    found = [discover(environment) for environment in RECORDED[name].values()]
    nodes = len([rank for rank in found if rank.local_rank == 0])
    assert sorted(rank.local_rank for rank in found) == sorted([*range(len(found) // nodes)] * nodes)


def test_only_torchrun_says_where_ranks_meet():
    meeting = {name for name in LAUNCHED if discover(RECORDED[name]["0"]).master}
    assert meeting == {"torchrun", "blaunch_torchrun"}
    masters = {discover(environment).master for environment in RECORDED["blaunch_torchrun"].values()}
    ((address, port),) = masters
    assert address == RECORDED["blaunch_torchrun"]["0"]["LSB_HOSTS"].split()[0]  # which the first rank is on
    assert port in PORTS


@pytest.mark.parametrize("name", sorted(NOT_LAUNCHED & RECORDED.keys()))
def test_a_process_of_a_job_that_nobody_launched_is_the_only_rank(name):
    assert {discover(environment) for environment in RECORDED[name].values()} == {ONLY_ONE}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_it_is_known_whether_a_process_was_launched(name):
    assert {is_launched(environment) for environment in RECORDED[name].values()} == {name not in NOT_LAUNCHED}
    assert is_launched(OURS) and not is_launched({})


def test_a_process_outside_of_any_job_is_the_only_rank():
    assert discover({}) == ONLY_ONE


def test_a_batch_script_with_several_tasks_is_not_one_of_them():
    batch = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    assert discover(batch) == ONLY_ONE


@pytest.mark.parametrize("outer", ["srun", "mpirun", "jsrun"])
def test_torchrun_decides_inside_another_launcher(outer):
    assert discover(RECORDED[outer]["0"] | TORCHRUN | MEETING) == Rank(3, 4, 1, ("node01", 29500))


def test_mpirun_decides_where_srun_started_its_daemons():
    assert discover(RECORDED["srun"]["1"] | RECORDED["mpirun"]["0"]) == Rank(0, 2, 0)


def test_our_own_ranks_do_not_take_a_meeting_place_that_a_shell_exported():
    assert discover(OURS | MEETING) == Rank(1, 2, 1, None)


def test_our_own_ranks_may_run_in_a_step_of_one_task():
    step = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    assert discover(OURS | step) == Rank(1, 2, 1)


@pytest.mark.parametrize(
    "environment, line",
    [
        (
            {"RANK": "0"},
            "RANK is set, but WORLD_SIZE is not: a launcher sets both",
        ),
        (
            {"RANK": "0", "WORLD_SIZE": "2"},
            "RANK is set, but LOCAL_RANK is not: a launcher sets both",
        ),
        (
            {"RANK": "first", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
            "RANK is 'first', must be a whole number",
        ),
        (
            {"OMPI_COMM_WORLD_RANK": "4", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "0"},
            "OMPI_COMM_WORLD_RANK=4, OMPI_COMM_WORLD_SIZE=4 and OMPI_COMM_WORLD_LOCAL_RANK=0 contradict each other: "
            "must be 0 <= OMPI_COMM_WORLD_LOCAL_RANK <= OMPI_COMM_WORLD_RANK < OMPI_COMM_WORLD_SIZE",
        ),
        (
            TORCHRUN | {"MASTER_ADDR": "node01"},
            "MASTER_ADDR is set, but MASTER_PORT is not: a launcher sets both",
        ),
        (
            TORCHRUN | MEETING | {"MASTER_PORT": "http"},
            "MASTER_PORT is 'http', must be a whole number",
        ),
        (
            {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"} | RECORDED["srun"]["1"],
            "RANK=0 of WORLD_SIZE=2 contradicts SLURM_PROCID, which says rank 1 of 2: unset RANK, WORLD_SIZE and "
            "LOCAL_RANK before launching",
        ),
        (
            {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"} | RECORDED["mpirun"]["1"],
            "RANK=0 of WORLD_SIZE=1 contradicts OMPI_COMM_WORLD_RANK, which says rank 1 of 2: unset RANK, WORLD_SIZE "
            "and LOCAL_RANK before launching",
        ),
    ],
)
def test_variables_that_are_incomplete_or_contradict_each_other_are_one_line(environment, line):
    with pytest.raises(DiscoveryError) as refused:
        discover(environment)
    assert str(refused.value) == line
