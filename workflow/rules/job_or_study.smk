"""Tells the Snakemake inside the batch job of a run from that of the study; what both need: light, as each job starts it."""

import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow/scripts"))

from warmscale.cluster.tasks import task_of_job, with_known_signature
from warmscale.records import StateFolder, count_failures

# relative, so that a study that is moved or copied with its workflow has nothing to do
WORKFLOW = os.path.relpath(f"{workflow.basedir}/workflow")

# of the one run that this Snakemake is in the batch job of; None: all of the study matters
TASK = None if workflow.is_main_process else task_of_job(os.environ, sys.argv)


wildcard_constraints:
    run="mb[0-9][-.a-z0-9]+",
    measurement="tp-n[0-9][-a-z0-9]+",


def program(name):
    """Command line of one of our programs, in the Python that runs Snakemake.

    Handed to rules as a resource: Snakemake does not compare those, so another place or Python retrains nothing.
    """
    return shlex.join([sys.executable, f"{WORKFLOW}/scripts/{name}.py"])


@with_known_signature
def failures_so_far(wildcards):
    """Failures recorded for a run or a measurement: one more than when it was started, so the next call starts it again.

    Its id is the only wildcard of its job.
    """
    folder = f"{STATE}/{wildcards[0]}"
    return count_failures(StateFolder(Path(folder))) if os.path.exists(folder) else 0


def of_place(places, look_up):
    """What its place says of a run or a measurement: a plain value where all have the same, which Snakemake need not
    ask for. `places` are those of all jobs of the rule."""
    values = [look_up(place) for place in places.values()]
    if all(value == values[0] for value in values):
        return values[0]
    return with_known_signature(lambda wildcards: look_up(PLACES[wildcards[0]]))


def asked_of_scheduler(places):
    """Resources that the jobs of a rule at these places ask their scheduler for."""
    names = sorted({name for place in places.values() for name in place.job})
    return {name: of_place(places, lambda place, name=name: place.job.get(name)) for name in names}
