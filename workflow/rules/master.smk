"""Needs the study, and of its runs what they are told, where any are trained; what the Snakemake process of a study does
beside its jobs: it is the only one, lasts for weeks where jobs go to a scheduler, and reports on what is there when it
could not finish."""

from warmscale.cluster.settle import RunJob
from warmscale.cluster.tasks import Task
from warmscale.training.warm.start import WarmProcess, plan_of

if workflow.is_main_process and (SITE.scheduler != "local") != (workflow.resource_settings.nodes is not None):
    sys.exit(
        f"{SITE_FILE}: a site with scheduler {SITE.scheduler} goes with --profile {SITE.scheduler}, or one like it"
        if SITE_FILE
        else "--config on the command line replaces the profile's own: add site=profiles/lsf/site.yaml to it"
    )


def run_job(job):
    """What our executors have to know of the run or the measurement that a job is for, and leave for that job."""
    run, place = job.wildcards[0], PLACES[job.wildcards[0]]
    measured = MEASUREMENTS.get(run)
    return RunJob(
        study=STUDY.name,
        state=StateFolder(Path(STATE) / run),
        published=Path(RESULTS) / ("throughput" if measured else "runs") / run,
        where=place.where,
        task=Task(
            run_id=run,
            is_measured=measured is not None,
            reads_data=measured.reads_data if measured else True,
            content=(measured or RUNS[run]).content_json(),
            results=RESULTS,
            index=INDEX,
            trainer=TRAINER,
            options=place.options,
            threads=place.threads,
            job=dict(place.job),
        ),
    )


if workflow.is_main_process and SITE.scheduler != "local":
    from warmscale.cluster.executor import install

    install(SITE, run_job, MASTER.is_current)

WHERES = list(dict.fromkeys(place.where for place in (*ON_SITE.values(), *ALONE.values())))
WARM = WarmProcess(plan_of(SITE, WHERES), log=Path(f"{RESULTS}/logs/warm.log"))


def ids_to_do():
    """Ids of the runs and measurements that this call carries out, or publishes again."""
    return [job.wildcards[0] for job in workflow.dag.needrun_jobs() if job.rule.name in ("train", "measure")]


onstart:
    to_do = ids_to_do()
    begin_study()
    if to_do:
        if any(one in RUNS or MEASUREMENTS[one].reads_data for one in to_do):
            data_first()
        WARM.begin()


onsuccess:
    WARM.end()
    MASTER.end()
    say_what_was_found()


onerror:
    WARM.end()
    report_what_is_there()
    MASTER.end()
