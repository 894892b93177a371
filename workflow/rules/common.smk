"""The study that the config describes, for all other rules: nothing here looks at data or results."""

import csv
import json
import subprocess
from collections import Counter

from warmscale.cluster.master import Master
from warmscale.cluster.resources import asked_for, place_on
from warmscale.cluster.site import SiteError, load_site, placement_of
from warmscale.config_files import read_config
from warmscale.study import StudyError, load_study
from warmscale.monitoring.manifest import write_manifest

# a config file on the command line is another study: it replaces this default instead of being merged into it
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


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
DATA = None if STUDY.is_replayed else STUDY.config.dataset
MASTER = Master(Path(RESULTS))


localrules:
    all,


def study_as_written(wildcards):
    """The config for scripts. A function: braces in a text of the user's are no wildcards."""
    return STUDY_AS_WRITTEN


def run_files(name):
    """The published file of this name of every run."""
    return [f"{RESULTS}/runs/{run}/{name}" for run in RUNS]


def plain(*outputs):
    """Outputs of other rules as plain paths.

    With a path that knows its rule among many inputs, Snakemake takes a time that grows with their number squared.
    """
    return [str(path) for path in outputs]


def lost_files():
    """Published files that are missing although something was made of them: asked for, or nobody would miss them.

    Before anything is made of them, the tables ask for all.
    """
    if not any(Path(made).exists() for made in (*rules.tables.output, *rules.report.output)):
        return []
    files = [path for name in ("run.json", "epochs.csv", "steps.csv") for path in run_files(name)]
    return [path for path in files if not os.path.exists(path)]


def replayed_files():
    """The files of results that are there already."""
    sources = STUDY.config.replay if STUDY.is_replayed else STUDY.config.imported
    if not sources:
        return []
    from warmscale.replay import ReplayError, source_files  # of which most studies need nothing

    try:
        return source_files(sources)
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


if DATA and DATA.name != "digits" and not (Path(DATA.root).is_dir() or Path(DATA.place).is_dir()):
    print(f"dataset.root: {DATA.root} is not there; a dry run does not need it, training does", file=sys.stderr)
