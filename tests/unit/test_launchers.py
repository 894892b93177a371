"""How ranks are started: the words of every launcher, and those that are installed here for real."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from warmscale.cluster.job_shell import CACHES
from warmscale.cluster.launchers import THREADS, Container, LaunchError, LaunchPlan, launch_commands, rank_script
from warmscale.cluster.lsf import hosts_of_job
from warmscale.cluster.ports import reserved_port

TIMEOUT_SEC = 120
SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
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
place = os.environ["FAKE_HOST"], os.environ["MASTER_ADDR"]
os.write(1, f"rank {dist.get_rank()} of {dist.get_world_size()} sum {total.item()} {place}\\n".encode())
dist.barrier()
dist.destroy_process_group()
"""
FAKE_BLAUNCH = """#!/usr/bin/env bash
# blaunch -z HOST WORD...: becomes the words, on the first host latest
[ "$2" != 127.0.0.1 ] || sleep 1
export FAKE_HOST=$2
shift 2
exec "$@"
"""
OUTLIVE_WARNINGS = """
import os, signal, time
heard = []
signal.signal(signal.SIGUSR2, lambda *_: heard.append(1))
open(f"started{os.environ['RANK']}", "w").close()
while not heard:
    time.sleep(0.05)
time.sleep(1)
os.write(1, b"heard, and went on\\n")
"""


def run(words, **environment):
    given = {**os.environ, **environment}
    return subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_SEC, check=False, env=given)


def descendants(pid):
    """Processes that a process started, and those that they did."""

    def parent(stat):
        return int(stat.read_text().rpartition(")")[2].split()[1])

    children = [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if parent(stat) == pid]
    return [each for child in children for each in (child, *descendants(child))]


def write(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def words_of(plan, environment=()):
    (words,) = launch_commands(plan, SCRIPT, dict(environment))
    return words


def start_on_two_hosts(folder, program, ranks_per_node):
    """What blaunch starts for a program, as processes of this machine."""
    write(folder / "blaunch", FAKE_BLAUNCH)
    plan = LaunchPlan("blaunch", nodes=2, ranks_per_node=ranks_per_node, python=sys.executable)
    script = write(folder / "rank.sh", rank_script(plan, [str(write(folder / "program.py", program))], folder))
    environment = {**os.environ, "LSB_HOSTS": "127.0.0.1 127.0.0.2", "PATH": f"{folder}:{os.environ['PATH']}"}
    with reserved_port() as port:
        for words in launch_commands(plan, script, environment, port):
            yield subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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


def test_blaunch_is_called_once_a_host_with_its_number_and_the_first_host_by_the_name_that_lsf_has_for_it():
    plan = LaunchPlan("blaunch", nodes=2, ranks_per_node=6)
    assert launch_commands(plan, SCRIPT, {"LSB_HOSTS": "h1 h1 h2 h2 h3"}, 20_001) == [
        ["blaunch", "-z", "h1", "bash", str(SCRIPT), "0", "h1", "20001"],
        ["blaunch", "-z", "h2", "bash", str(SCRIPT), "1", "h1", "20001"],
    ]


def test_setup_comes_before_each_blaunch():
    plan = LaunchPlan("blaunch", nodes=2, setup=("module load a",))
    commands = launch_commands(plan, SCRIPT, {"LSB_HOSTS": "h1 h2"}, 20_001)
    assert [command[2].splitlines()[1:] for command in commands] == [
        ["module load a", f"exec blaunch -z {host} bash {SCRIPT} {number} h1 20001"]
        for number, host in enumerate(("h1", "h2"))
    ]


def test_two_runs_of_a_host_never_have_the_same_port():
    """Though neither listens yet."""
    ask = """
import sys
from warmscale.cluster import ports
ports.PORTS = range(int(sys.argv[1]), int(sys.argv[1]) + 1)
with ports.reserved_port() as port:
    print(port)
"""
    with reserved_port() as port:
        refused = run([sys.executable, "-c", ask, str(port)], PYTHONPATH=str(SCRIPTS))
        assert f"has no free port from {port} to {port}" in refused.stderr
    assert run([sys.executable, "-c", ask, str(port)], PYTHONPATH=str(SCRIPTS)).stdout == f"{port}\n"


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


def test_blaunch_and_torchrun_make_one_world_in_which_the_first_ranks_are_the_first_hosts(tmp_path):
    """Though that host is the last to come, and whatever the hosts call themselves."""
    started = list(start_on_two_hosts(tmp_path, ALL_REDUCE, 2))
    said = [process.communicate(timeout=TIMEOUT_SEC) for process in started]
    lines = sorted(line for out, _ in said for line in out.splitlines())
    hosts = ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"]
    assert lines == [f"rank {rank} of 4 sum 6 {(host, '127.0.0.1')}" for rank, host in enumerate(hosts)], said


def test_a_warning_of_lsf_reaches_ranks_and_ends_no_torchrun(tmp_path):
    """Which alone would end its ranks after 30 s: the time that a large checkpoint takes."""
    started = list(start_on_two_hosts(tmp_path, OUTLIVE_WARNINGS, 1))
    give_up = time.monotonic() + TIMEOUT_SEC
    while len(list(tmp_path.glob("started*"))) < 2 and time.monotonic() < give_up:
        time.sleep(0.05)
    for pid in [each for process in started for each in (process.pid, *descendants(process.pid))]:
        os.kill(pid, signal.SIGUSR2)
    said = [process.communicate(timeout=TIMEOUT_SEC) for process in started]
    assert [(process.returncode, out) for process, (out, _) in zip(started, said, strict=True)] == [
        (0, "heard, and went on\n")
    ] * 2, said


@pytest.mark.parametrize("home", ["/no/such/home", ""])
def test_caches_are_on_a_disk_of_the_node_where_the_home_folder_is_not_there(tmp_path, home):
    show = "import os; print(*[os.environ[name] for name in ('XDG_CACHE_HOME', 'TRITON_CACHE_DIR', 'CUDA_CACHE_PATH')])"
    script = write(tmp_path / "rank.sh", rank_script(LaunchPlan(python=sys.executable), ["-c", show]))
    shown = run(["bash", script], HOME=home, TMPDIR=str(tmp_path), CUDA_CACHE_PATH="/chosen").stdout
    mine = tmp_path / f"warmscale-{os.getuid()}"
    assert shown == f"{mine} {mine}/triton /chosen\n"


def test_caches_stay_in_a_home_folder_that_can_be_written_to(tmp_path):
    show = "import os; print(os.environ.get('XDG_CACHE_HOME'))"
    script = write(tmp_path / "rank.sh", rank_script(LaunchPlan(python=sys.executable), ["-c", show]))
    environment = {name: value for name, value in os.environ.items() if name not in CACHES}
    done = subprocess.run(["bash", script], env=environment | {"HOME": str(tmp_path)}, capture_output=True, text=True)
    assert done.stdout == "None\n"


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
        (words,) = launch_commands(plan, script, dict(os.environ))
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append((name, subprocess.Popen(words, text=True, **pipes)))
    for name, process in started:
        out, err = process.communicate(timeout=TIMEOUT_SEC)
        assert sorted(out.split("\n")[:-1]) == [f"{name} {rank} 3 {rank} " for rank in range(3)], err
