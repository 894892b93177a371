"""Large-mini-batch training studies: a grid in YAML is trained, aggregated, drawn and reported."""

from snakemake.utils import min_version

min_version("9.27")

# a config file on the command line is another study: it replaces this one instead of being merged into it
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


if not STUDY.is_replayed:

    include: "workflow/rules/data.smk"
    include: "workflow/rules/train.smk"


include: "workflow/rules/tables.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/master.smk"


rule all:
    """Train every run of the study and report on it; fails at the end if runs failed, and names them."""
    default_target: True
    input:
        # listed, although the tables need them: a file deleted behind finished figures would not be missed otherwise
        runs=run_files("run.json") + run_files("epochs.csv") + run_files("steps.csv"),
        report=[*rules.report.output],
        complete=rules.complete.output.done,
