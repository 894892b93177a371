"""The study that the config describes, for all other rules: nothing here looks at data or results."""

import contextlib
import csv
import io
import json
import subprocess
from collections import Counter

from warmscale.cluster.alone import alone_on, lack, left_out_lines
from warmscale.cluster.master import Master
from warmscale.cluster.resources import asked_for, place_on
from warmscale.cluster.site import SiteError, load_site, placement_of
from warmscale.config_files import read_config
from warmscale.study import StudyError, load_study
from warmscale.study.planned import PlanFileError, as_analysed, read_plan
from warmscale.study.staleness import NODE_FIELDS, is_stale, stale_line
from warmscale.monitoring.manifest import write_manifest

# a config file on the command line is another study: it replaces this default instead of being merged into it
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


CONFIG_FILES = workflow.overwrite_configfiles or workflow.configfiles


def targets():
    """Names of what this call is to make, none if they are not given; Snakemake tells them after reading its rules."""
    from snakemake.cli import parse_args

    with contextlib.redirect_stderr(io.StringIO()):  # it names the profile, which Snakemake has done before
        return set(parse_args(sys.argv[1:])[1].targets)


PLANS_ONLY = "plan" in sys.argv and targets() == {"plan"}

# where and how, never what: the study is the rest
SITE_FILE, PLACEMENT = config.pop("site", None), config.pop("placement", None)


def places_of(jobs):
    """Each job's place on the site; ends the call where the site cannot, because the plan is one of before."""
    try:
        return {job: place_on(SITE, *job) for job in jobs}
    except SiteError as error:
        raise SiteError([*error.lines, *STALE]) from error


try:
    ASKED_FOR = asked_for(
        workflow.config_settings.config.get("placement", {}),
        workflow.resource_settings.overwrite_resources.get("train", {}).get("nodes"),
    )
    SITE = load_site(SITE_FILE)
    for source in CONFIG_FILES:
        read_config(Path(source))  # Snakemake has read it already, and kept silent about keys that stand twice
    PLACED = placement_of(PLACEMENT, SITE, ASKED_FOR)
    STUDY = load_study({**config, "placement": PLACED})
    SITE = SITE.model_copy(update={"placement": STUDY.config.placement})
    RESULTS = f"{SITE.results}/{STUDY.name}"
    # made by `snakemake plan`, and carried out as it is until that is typed again, which needs no earlier one
    PLAN = None if PLANS_ONLY or STUDY.is_replayed else read_plan(Path(RESULTS))
    IS_STALE = PLAN is not None and is_stale(PLAN, STUDY, SITE, ASKED_FOR)
    STALE = [f"{RESULTS}/{stale_line(sys.argv[1:], targets())}"] if IS_STALE and workflow.is_main_process else []
    RUNS = {run: STUDY.runs[run] for run in PLAN.kept(STUDY.runs, Path(RESULTS))} if PLAN else STUDY.runs
    PLANNED_JOBS = PLAN.jobs if PLAN and not NODE_FIELDS.intersection(ASKED_FOR) else {}
    JOBS = {run_id: PLANNED_JOBS.get(run_id) or (STUDY.where(run), None) for run_id, run in RUNS.items()}
    ON_SITE = places_of(set(JOBS.values()))
    MEASURED = {(each.where, each.minutes) for each in STUDY.measurements.values()}
    CORES = workflow.resource_settings.cores
    HARDWARE = None if STUDY.is_replayed else STUDY.config.planning.hardware
    ALONE = {job: alone_on(SITE, *job, cores=CORES) for job in MEASURED if not lack(SITE, job[0], HARDWARE)}
except (SiteError, PlanFileError) as error:
    sys.exit("\n".join(error.lines))
except StudyError as error:
    sys.exit("\n".join(f"{source}: {line}" for line in error.lines))

# in the order of the file, not sorted: the first factor of a grid is the one that figures show it by
# a measurement is one of a place: what was measured cannot be told without the placement
STUDY_AS_WRITTEN = json.dumps({**config, "placement": PLACED} if STUDY.measurements else config)
STUDY_AS_ANALYSED = as_analysed(STUDY_AS_WRITTEN)
# points that the site has no place for stop nothing else
MEASUREMENTS = {one: each for one, each in STUDY.measurements.items() if (each.where, each.minutes) in ALONE}
if workflow.is_main_process and not PLANS_ONLY:
    for line in left_out_lines(STUDY.measurements.values(), SITE, HARDWARE):
        print(line, file=sys.stderr)
PLACES = {run_id: ON_SITE[job] for run_id, job in JOBS.items()}
PLACES |= {one: ALONE[each.where, each.minutes] for one, each in MEASUREMENTS.items()}
STATE = f"{RESULTS}/state"
DATA = None if STUDY.is_replayed else STUDY.config.dataset
MASTER = Master(Path(RESULTS))


localrules:
    all,


def study_as_written(wildcards):
    """The config for the planner. A function: braces in a text of the user's are no wildcards."""
    return STUDY_AS_WRITTEN


def study_as_analysed(wildcards):
    """The config for tables, figures and report, which are made again when it changes: not with every other budget."""
    return STUDY_AS_ANALYSED


def run_files(name):
    """The published file of this name of every run that is carried out."""
    return [f"{RESULTS}/runs/{run}/{name}" for run in RUNS]


def measurement_files():
    """The published files of every measurement."""
    names = ("measurement.json", "steps.csv")
    return [f"{RESULTS}/throughput/{measurement}/{name}" for measurement in MEASUREMENTS for name in names]


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
    files += measurement_files()
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
    """Before the first job: be the only Snakemake of this study, and leave word of what it is to `warmscale status`."""
    if PLANS_ONLY:  # that needs no scheduler, and disturbs nobody who works on the study
        return
    if SITE.scheduler != "local":
        from warmscale.cluster.executor import check_commands

        check_commands(SITE)
    MASTER.begin()
    if PLAN:
        # of some of the ready jobs, chosen at random, the most urgent ones would be taken
        workflow.scheduler.subsample = None
    planned = {run_id: {"epochs": run.recipe.epochs, "total_steps": run.total_steps} for run_id, run in RUNS.items()}
    planned |= {measurement_id: {"total_steps": each.total_steps} for measurement_id, each in MEASUREMENTS.items()}
    write_manifest(Path(RESULTS), planned, shlex.join(["snakemake", *sys.argv[1:]]), list(map(str, CONFIG_FILES)))


def say_what_was_found():
    """Where the report is, if this call was to make it, and the verdicts in it."""
    page, claims = Path(RESULTS) / "report/index.html", Path(RESULTS) / "tables/claims.csv"
    if PLANS_ONLY or not (page.exists() and claims.exists()):
        return
    with claims.open(newline="", encoding="utf-8") as file:
        counts = Counter(row["verdict"].replace("_", " ") for row in csv.DictReader(file))
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    print(f"The report is {page}{f': of its claims {verdicts}' if counts else ''}", file=sys.stderr)


def report_what_is_there():
    """Tables, figures and report of the runs that are there: no rule starts that lacks an input."""
    words = [sys.executable, f"{WORKFLOW}/scripts/partial_report.py", "--results", RESULTS]
    if not (STUDY.is_replayed or PLANS_ONLY):
        subprocess.run(words, input=STUDY_AS_ANALYSED, text=True)


READS_DATA = bool(RUNS) or any(each.reads_data for each in MEASUREMENTS.values())
if READS_DATA and DATA.name != "digits" and not (Path(DATA.root).is_dir() or Path(DATA.place).is_dir()):
    print(f"dataset.root: {DATA.root} is not there; a dry run does not need it, training does", file=sys.stderr)
