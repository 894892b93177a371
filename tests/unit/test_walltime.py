import os
import subprocess
import sys
import time

import pytest

from warmscale.cluster.walltime import job_ends, job_id

SAY_END = """
import os, time
time.sleep(float(os.environ["LATE_SEC"]))
from warmscale.cluster.walltime import job_ends
print(job_ends(os.environ, 10))
"""


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
