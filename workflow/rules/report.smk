"""Needs the tables, the figures and the runs; makes the page and the bundle that hold all of them,
and ends the study."""


rule report:
    """Write the report as one self-contained page, and a zip of page, figures, tables, config and runs."""
    input:
        template=f"{WORKFLOW}/report/index.html.j2",
        included=[
            str(path)
            for path in sorted(Path(WORKFLOW).glob("report/*"))
            if path.suffix in (".j2", ".css") and path.name != "index.html.j2"
        ],
        tables=plain(*rules.tables.output.csv, *rules.tables.output.parquet, rules.tables.output.runs),
        code=str(rules.tables.output.code),
        verdicts=plain(*rules.claims.output),
        figures=plain(*rules.figures.output),
    output:
        page=report(
            f"{RESULTS}/report/index.html",
            caption="../report/page.rst",
            category="Report",
            labels={"page": "the whole report", "format": "html"},
        ),
        bundle=f"{RESULTS}/report.zip",
    log:
        f"{RESULTS}/logs/report.log",
    retries: 0
    localrule: True
    params:
        study=study_as_analysed,
    script:
        "../scripts/write_report.py"


rule complete:
    """Fail if a run or a measurement failed, and say which and why: after the report, which is made all the same."""
    input:
        runs=str(rules.tables.output.runs),
        measurements=[str(path) for path in rules.tables.output.csv if path.endswith("throughput.csv")],
        report=str(rules.report.output.page),
    output:
        done=touch(f"{RESULTS}/complete"),
    log:
        f"{RESULTS}/logs/complete.log",
    retries: 0
    localrule: True
    script:
        "../scripts/check_complete.py"
