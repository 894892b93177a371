"""The study that the config describes, for all other rules: nothing here looks at data or results."""

import json
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow/scripts"))

from warmscale.config_files import read_config
from warmscale.study import StudyError, load_study
from warmscale.records import StateFolder, count_failures

# given on the command line, or the Snakefile's own
CONFIG_FILES = workflow.overwrite_configfiles or workflow.configfiles

try:
    for source in CONFIG_FILES:
        read_config(Path(source))  # Snakemake has read it already, and kept silent about keys that stand twice
    STUDY = load_study(config)
except StudyError as error:
    sys.exit("\n".join(f"{source}: {line}" for line in error.lines))

RUNS = STUDY.runs
RESULTS = f"results/{STUDY.name}"
STATE = f"{RESULTS}/state"
DATA = STUDY.config.dataset
# relative, so that a study that is moved or copied with its workflow has nothing to do
WORKFLOW = os.path.relpath(f"{workflow.basedir}/workflow")


wildcard_constraints:
    run="mb[0-9][-.a-z0-9]+",


localrules:
    all,


def program(name):
    """Command line of one of our programs, in the Python that runs Snakemake.

    Handed to rules as a resource: Snakemake does not compare those, so another place or Python retrains nothing.
    """
    return shlex.join([sys.executable, f"{WORKFLOW}/scripts/{name}.py"])


def content_of_run(wildcards):
    """Content of a run as canonical JSON: a run is trained again when it changes, and only then."""
    return RUNS[wildcards.run].content_json()


def failures_of_run(wildcards):
    """Failures recorded for a run so far: one more than when it was started, so the next call starts it again."""
    return count_failures(StateFolder(Path(STATE) / wildcards.run))


def ranks_of_run(wildcards):
    """Processes that share the workers of a run here."""
    return STUDY.ranks(RUNS[wildcards.run])


def run_files(name):
    """The published file of this name of every run."""
    return [f"{RESULTS}/runs/{run}/{name}" for run in RUNS]


if DATA.name != "digits" and not Path(DATA.root).is_dir():
    print(f"dataset.root: {DATA.root} is not there; a dry run does not need it, training does", file=sys.stderr)
