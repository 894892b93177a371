"""Needs the study and its site, and of data and results what is there; makes the plan that a later call carries out."""

from warmscale.study.planned import left_out_line

for line in STALE:
    print(line, file=sys.stderr)
if workflow.is_main_process and len(RUNS) < len(STUDY.runs):
    print(f"{RESULTS}/{left_out_line(len(RUNS), len(STUDY.runs))}", file=sys.stderr)


rule plan:
    """Choose nodes, seeds and order of the runs within the budget, and write plan/plan.csv and plan/index.html.

    Without declared output: it is made whenever it is asked for, and never because something else changed.
    """
    log:
        f"{RESULTS}/logs/plan.log",
    retries: 0
    localrule: True
    params:
        study=study_as_written,
        placement=json.dumps(PLACED),
        site=SITE_FILE or "",
        results=RESULTS,
        template=f"{WORKFLOW}/report/plan.html.j2",
    script:
        "../scripts/make_plan.py"
