"""Needs nothing; what the Snakemake process of a study does beside its jobs: it is the only one, lasts for weeks where
jobs go to a scheduler, and reports on what is there when it could not finish."""

from warmscale.training.warm.start import WarmProcess, plan_of

if workflow.is_main_process and (SITE.scheduler != "local") != (workflow.resource_settings.nodes is not None):
    sys.exit(
        f"{SITE_FILE}: a site with scheduler {SITE.scheduler} goes with --profile {SITE.scheduler}, or one like it"
        if SITE_FILE
        else "--config on the command line replaces the profile's own: add site=profiles/lsf/site.yaml to it"
    )

if workflow.is_main_process and SITE.scheduler != "local":
    from warmscale.cluster.executor import install

    install(SITE, run_job, MASTER.is_current)

WARM = WarmProcess(plan_of(SITE, ON_SITE), log=Path(f"{RESULTS}/logs/warm.log"))


def is_to_train():
    """Whether this call trains any run, or publishes one again."""
    return any(job.rule.name == "train" for job in workflow.dag.needrun_jobs())


onstart:
    begin_study()
    if DATA:
        pack_first()
    if is_to_train():
        WARM.begin()


onsuccess:
    WARM.end()
    MASTER.end()
    say_what_was_found()


onerror:
    WARM.end()
    report_what_is_there()
    MASTER.end()
