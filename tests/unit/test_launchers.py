"""How ranks are started: the words of every launcher, and those that are installed here for real."""

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from warmscale.cluster.launchers import THREADS, Container, LaunchError, LaunchPlan, launch_command, rank_script
from warmscale.cluster.lsf import hosts_of_job

TIMEOUT_SEC = 120
SUMMIT = LaunchPlan("jsrun", nodes=40, ranks_per_node=6, cores_per_node=42, gpus_per_node=6, bind=True)
SCRIPT = Path("/state/run/rank.sh")
SHOW_RANK = """
import os, sys
print(os.environ["OMP_NUM_THREADS"], os.environ["GREETING"], os.environ["WARMSCALE_NODE_LOCAL"], os.getcwd(), sys.argv)
"""
ALL_REDUCE = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank()])
dist.all_reduce(total)
os.write(1, f"rank {dist.get_rank()} of {dist.get_world_size()} sum {total.item()}\\n".encode())
dist.barrier()
dist.destroy_process_group()
"""
FAKE_BLAUNCH = """#!/usr/bin/env python3
# blaunch -z "HOST HOST" WORD...: starts the words once a host, all at once
import os, subprocess, sys
hosts, words = sys.argv[2].split(), sys.argv[3:]
started = [subprocess.Popen(words, env={**os.environ, "FAKE_HOST": host}) for host in hosts]
sys.exit(max(process.wait() for process in started))
"""


def run(words, **environment):
    given = {**os.environ, **environment}
    return subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_SEC, check=False, env=given)


def write(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def words_of(plan, environment=()):
    return launch_command(plan, SCRIPT, dict(environment))


def test_a_plan_comes_back_from_its_json():
    container = Container("/images/a.sif", options=("--bind", "/data"))
    plan = replace(SUMMIT, setup=("module load a",), environment=(("A", "1"),), container=container, options=("-x",))
    for known in (plan, LaunchPlan()):
        assert LaunchPlan.from_json(json.loads(json.dumps(known.to_json()))) == known


def test_a_plan_says_how_many_ranks_and_threads_there_are():
    assert (SUMMIT.ranks, SUMMIT.cores_per_rank) == (240, 7)
    assert replace(SUMMIT, cores_per_node=4).cores_per_rank == 1


def test_jsrun_has_a_resource_set_a_node():
    assert words_of(replace(SUMMIT, options=("--smpiargs=off",))) == [
        *("jsrun", "-n", "40", "-r", "1", "-a", "6", "-g", "6", "-c", "42", "-d", "packed", "-b", "packed:7"),
        *("--smpiargs=off", "bash", str(SCRIPT)),
    ]


def test_srun_has_the_tasks_of_each_node_and_ends_all_when_one_fails():
    assert words_of(replace(SUMMIT, launcher="srun")) == [
        *("srun", "--nodes", "40", "--ntasks", "240", "--ntasks-per-node", "6", "--cpus-per-task", "7"),
        *("--gres", "gpu:6", "--mpi=none", "--kill-on-bad-exit=1", "--export=ALL", "bash", str(SCRIPT)),
    ]


def test_srun_asks_for_no_gpus_where_there_are_none():
    assert "--gres" not in words_of(replace(SUMMIT, launcher="srun", gpus_per_node=0))


def test_mpirun_binds_the_ranks_of_whole_nodes(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    environment = {"PATH": "/bin", "WARMSCALE_X": "1", "CUDA_VISIBLE_DEVICES": "0", "EDITOR": "ed"}
    assert words_of(replace(SUMMIT, launcher="mpirun"), environment) == [
        *("mpirun", "-np", "240", "--map-by", "ppr:6:node:PE=7", "--bind-to", "core", "-x", "PATH"),
        *("-x", "WARMSCALE_X", "bash", str(SCRIPT)),
    ]


def test_mpirun_binds_nothing_on_a_node_that_is_shared(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    words = words_of(LaunchPlan("mpirun", ranks_per_node=4, cores_per_node=2))
    assert words[1:-2] == ["-np", "4", "--map-by", "ppr:4:node", "--bind-to", "none", "--oversubscribe"]


def test_mpirun_leaves_mapping_to_options_that_have_one():
    words = words_of(replace(SUMMIT, launcher="mpirun", options=("--bind-to", "socket")))
    assert words.count("--bind-to") == 1
    assert "--map-by" not in words


def test_mpirun_is_allowed_for_root_only_where_root_calls_it(monkeypatch):
    for user, allowed in ((0, True), (1000, False)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert ("--allow-run-as-root" in words_of(LaunchPlan("mpirun"))) is allowed


def test_setup_comes_before_the_launcher_which_keeps_the_process_id():
    words = words_of(replace(SUMMIT, setup=("module load a",)))
    assert words[:2] == ["bash", "-c"]
    assert words[2].splitlines()[:2] == ["set -e", "module load a"]
    assert words[2].splitlines()[2].startswith("exec jsrun -n 40")


def test_launcher_local_has_no_command():
    with pytest.raises(LaunchError, match="local has no command"):
        words_of(LaunchPlan())


def test_hosts_of_a_job_come_from_its_file_else_from_its_variables(tmp_path):
    file = tmp_path / "hosts"
    file.write_text("h1\nh1\nh2\nh2\n")
    counted, plain = {"LSB_MCPU_HOSTS": "h3 42 h4 42"}, {"LSB_HOSTS": "h5 h5 h6"}
    assert hosts_of_job({"LSB_DJOB_HOSTFILE": str(file)} | counted | plain) == ["h1", "h2"]
    assert hosts_of_job({"LSB_DJOB_HOSTFILE": str(tmp_path / "none")} | counted | plain) == ["h3", "h4"]
    assert hosts_of_job(plain) == ["h5", "h6"]
    assert hosts_of_job({}) == []


def test_the_launch_node_is_not_one_of_the_hosts():
    assert hosts_of_job({"LSB_MCPU_HOSTS": "batch5 1 a1 42 a2 42"}, launch_node=True) == ["a1", "a2"]


def test_blaunch_starts_the_script_once_a_host_with_a_meeting_place_on_the_first():
    plan = LaunchPlan("blaunch", nodes=2, ranks_per_node=6)
    words = words_of(plan, {"LSB_HOSTS": "h1 h1 h2 h2", "LSB_JOBID": "77"})
    assert words[:5] == ["blaunch", "-z", "h1 h2", "bash", str(SCRIPT)]
    host, port = words[5].split(":")
    assert host == "h1" and 1024 < int(port) < 65536
    assert words[6] == f"77-{port}"


def test_blaunch_is_refused_in_one_line_where_hosts_are_missing():
    with pytest.raises(LaunchError) as refused:
        words_of(LaunchPlan("blaunch", nodes=3), {"LSB_HOSTS": "h1 h2"})
    assert str(refused.value) == "LSF gave this job 2 hosts, 3 are needed: h1 h2"


def test_a_rank_on_a_cpu_has_one_thread_however_many_cores_it_has():
    """More of them sum in another order: the same number of ranks would not give the same bits everywhere."""
    script = rank_script(LaunchPlan(cores_per_node=8), ["train.py"])
    assert {f"export {name}=1" for name in THREADS} <= set(script.splitlines())


def test_a_rank_has_the_setup_and_the_environment_of_the_site(tmp_path):
    plan = LaunchPlan(
        cores_per_node=7,
        gpus_per_node=1,
        setup=("export GREETING=no",),
        environment=(("GREETING", 'it\'s "fine" $HOME'),),
        python=sys.executable,
        node_local="/tmp/$NOBODY",
    )
    folder = tmp_path / "with space"
    folder.mkdir()
    script = write(tmp_path / "rank.sh", rank_script(plan, ["-c", SHOW_RANK, "a b", "$HOME"], folder))
    ended = run(["bash", script], NOBODY="me")
    expected = f"7 it's \"fine\" $HOME /tmp/me {folder} ['-c', 'a b', '$HOME']\n"
    assert (ended.returncode, ended.stdout) == (0, expected), ended.stderr


def test_a_rank_ends_where_its_setup_fails(tmp_path):
    script = write(tmp_path / "rank.sh", rank_script(LaunchPlan(setup=("false",), python="echo"), ["started"]))
    ended = run(["bash", script])
    assert ended.returncode == 1
    assert "started" not in ended.stdout


def test_a_rank_has_the_process_id_of_its_script(tmp_path):
    script = write(tmp_path / "rank.sh", rank_script(LaunchPlan(python="bash"), ["-c", "echo $$"]))
    process = subprocess.Popen(["bash", script], stdout=subprocess.PIPE, text=True)
    assert process.communicate(timeout=TIMEOUT_SEC)[0] == f"{process.pid}\n"


def test_a_container_sees_the_folders_of_the_command():
    plan = replace(SUMMIT, container=Container("/images/a.sif", options=("--cleanenv",)), node_local="/mnt/bb/$USER")
    command = [
        "/code/train.py",
        "--state",
        "/results/s/state/mb32-lr0.1",
        "--index",
        "/results/d/i.tsv",
        "/code/b.py",
        "/repo/a",
    ]
    last = rank_script(plan, [*command, "--root", "/data"], Path("/repo")).splitlines()[-1]
    assert last == (
        "exec apptainer exec --nv --pwd /repo --bind /repo --bind /code --bind /results/s/state --bind /results/d "
        '--bind /data --bind "/mnt/bb/$USER" --cleanenv /images/a.sif python3 '
        + " ".join([*command, "--root", "/data"])
    )


def test_a_container_without_gpus_asks_for_none():
    assert "--nv" not in rank_script(LaunchPlan(container=Container("/images/a.sif")), ["a.py"])


def test_torchrun_runs_in_the_container_and_its_ranks_do_not_enter_it_again():
    script = rank_script(LaunchPlan("blaunch", nodes=2, container=Container("/images/a.sif")), ["a.py"])
    (entering,) = [line for line in script.splitlines() if "apptainer" in line]
    assert "python3 -m torch.distributed.run --nnodes 2" in entering
    assert script.splitlines()[-1] == "exec python3 a.py"


def test_blaunch_and_torchrun_make_one_world_of_the_ranks_of_two_hosts(tmp_path):
    write(tmp_path / "blaunch", FAKE_BLAUNCH)
    program = write(tmp_path / "program.py", ALL_REDUCE)
    plan = LaunchPlan("blaunch", nodes=2, ranks_per_node=2, python=sys.executable)
    script = write(tmp_path / "rank.sh", rank_script(plan, [str(program)], tmp_path))
    environment = {"LSB_HOSTS": "127.0.0.1 127.0.0.2", "LSB_JOBID": "1"}
    words = launch_command(plan, script, environment)
    ended = run(words, PATH=f"{tmp_path}:{os.environ['PATH']}", **environment)
    assert sorted(ended.stdout.splitlines()) == [f"rank {rank} of 4 sum 6" for rank in range(4)], ended.stderr


@pytest.mark.skipif(not shutil.which("mpirun"), reason="mpirun is not installed: apt-get install openmpi-bin")
def test_two_runs_under_mpirun_at_the_same_time_do_not_meet(tmp_path):
    plan = LaunchPlan("mpirun", ranks_per_node=3, cores_per_node=1, python=sys.executable)
    started = []
    for name in ("a", "b"):
        program = (
            "import os, time; time.sleep(1); "
            "numbers = [os.environ[f'OMPI_COMM_WORLD_{part}'] for part in ('RANK', 'SIZE', 'LOCAL_RANK')]; "
            f"os.write(1, ' '.join(['{name}', *numbers, chr(10)]).encode())"  # at once: other ranks write as well
        )
        script = write(tmp_path / f"{name}.sh", rank_script(plan, ["-c", program], tmp_path))
        words = launch_command(plan, script, dict(os.environ))
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append((name, subprocess.Popen(words, text=True, **pipes)))
    for name, process in started:
        out, err = process.communicate(timeout=TIMEOUT_SEC)
        assert sorted(out.split("\n")[:-1]) == [f"{name} {rank} 3 {rank} " for rank in range(3)], err
