"""Needs the index of the data set, but not where images are synthetic; makes the published files of every measurement."""


rule measure:
    """Time the steps of one measurement, or publish it again if it has an outcome; a failure is recorded as one."""
    input:
        index=ancient(index_if_read),
    output:
        record=f"{RESULTS}/throughput/{{measurement}}/measurement.json",
        steps=f"{RESULTS}/throughput/{{measurement}}/steps.csv",
    log:
        f"{RESULTS}/logs/measure/{{measurement}}.log",
    # before trainings, whose priorities are places in a plan: it takes minutes, and a plan is better with it
    priority: 1_000_000
    # on this machine all cores: what runs beside it would be measured too
    threads: of_place(ALONE, lambda place: place.threads)
    resources:
        **asked_of_scheduler(ALONE),
        **counted_nodes(ALONE),
        # the same program, which tells a measurement by its content
        program=of_place(ALONE, lambda place: f"{program('train_run')} {place.options} {TRAINER}"),
    params:
        content=content_of_measurement,
        failures=failures_so_far,
    shell:
        "exec {resources.program}"
        " --run {wildcards.measurement}"
        " --content {params.content:q}"
        f" --state {shlex.quote(STATE)}/{{wildcards.measurement}}"
        f" --published {shlex.quote(RESULTS)}/throughput/{{wildcards.measurement}}"
        " 2>> {log:q}"
