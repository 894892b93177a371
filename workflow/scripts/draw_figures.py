"""Draw all figures of a study from its tables, in one process: the imports cost more than a figure."""

import json
from pathlib import Path

from warmscale.analysis.figures import draw_all
from warmscale.analysis.tables import read_tables
from warmscale.study import load_study
from warmscale.study.planned import with_plan

if __name__ == "__main__":
    draw_all(
        study=with_plan(load_study(json.loads(snakemake.params.study)), Path(snakemake.output.svg[0]).parents[1]),
        tables=read_tables(Path(snakemake.input.tables[0]).parent),
        folder=Path(snakemake.output.svg[0]).parent,
    )
