"""The study that the config describes, for all other rules: nothing here looks at data or results."""

import csv
import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow/scripts"))

from warmscale.cluster.master import Master
from warmscale.cluster.resources import asked_for, place_on
from warmscale.cluster.settle import RunJob
from warmscale.cluster.site import SiteError, load_site, placement_of
from warmscale.config_files import read_config
from warmscale.study import StudyError, load_study
from warmscale.monitoring.manifest import write_manifest
from warmscale.records import StateFolder, count_failures
from warmscale.replay import ReplayError, source_files

# given on the command line, or the Snakefile's own
CONFIG_FILES = workflow.overwrite_configfiles or workflow.configfiles

# where and how, never what: the study is the rest
SITE_FILE, PLACEMENT = config.pop("site", None), config.pop("placement", None)

try:
    ASKED_FOR = asked_for(
        workflow.config_settings.config.get("placement", {}),
        workflow.resource_settings.overwrite_resources.get("train", {}).get("nodes"),
    )
    SITE = load_site(SITE_FILE)
    for source in CONFIG_FILES:
        read_config(Path(source))  # Snakemake has read it already, and kept silent about keys that stand twice
    STUDY = load_study({**config, "placement": placement_of(PLACEMENT, SITE, ASKED_FOR)})
    SITE = SITE.model_copy(update={"placement": STUDY.config.placement})
    ON_SITE = {where: place_on(SITE, where) for where in {STUDY.where(run) for run in STUDY.runs.values()}}
except SiteError as error:
    sys.exit("\n".join(error.lines))
except StudyError as error:
    sys.exit("\n".join(f"{source}: {line}" for line in error.lines))

# in the order of the file, not sorted: the first factor of a grid is the one that figures show it by
STUDY_AS_WRITTEN = json.dumps(config)
RUNS = STUDY.runs
PLACES = {run_id: ON_SITE[STUDY.where(run)] for run_id, run in RUNS.items()}
RESULTS = f"{SITE.results}/{STUDY.name}"
STATE = f"{RESULTS}/state"
DATA = None if STUDY.is_replayed else STUDY.config.dataset
MASTER = Master(Path(RESULTS))
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


def asked_for_job(name):
    """Looks up what the job of a run asks its scheduler for; None where it does not."""
    return lambda wildcards: PLACES[wildcards.run].job.get(name)


def threads_of_run(wildcards):
    """Cores of this machine that a run takes up."""
    return PLACES[wildcards.run].threads


def how_of_run(wildcards):
    """How its ranks are started, as options of the program that carries a run out."""
    return PLACES[wildcards.run].options


def run_job(job):
    """What our executors have to know of the run that a job is for."""
    run = job.wildcards.run
    state, published = StateFolder(Path(STATE) / run), Path(RESULTS) / "runs" / run
    return RunJob(STUDY.name, run, RUNS[run].content, state, published, PLACES[run].where)


def study_as_written(wildcards):
    """The config for scripts. A function: braces in a text of the user's are no wildcards."""
    return STUDY_AS_WRITTEN


def run_files(name):
    """The published file of this name of every run."""
    return [f"{RESULTS}/runs/{run}/{name}" for run in RUNS]


def replayed_files():
    """The files of results that are there already."""
    sources = STUDY.config.replay if STUDY.is_replayed else STUDY.config.imported
    try:
        return source_files(sources) if sources else []
    except ReplayError as error:
        sys.exit("\n".join(error.lines))


def begin_study():
    """Before the first job: be the only Snakemake of this study, and leave word of its runs to `warmscale status`."""
    if SITE.scheduler != "local":
        from warmscale.cluster.executor import check_commands

        check_commands(SITE)
    MASTER.begin()
    planned = {run_id: {"epochs": run.recipe.epochs, "total_steps": run.total_steps} for run_id, run in RUNS.items()}
    write_manifest(Path(RESULTS), planned, shlex.join(["snakemake", *sys.argv[1:]]), list(map(str, CONFIG_FILES)))


def say_what_was_found():
    """Where the report is, if this call was to make it, and the verdicts in it."""
    page, claims = Path(RESULTS) / "report/index.html", Path(RESULTS) / "tables/claims.csv"
    if not (page.exists() and claims.exists()):
        return
    with claims.open(newline="", encoding="utf-8") as file:
        counts = Counter(row["verdict"].replace("_", " ") for row in csv.DictReader(file))
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    print(f"The report is {page}{f': of its claims {verdicts}' if counts else ''}", file=sys.stderr)


def report_what_is_there():
    """Tables, figures and report of the runs that are there: no rule starts that lacks an input."""
    words = [sys.executable, f"{WORKFLOW}/scripts/partial_report.py", "--results", RESULTS]
    if not STUDY.is_replayed:
        subprocess.run(words, input=STUDY_AS_WRITTEN, text=True)


if DATA and DATA.name != "digits" and not Path(DATA.root).is_dir():
    print(f"dataset.root: {DATA.root} is not there; a dry run does not need it, training does", file=sys.stderr)
