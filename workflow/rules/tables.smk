"""Needs the published files of all runs; makes the tables that all figures, verdicts and pages are made from."""

from warmscale.analysis.catalogue import TABLES

# in the order of the file, not sorted: the first factor of a grid is the one that figures show it by
STUDY_AS_WRITTEN = json.dumps(config)
# imported modules are unknown to Snakemake: without them here, a change of the analysis would change nothing
ANALYSIS_CODE = sorted(
    str(path)
    for pattern in ("analysis/*.py", "study/*.py", "records.py")
    for path in Path(WORKFLOW).glob(f"scripts/warmscale/{pattern}")
)


rule tables:
    """Aggregate the published runs into a row a run, a run and epoch, a point of an experiment, a run and step."""
    input:
        runs=run_files("run.json"),
        epochs=run_files("epochs.csv"),
        steps=run_files("steps.csv"),
        code=ANALYSIS_CODE,
    output:
        runs=report(
            f"{RESULTS}/tables/runs.csv",
            caption="../report/runs.rst",
            category="Tables",
            labels={"table": "runs", "format": "csv"},
        ),
        csv=[f"{RESULTS}/tables/{table}.csv" for table in TABLES if table != "runs"],
        parquet=[f"{RESULTS}/tables/{table}.parquet" for table in TABLES],
    log:
        f"{RESULTS}/logs/tables.log",
    retries: 0
    localrule: True
    params:
        study=STUDY_AS_WRITTEN,
    script:
        "../scripts/make_tables.py"
