import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lsf_double.cluster import Cluster
from warmscale.cluster.walltime import job_ends, job_id

SAY_END = """
import os, time
time.sleep(float(os.environ["LATE_SEC"]))
from warmscale.cluster.walltime import job_ends
print(job_ends(os.environ, 10))
"""


SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"


@pytest.fixture
def end_told(tmp_path):
    """What a job of LSF that asked for 10 minutes takes for its end, in seconds from now, and the cluster."""
    with Cluster(tmp_path / "lsf", hosts=1) as cluster:

        def told(*words):
            out = tmp_path / f"out{len(cluster.jobs())}"
            environment = cluster.environment() | {"PYTHONPATH": str(SCRIPTS), "LATE_SEC": "0"}
            job = cluster.submit(*words, "-o", str(out), f"{sys.executable} -c '{SAY_END}'", env=environment)
            assert cluster.wait(job).exit_code == 0, out.read_text()
            return float(out.read_text().splitlines()[0]) - time.time()

        yield told, cluster


def test_a_job_ends_when_lsf_says_so_where_that_is_before_what_was_asked_for(end_told):
    """As on a fast host, where LSF counts minutes of an average one."""
    told, cluster = end_told
    assert 3 * 60 < told("-W", "5") <= 5 * 60
    assert [call[:-1] for call in cluster.calls("bjobs")] == [["-noheader", "-o", "time_left"]]


def test_a_job_ends_when_asked_for_though_lsf_rounds_or_would_give_it_longer(end_told):
    told, _ = end_told
    for minutes in ("10", "30"):
        assert told("-W", minutes) == pytest.approx(600, abs=10)


def test_a_job_ends_when_asked_for_where_lsf_knows_no_limit_or_does_not_answer(end_told):
    told, cluster = end_told
    assert told() == pytest.approx(600, abs=10)
    cluster.outage("bjobs")
    assert told("-W", "5") == pytest.approx(600, abs=10)


def test_outside_of_a_job_nobody_kills():
    assert job_ends({}, 10) is None


def test_a_job_without_a_limit_is_not_killed():
    assert job_ends({"LSB_JOBID": "12"}, None) is None


def test_slurm_tells_the_end():
    assert job_ends({"SLURM_JOB_ID": "3", "SLURM_JOB_END_TIME": "1700000000"}, 10) == 1700000000.0


@pytest.mark.parametrize("name", ["LSB_JOBID", "SLURM_JOB_ID"])
def test_a_job_has_an_id(name):
    assert job_id({name: "77"}) == "77"


def test_the_job_began_with_the_oldest_process_that_has_its_id():
    script = f"sleep 0.5; {sys.executable} -c '{SAY_END}'; true"
    started = time.time()
    environment = {**os.environ, "LSB_JOBID": f"{os.getpid()}-alone", "LATE_SEC": "0.5"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    # the kernel counts from a boot that it tells in whole seconds
    assert float(done.stdout) == pytest.approx(started + 600, abs=1.1)
