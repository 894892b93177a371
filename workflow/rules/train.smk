"""Needs the index of the data set; makes the published files of every run."""

SETTINGS = json.dumps(STUDY.config.placement.model_dump(exclude={"max_ranks"}))
PLACEMENT = shlex.join(["--root", DATA.root, "--settings", SETTINGS])


rule train:
    """Train one run, or resume it, or publish it again if it has an outcome; a failure is recorded as one."""
    input:
        index=ancient(rules.index.output.index),
    output:
        run=f"{RESULTS}/runs/{{run}}/run.json",
        epochs=f"{RESULTS}/runs/{{run}}/epochs.csv",
        steps=f"{RESULTS}/runs/{{run}}/steps.csv",
    log:
        f"{STATE}/{{run}}/logs/launch.log",
    threads: 1
    resources:
        # how and where, never what: Snakemake does not compare resources, so none of these can retrain a run
        program=program("train_run"),
        ranks=ranks_of_run,
        placement=PLACEMENT,
    params:
        content=content_of_run,
        failures=failures_of_run,
    shell:
        "{resources.program}"
        " --run {wildcards.run}"
        " --content {params.content:q}"
        f" --state {STATE}/{{wildcards.run}}"
        f" --published {RESULTS}/runs/{{wildcards.run}}"
        " --index {input.index:q}"
        " --ranks {resources.ranks}"
        " --threads {threads}"
        " {resources.placement}"
        " > {log:q} 2>&1"
