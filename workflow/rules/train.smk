"""Needs the index of the data set; makes the published files of every run, and says at the end which runs failed."""

SETTINGS = json.dumps(STUDY.config.placement.model_dump(exclude={"max_ranks"}))


rule train:
    """Train one run, or resume it, or publish it again if it has an outcome; a failure is recorded as one."""
    input:
        index=ancient(rules.index.output.index),
    output:
        run=f"{RESULTS}/runs/{{run}}/run.json",
        epochs=f"{RESULTS}/runs/{{run}}/epochs.csv",
        steps=f"{RESULTS}/runs/{{run}}/steps.csv",
    params:
        content=content_of_run,
        failures=failures_of_run,
    resources:
        ranks=ranks_of_run,
    log:
        f"{STATE}/{{run}}/logs/launch.log",
    threads: 1
    shell:
        "{PYTHON:q} {SCRIPTS:q}/train_run.py"
        " --run {wildcards.run}"
        " --content {params.content:q}"
        f" --state {STATE}/{{wildcards.run}}"
        f" --published {RESULTS}/runs/{{wildcards.run}}"
        " --index {input.index:q}"
        " --root {DATA.root:q}"
        " --ranks {resources.ranks}"
        " --threads {threads}"
        " --settings {SETTINGS:q}"
        " > {log:q} 2>&1"


rule complete:
    """Fail if a run of the study failed, and say which and why."""
    input:
        runs=run_files("run.json"),


    output:
        done=touch(f"{RESULTS}/complete"),
    log:
        f"{RESULTS}/logs/complete.log",
    localrule: True
    script:
        "../scripts/check_complete.py"
