"""What the shell of a batch job does before its command, by the shell itself."""

import os
import signal
import subprocess
import sys

import pytest

from warmscale.cluster.job_shell import CACHES, in_job

WARN_ALL = "import os, signal; os.kill(os.getppid(), signal.SIGUSR2); os.kill(os.getpid(), signal.SIGUSR2); print('on')"
HEARD = """
import os, signal
signal.signal(signal.SIGUSR2, lambda *_: print("heard", flush=True))
os.kill(os.getpid(), signal.SIGUSR2)
"""
NO_HOME = "/proc/no-home"
"""Not even root can make it."""


def shell(command, **variables):
    environment = {name: value for name, value in os.environ.items() if name not in CACHES} | variables
    return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)


def python(program):
    return f"{sys.executable} -c '{program}'"


def test_a_warning_ends_neither_the_shell_nor_what_knows_nothing_of_it():
    program = python(WARN_ALL.replace("'", '"'))
    assert shell(f"{program}; exit 3").returncode == -signal.SIGUSR2  # as LSF's own job would
    done = shell(in_job(f"{program}; exit 3"))
    assert (done.stdout, done.returncode) == ("on\n", 3)


def test_a_program_that_asks_to_be_warned_is():
    assert shell(in_job(python(HEARD))).stdout == "heard\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_cache_that_somebody_else_made_is_not_used(tmp_path):
    taken, mine = (tmp_path / name / f"warmscale-{os.getuid()}" for name in ("taken", "mine"))
    taken.mkdir(parents=True)
    mine.parent.mkdir()
    os.chown(taken, 54_321, -1)
    found = [
        shell(in_job('echo "$XDG_CACHE_HOME"'), HOME=NO_HOME, TMPDIR=str(folder.parent)).stdout.strip()
        for folder in (taken, mine, mine)
    ]
    assert found[0].startswith(f"{taken}.") and found[1:] == [str(mine)] * 2
    assert [os.stat(folder).st_uid for folder in found] == [os.getuid()] * 3
    assert {os.stat(folder).st_mode & 0o777 for folder in found} == {0o700}


@pytest.mark.parametrize("variables, works", [({}, True), ({"XDG_CACHE_HOME": NO_HOME}, False)])
def test_snakemake_runs_in_jobs_on_nodes_without_a_home_folder(tmp_path, variables, works):
    """Unless its user says where the caches are."""
    (tmp_path / "Snakefile").write_text("rule all:\n    shell: 'true'\n")
    command = f"cd {tmp_path} && {sys.executable} -m snakemake --cores 1 -n"
    assert shell(command, HOME=NO_HOME).returncode != 0
    done = shell(in_job(command), HOME=NO_HOME, TMPDIR=str(tmp_path), **variables)
    assert (done.returncode == 0) is works, done.stderr
