"""Large-mini-batch training studies: a grid in YAML is trained, aggregated, drawn and reported."""

import gc

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/job_or_study.smk"


if TASK:

    include: "workflow/rules/job.smk"

else:

    include: "workflow/rules/common.smk"

    if STUDY.is_replayed and PLANS_ONLY:
        sys.exit(f"study {STUDY.name}: its results are there already, so that there is nothing to plan")
    if not STUDY.is_replayed:

        include: "workflow/rules/data.smk"
        include: "workflow/rules/tasks.smk"
        include: "workflow/rules/plan.smk"
    include: "workflow/rules/tables.smk"
    include: "workflow/rules/claims.smk"
    include: "workflow/rules/figures.smk"
    include: "workflow/rules/report.smk"
    include: "workflow/rules/master.smk"

    rule all:
        """Train every run of the study and report on it; fails at the end if runs failed, and names them."""
        default_target: True
        input:
            lost=lost_files(),
            report=plain(*rules.report.output),
            complete=str(rules.complete.output.done),

    # what was read stays until the end: the garbage collector need not visit it whenever jobs are made
    gc.freeze()
