"""Needs the tables; makes what the runs show: verdicts on the claims, the best warmups, their exponents."""

from warmscale.analysis.catalogue import verdicts_of


rule claims:
    """Test the claims of the study, and keep a record of what they were tested on in looks.csv."""
    input:
        tables=rules.tables.output.parquet,
        code=rules.tables.output.code,
    output:
        claims=report(
            f"{RESULTS}/tables/claims.csv",
            caption="../report/claims.rst",
            category="Verdicts",
            labels={"table": "claims", "format": "csv"},
        ),
        others=[f"{RESULTS}/tables/{table}.csv" for table in verdicts_of(STUDY) if table != "claims"],
    log:
        f"{RESULTS}/logs/claims.log",
    retries: 0
    localrule: True
    params:
        study=study_as_analysed,
    script:
        "../scripts/judge_claims.py"
