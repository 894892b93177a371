"""Needs the tables; makes every figure as SVG, PNG and PDF, each with the table it was drawn from."""

from warmscale.analysis.catalogue import figures_of

FIGURES = figures_of(STUDY)
DRAWN = f"{RESULTS}/figures"


rule figures:
    """Draw all figures of the study from its tables."""
    input:
        tables=rules.tables.output.parquet,
        code=rules.tables.output.code,
        verdicts=[*rules.claims.output],
    output:
        svg=[
            report(
                f"{DRAWN}/{figure.name}.svg",
                caption=f"../report/{figure.kind}.rst",
                category="Figures",
                subcategory=figure.experiment or "all experiments",
                labels={"figure": figure.kind, "format": "svg"},
            )
            for figure in FIGURES
        ],
        png=[f"{DRAWN}/{figure.name}.png" for figure in FIGURES],
        pdf=[f"{DRAWN}/{figure.name}.pdf" for figure in FIGURES],
        csv=[f"{DRAWN}/{figure.name}.csv" for figure in FIGURES],
    log:
        f"{RESULTS}/logs/figures.log",
    retries: 0
    localrule: True
    params:
        study=study_as_analysed,
    script:
        "../scripts/draw_figures.py"
