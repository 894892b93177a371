"""One real Slurm a test process, started when the first test asks for it."""

import os
from collections.abc import Iterator

import pytest

from .cluster import SlurmCluster, SlurmError, missing


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A running cluster. In CI one that is installed and does not start is a failure, elsewhere a reason to skip."""
    if reason := missing():
        pytest.skip(reason)
    with SlurmCluster() as cluster:
        try:
            cluster.start()
        except SlurmError as error:
            if os.environ.get("CI", "").lower() in ("true", "1"):
                pytest.fail(f"Slurm is installed and does not start: {error}", pytrace=False)
            pytest.skip(f"Slurm is installed and does not start: {error}")
        yield cluster
