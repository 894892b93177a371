"""Needs the index of the data set; makes the published files of every run."""


rule train:
    """Train one run, or resume it, or publish it again if it has an outcome; a failure is recorded as one."""
    input:
        index=ancient(INDEX),
    output:
        run=f"{RESULTS}/runs/{{run}}/run.json",
        epochs=f"{RESULTS}/runs/{{run}}/epochs.csv",
        steps=f"{RESULTS}/runs/{{run}}/steps.csv",
    log:
        f"{RESULTS}/logs/train/{{run}}.log",
    # as planned: what settles most for its cost goes first
    priority: PRIORITY
    # cores of this machine that it takes up
    threads: of_place(ON_SITE, lambda place: place.threads)
    resources:
        **asked_of_scheduler(ON_SITE),
        **counted_nodes(ON_SITE),
        # how and where, never what: Snakemake does not compare resources, so none of these can retrain a run
        program=of_place(ON_SITE, lambda place: f"{program('train_run')} {place.options} {TRAINER}"),
    params:
        content=content_of_run,
        failures=failures_so_far,
    shell:
        "exec {resources.program}"
        " --run {wildcards.run}"
        " --content {params.content:q}"
        f" --state {shlex.quote(STATE)}/{{wildcards.run}}"
        f" --published {shlex.quote(RESULTS)}/runs/{{wildcards.run}}"
        " 2>> {log:q}"
