"""The study that the config describes, for all other rules: nothing here looks at data or results."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow/scripts"))

from warmscale.study import StudyError, canonical_json, load_study
from warmscale.records import StateFolder, count_failures

try:
    STUDY = load_study(config)
except StudyError as error:
    sources = workflow.overwrite_configfiles or ["config/config.yaml"]
    sys.exit("\n".join(f"{Path(sources[-1]).name}: {line}" for line in error.lines))

STUDY_JSON = canonical_json(config)
RUNS = STUDY.runs
RESULTS = f"results/{STUDY.name}"
STATE = f"{RESULTS}/state"
DATA = STUDY.config.dataset
PYTHON = sys.executable
SCRIPTS = f"{workflow.basedir}/workflow/scripts"


wildcard_constraints:
    run="mb[0-9][-.a-z0-9]+",


localrules:
    all,


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
