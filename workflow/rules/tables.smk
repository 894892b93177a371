"""Needs the published files of all runs and measurements, or the files that are replayed; makes the tables that all
figures, verdicts and pages are made from."""

import hashlib

from warmscale.analysis.catalogue import tables_of

# imported modules are unknown to Snakemake: without this, a change of the analysis would change nothing
ANALYSIS_CODE = hashlib.sha256(
    b"".join(
        path.read_bytes()
        for pattern in ("analysis/**/*.py", "planning/*.py", "replay/*.py", "study/*.py", "records.py")
        for path in sorted(Path(WORKFLOW).glob(f"scripts/warmscale/{pattern}"))
    )
).hexdigest()[:12]


rule tables:
    """Aggregate the published runs into a row a run, a run and epoch, a point of an experiment, a run and step; and the
    published measurements into a row each."""
    input:
        runs=run_files("run.json"),
        epochs=run_files("epochs.csv"),
        steps=run_files("steps.csv"),
        measured=measurement_files(),
        replayed=replayed_files(),
    output:
        runs=report(
            f"{RESULTS}/tables/runs.csv",
            caption="../report/runs.rst",
            category="Tables",
            labels={"table": "runs", "format": "csv"},
        ),
        csv=[f"{RESULTS}/tables/{table}.csv" for table in tables_of(STUDY) if table != "runs"],
        parquet=[f"{RESULTS}/tables/{table}.parquet" for table in tables_of(STUDY)],
        # its name says by which code: a copy of results without Snakemake's own records shows it as well
        code=touch(f"{RESULTS}/tables/made-by-{ANALYSIS_CODE}"),
    log:
        f"{RESULTS}/logs/tables.log",
    retries: 0
    localrule: True
    params:
        study=study_as_analysed,
    script:
        "../scripts/make_tables.py"
