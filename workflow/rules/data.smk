"""Needs the folder of a data set; makes its index, compared with the declared sizes, before any training.

Nothing here runs a second time because a program or a time stamp changed: what decides is in the index's name. (When a
job runs again whose output is `ancient` for the next one, Snakemake 9 leaves out everything behind that.) That is why a
pack has no rule of its own: where one is asked for later, the index is there already, and `data_first` makes it.
"""

DIGITS_ROOT = DATA.root if DATA.name == "digits" else "data/digits"
PLACE_OF_DIGITS = shlex.join(["--root", DIGITS_ROOT])


rule digits:
    """Write scikit-learn's scans of handwritten digits as an ImageFolder tree of PNGs."""
    output:
        done=f"{DIGITS_ROOT}/.complete",
    log:
        f"{RESULTS}/logs/digits.log",
    retries: 0
    localrule: True
    resources:
        program=program("write_digits"),
        place=PLACE_OF_DIGITS,
    shell:
        "{resources.program} {resources.place} 2> {log:q}"


CORES_HERE = workflow.resource_settings.cores or workflow.resource_settings.local_cores
PLACE_OF_DATA = shlex.join(
    [
        *("--root", DATA.root, "--check", DATA.check),
        *(["--pack", DATA.pack] if DATA.pack else []),
        *(["--jobs", str(CORES_HERE)] if DATA.pack and CORES_HERE else []),
        *(["--reencode", DATA.reencode.model_dump_json()] if DATA.reencode else []),
    ]
)


rule index:
    """Pack a data set if that is wanted, list it once, compare it with the declared sizes and look at its images."""
    input:
        made=ancient(rules.digits.output.done) if DATA.name == "digits" else [],
    output:
        index=f"{RESULTS}/data/{DATA.name}-{DATA.fingerprint}.tsv",
    log:
        f"{RESULTS}/logs/index.log",
    retries: 0
    localrule: True
    resources:
        program=program("index_data"),
        place=PLACE_OF_DATA,
    params:
        declared=json.dumps(DATA.declared_sizes, sort_keys=True),
    shell:
        "{resources.program} --index {output.index:q} --declared {params.declared:q} {resources.place} 2> {log:q}"
