"""Needs the index of the data set; makes the published files of every run."""

from warmscale.study.config import WHERE_FIELDS

SETTINGS = json.dumps(STUDY.config.placement.model_dump(exclude=WHERE_FIELDS))
TRAINER = shlex.join(["--root", DATA.root, "--settings", SETTINGS])
JOB_RESOURCES = sorted({name for place in ON_SITE.values() for name in place.job})


rule train:
    """Train one run, or resume it, or publish it again if it has an outcome; a failure is recorded as one."""
    input:
        index=ancient(rules.index.output.index),
    output:
        run=f"{RESULTS}/runs/{{run}}/run.json",
        epochs=f"{RESULTS}/runs/{{run}}/epochs.csv",
        steps=f"{RESULTS}/runs/{{run}}/steps.csv",
    log:
        f"{RESULTS}/logs/train/{{run}}.log",
    threads: threads_of_run
    resources:
        **{name: asked_for_job(name) for name in JOB_RESOURCES},
        # how and where, never what: Snakemake does not compare resources, so none of these can retrain a run
        program=program("train_run"),
        how=how_of_run,
        trainer=TRAINER,
    params:
        content=content_of_run,
        failures=failures_of_run,
    shell:
        "exec {resources.program}"
        " --run {wildcards.run}"
        " --content {params.content:q}"
        f" --state {shlex.quote(STATE)}/{{wildcards.run}}"
        f" --published {shlex.quote(RESULTS)}/runs/{{wildcards.run}}"
        " --index {input.index:q}"
        " {resources.how}"
        " {resources.trainer}"
        " 2>> {log:q}"
