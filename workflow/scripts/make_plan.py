"""Plan a study: which of its runs fit the budget, where, how long and in which order they are carried out."""

import json
import sys
from pathlib import Path

from warmscale.analysis.looks import LooksError
from warmscale.cluster.site import Site, SiteError, load_site
from warmscale.planning.files import simulate, write_plan
from warmscale.planning.page import write_page
from warmscale.planning.plan import make_plan
from warmscale.planning.summary import summary_lines
from warmscale.planning.workload import PlanningError
from warmscale.study import Study, load_study


def plan_study(study: Study, site: Site, results: Path, template: Path) -> list[str]:
    """Write the plan of a study under results/<study>/plan; returns what to say of it, a line each."""
    plan = make_plan(study, site, results)
    simulated = simulate(plan)
    write_page(plan, simulated, results, template)
    write_plan(plan, site, results, simulated)
    return summary_lines(plan, results)


if __name__ == "__main__":
    told = snakemake.params
    study = load_study({**json.loads(told.study), "placement": json.loads(told.placement)})
    site = load_site(told.site or None).model_copy(update={"placement": study.config.placement})
    try:
        lines = plan_study(study, site, Path(told.results), Path(told.template))
    except (PlanningError, SiteError, LooksError) as error:
        Path(snakemake.log[0]).write_text(f"{error}\n")  # Snakemake shows the log of a failed job near its last lines
        sys.exit(str(error))
    print(*lines, sep="\n", file=sys.stderr)
